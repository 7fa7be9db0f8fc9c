"""The row kernels as autograd functions. Shape letters as in `ops.py`."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .build import library


def call(name: str, *arguments: Any) -> None:
    """Run a kernel; tensors go as pointers, the number of threads is added.

    Raises ValueError when the kernel refuses its input.
    """
    pointers = [x.data_ptr() if isinstance(x, Tensor) else x for x in arguments]
    if getattr(library(), f"dokja_{name}")(*pointers, torch.get_num_threads()):
        raise ValueError(f"{name}: an index is out of range")


def dense(x: Tensor) -> Tensor:
    """x with its last dimension contiguous."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def _two_levels(x: Tensor) -> tuple[Tensor, tuple[int, int, int, int]]:
    """x as rows [outer, inner, width] with strides (copied if it cannot be seen so); outer, its stride, inner, its."""
    x = dense(x)
    if x.is_contiguous() or x.dim() < 3:
        rows = x.numel() // x.shape[-1]
        return x, (rows, x.shape[-1] if x.is_contiguous() else x.stride(0), 1, 0)
    for i in range(x.dim() - 3):
        if x.stride(i) != x.stride(i + 1) * x.shape[i + 1]:
            return _two_levels(x.contiguous())
    inner = x.shape[-2]
    return x, (x.numel() // (inner * x.shape[-1]), x.stride(-3), inner, x.stride(-2))


def summed(parts: Tensor) -> Tensor:
    """The sum over threads."""
    return parts[0] if len(parts) == 1 else parts.sum(0)


def match(name: str, fits: bool) -> None:
    """Kernels trust their shapes, so these are checked before memory is read."""
    if not fits:
        raise ValueError(f"{name}: the shapes do not fit together")


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, offset: float) -> Tensor:
        x, rows = _two_levels(x)
        weight = weight.contiguous()
        out = torch.empty(x.shape)
        scale = torch.empty(x.numel() // x.shape[-1])
        call("rms_norm", x, *rows, x.shape[-1], weight, offset, eps, out, scale)
        ctx.save_for_backward(x, weight, scale)
        ctx.offset = offset
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        x, rows = _two_levels(x)
        dx, dweight = torch.empty(x.shape), torch.empty(torch.get_num_threads(), x.shape[-1])
        call("rms_norm_backward", x, *rows, x.shape[-1], weight, ctx.offset, scale, grad.contiguous(), dx, dweight)
        return dx, summed(dweight), None, None


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate_up = gate_up.contiguous()
        width = gate_up.shape[-1] // 2
        out = torch.empty(*gate_up.shape[:-1], width)
        call("swiglu", gate_up, out.numel() // width, width, out)
        ctx.save_for_backward(gate_up)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        width = gate_up.shape[-1] // 2
        out = torch.empty(gate_up.shape)
        call("swiglu_backward", gate_up, grad.contiguous(), grad.numel() // width, width, out)
        return out


def turn(x: Tensor, cos: Tensor, sin: Tensor, sign: float, out: Tensor | None = None, *, layout_in: bool = False,
          layout_out: bool = False) -> Tensor:
    """The heads of x [B, T, H, D] rotated (sign -1: backwards) as the first of `out`, which may be x where both layouts
    are halves; True is interleaved."""
    x = dense(x)
    batch, length, heads, dim = x.shape
    out = torch.empty(x.shape) if out is None else out
    tables = cos, sin, 0 if cos.dim() == 2 else length * dim // 2
    call("rotate", x, batch, length, heads, dim // 2, *x.stride()[:3], *tables, layout_in, layout_out, sign, out,
         out.shape[2] * dim)
    return out


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
        cos, sin = cos.contiguous(), sin.contiguous()
        ctx.save_for_backward(cos, sin)
        ctx.interleaved = interleaved
        return turn(x, cos, sin, 1.0, layout_in=interleaved)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return turn(grad, cos, sin, -1.0, layout_out=ctx.interleaved), None, None, None


class _LinearCrossEntropy(torch.autograd.Function):
    """Gradients are made in the forward pass, for a loss of weight 1; of logits only a block exists at once."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, target: Tensor, share: Tensor | None, scale: float,
                z_weight: float, learning: bool) -> Tensor:
        kept = [hidden.contiguous(), weight.contiguous(), target.contiguous()]
        shares = None if share is None else share.contiguous()
        (rows, width), vocab = hidden.shape, weight.shape[0]
        loss = torch.empty(rows)
        dhidden = torch.empty(hidden.shape if learning else 0)
        dweight = torch.zeros((vocab + -vocab % 8, width + -width % 16) if learning else (0, 0))
        call("cross_entropy", (ctypes.c_int64 * 3)(rows, vocab, width), *kept, shares, scale, z_weight, learning, loss,
             dhidden, dweight)
        ctx.save_for_backward(dhidden, dweight[:vocab, :width])
        return loss.sum() if shares is None else (loss * shares).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        dhidden, dweight = ctx.saved_tensors
        return dhidden * grad, dweight * grad, None, None, None, None, None


def gated_mlp_takes(x: Tensor, down_CF: Tensor) -> bool:
    """Whether the kernel's tiles hold these shapes, and the matrices the cache."""
    width, hidden = down_CF.shape
    return width % 8 == hidden % 8 == 0 and (x.numel() // width) % 8 == 0 and down_CF.numel() <= 1 << 17


class _GatedMLP(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        kept = [tensor.contiguous() for tensor in (x, gate_up, down)]
        width, hidden = down.shape
        rows = x.numel() // width
        before, out = torch.empty(rows, 2 * hidden), torch.empty(x.shape)
        ctx.kernel_shape = (ctypes.c_int64 * 3)(rows, width, hidden)
        call("gated_mlp", ctx.kernel_shape, *kept, before, out)
        ctx.save_for_backward(*kept, before)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, gate_up, down, before = ctx.saved_tensors
        threads, dx = torch.get_num_threads(), torch.empty(x.shape)
        dgate_up, ddown = (torch.zeros(threads, *of.shape) for of in (gate_up, down))
        call("gated_mlp_backward", ctx.kernel_shape, x, gate_up, down, before, grad.contiguous(), dx, dgate_up, ddown)
        return dx, summed(dgate_up), summed(ddown)


def rms_norm(x: Tensor, weight: Tensor, eps: float, offset: float) -> Tensor:
    match("rms_norm", weight.shape == x.shape[-1:])
    return _RMSNorm.apply(x, weight, eps, offset)  # type: ignore[no-untyped-call]


def swiglu(gate_up: Tensor) -> Tensor:
    match("swiglu", gate_up.shape[-1] % 2 == 0)
    return _SwiGLU.apply(gate_up)  # type: ignore[no-untyped-call]


def gated_mlp(x: Tensor, gate_up_FC: Tensor, down_CF: Tensor) -> Tensor:
    width, hidden = down_CF.shape
    match("gated_mlp", gate_up_FC.shape == (2 * hidden, width) and x.shape[-1] == width)
    return _GatedMLP.apply(x, gate_up_FC, down_CF)  # type: ignore[no-untyped-call]


def rotate(x_BTHD: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
    batch, length, _, dim = x_BTHD.shape
    half = dim // 2
    match("rotate", cos.shape == sin.shape and cos.shape in ((length, half), (batch, length, half)) and dim % 2 == 0)
    return _Rotate.apply(x_BTHD, cos, sin, interleaved)  # type: ignore[no-untyped-call]


def linear_cross_entropy(hidden_NC: Tensor, weight_VC: Tensor, target_N: Tensor, scale: float,
                         share_N: Tensor | None = None, z_weight: float = 0.0) -> Tensor:
    """Sum of -log softmax(scale * hidden @ weight.T)[target], each row times its share; z_weight as in `ops`."""
    fits = target_N.shape == hidden_NC.shape[:1] and hidden_NC.shape[1] == weight_VC.shape[1]
    match("linear_cross_entropy", fits and target_N.dtype is torch.int64)
    learning = torch.is_grad_enabled() and (hidden_NC.requires_grad or weight_VC.requires_grad)
    arguments = (hidden_NC, weight_VC, target_N, share_N, scale, z_weight, learning)
    return _LinearCrossEntropy.apply(*arguments)  # type: ignore[no-untyped-call]


def muon(parts: list[tuple[Tensor, Tensor, Tensor]], momentum: float, size: float, decay: float) -> None:
    """Muon's step of the matrices [..., M, N] in (parameter, gradient, momentum), views of one layout, in place.

    size: of the step, before the square root of the longer side.
    """
    table = []
    for parameter, gradient, kept in parts:
        match("muon", parameter.stride() == gradient.stride() == kept.stride()
               and parameter.shape == gradient.shape == kept.shape and parameter.stride(-1) == 1)
        count, apart = (parameter.shape[0], parameter.stride(0)) if parameter.dim() == 3 else (1, 0)
        addresses = parameter.data_ptr(), gradient.data_ptr(), kept.data_ptr()
        table.append((*addresses, count, apart, *parameter.shape[-2:], parameter.stride(-2)))
    call("muon", torch.tensor(table), len(table), momentum, size, decay)

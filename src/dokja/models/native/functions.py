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


def _rotated(x: Tensor, cos: Tensor, sin: Tensor, layout_in: bool, layout_out: bool, sign: float) -> Tensor:
    x = dense(x)
    batch, length, heads, dim = x.shape
    out = torch.empty(x.shape)
    tables = cos, sin, 0 if cos.dim() == 2 else length * dim // 2
    call("rotate", x, batch, length, heads, dim // 2, *x.stride()[:3], *tables, layout_in, layout_out, sign, out,
         heads * dim)
    return out


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
        cos, sin = cos.contiguous(), sin.contiguous()
        ctx.save_for_backward(cos, sin)
        ctx.interleaved = interleaved
        return _rotated(x, cos, sin, interleaved, False, 1.0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _rotated(grad, cos, sin, False, ctx.interleaved, -1.0), None, None, None


class _LinearCrossEntropy(torch.autograd.Function):
    """Gradients are made in the forward pass, for a loss of weight 1; of logits only a block exists at once."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, target: Tensor, share: Tensor | None, scale: float,
                learning: bool) -> Tensor:
        kept = [hidden.contiguous(), weight.contiguous(), target.contiguous()]
        shares = None if share is None else share.contiguous()
        (rows, width), vocab = hidden.shape, weight.shape[0]
        loss = torch.empty(rows)
        dhidden = torch.empty(hidden.shape if learning else 0)
        dweight = torch.zeros((vocab + -vocab % 8, width + -width % 16) if learning else (0, 0))
        call("cross_entropy", (ctypes.c_int64 * 3)(rows, vocab, width), *kept, shares, scale, learning, loss, dhidden,
             dweight)
        ctx.save_for_backward(dhidden, dweight[:vocab, :width])
        return loss.sum() if shares is None else (loss * shares).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        dhidden, dweight = ctx.saved_tensors
        return dhidden * grad, dweight * grad, None, None, None, None


def attention_takes(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor) -> bool:
    """Whether the kernel's blocks hold these shapes (LANES and MAX_DIM in attention.cpp)."""
    return q_BTHD.shape[2] <= 32 * k_BTKD.shape[2] and max(q_BTHD.shape[3], v_BTKD.shape[3]) <= 256


def _attention_arguments(q: Tensor, k: Tensor, v: Tensor, window: int, scale: float) -> tuple[Any, ...]:
    batch, length, heads, dim = q.shape
    shape = (ctypes.c_int64 * 7)(batch, length, heads, k.shape[2], dim, v.shape[3], window)
    return shape, scale, q, k, v, _strides(q, k, v)


def _strides(q: Tensor, k: Tensor, v: Tensor) -> Any:
    return (ctypes.c_int64 * 9)(*q.stride()[:3], *k.stride()[:3], *v.stride()[:3])


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, window: int, scale: float) -> Tensor:
        q, k, v = dense(q), dense(k), dense(v)
        out, log_sum = torch.empty(*q.shape[:3], v.shape[3]), torch.empty(q.shape[:3])
        call("attention", *_attention_arguments(q, k, v, window, scale), out, log_sum)
        ctx.save_for_backward(q, k, v, out, log_sum)
        ctx.window, ctx.scale = window, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, log_sum = ctx.saved_tensors
        dq, dk, dv = torch.empty(q.shape), torch.empty(k.shape), torch.empty(v.shape)
        arguments = _attention_arguments(q, k, v, ctx.window, ctx.scale)
        call("attention_backward", *arguments, out, log_sum, grad.contiguous(), dq, dk, dv, _strides(dq, dk, dv))
        return dq, dk, dv, None, None


def _turn(x: Tensor, out: Tensor, cos: Tensor, sin: Tensor, sign: float) -> None:
    """Rotate the heads of x [B, T, H, D] into the first ones of `out`, which may be x."""
    batch, length, heads, dim = x.shape
    strides = x.stride()[:3]
    call("rotate", x, batch, length, heads, dim // 2, *strides, cos, sin, 0, False, False, sign, out, out.stride(1))


class _JointAttention(torch.autograd.Function):
    """Attention from the one matrix that holds queries, keys and values to its one gradient, with rotation."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, cos: Tensor | None, sin: Tensor | None, heads: int, window: int,
                scale: float) -> Tensor:
        qkv = qkv.contiguous()
        batch, length, total, dim = qkv.shape
        turned, kv_heads = qkv, (total - heads) // 2
        if cos is not None and sin is not None:
            cos, sin = cos.contiguous(), sin.contiguous()
            turned = torch.empty(batch, length, heads + kv_heads, dim)
            _turn(qkv[:, :, : heads + kv_heads], turned, cos, sin, 1.0)
        parts = turned[:, :, :heads], turned[:, :, heads : heads + kv_heads], qkv[:, :, heads + kv_heads :]
        out, log_sum = torch.empty(batch, length, heads, dim), torch.empty(batch, length, heads)
        call("attention", *_attention_arguments(*parts, window, scale), out, log_sum)
        ctx.save_for_backward(qkv, turned, out, log_sum, cos, sin)
        ctx.window, ctx.scale = window, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        qkv, turned, out, log_sum, cos, sin = ctx.saved_tensors
        heads, both = out.shape[2], (qkv.shape[2] + out.shape[2]) // 2
        dqkv = torch.empty(qkv.shape)
        parts = turned[:, :, :heads], turned[:, :, heads:both], qkv[:, :, both:]
        to = dqkv[:, :, :heads], dqkv[:, :, heads:both], dqkv[:, :, both:]
        arguments = _attention_arguments(*parts, ctx.window, ctx.scale)
        call("attention_backward", *arguments, out, log_sum, grad.contiguous(), *to, _strides(*to))
        if cos is not None:
            _turn(dqkv[:, :, :both], dqkv, cos, sin, -1.0)
        return dqkv, None, None, None, None, None


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
                         share_N: Tensor | None = None) -> Tensor:
    """Sum of -log softmax(scale * hidden @ weight.T)[target], each row times its share."""
    fits = target_N.shape == hidden_NC.shape[:1] and hidden_NC.shape[1] == weight_VC.shape[1]
    match("linear_cross_entropy", fits and target_N.dtype is torch.int64)
    learning = torch.is_grad_enabled() and (hidden_NC.requires_grad or weight_VC.requires_grad)
    arguments = (hidden_NC, weight_VC, target_N, share_N, scale, learning)
    return _LinearCrossEntropy.apply(*arguments)  # type: ignore[no-untyped-call]


def attention(q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, window: int | None, scale: float) -> Tensor:
    batch, length, heads, dim = q_BTHD.shape
    fits = k_BTKD.shape[:2] == v_BTKD.shape[:2] == (batch, length) and k_BTKD.shape[2] == v_BTKD.shape[2]
    match("attention", fits and k_BTKD.shape[3] == dim and heads % k_BTKD.shape[2] == 0)
    return _Attention.apply(q_BTHD, k_BTKD, v_BTKD, window or length, scale)  # type: ignore[no-untyped-call]


def joint_attention(qkv_BTHD: Tensor, tables: tuple[Tensor, Tensor] | None, heads: int, window: int | None,
                    scale: float) -> Tensor:
    """Attention of queries, keys and values that stand side by side; queries and keys are rotated by pairs of halves.

    tables: cosines and sines [T, D/2].
    """
    _, length, total, dim = qkv_BTHD.shape
    cos, sin = tables or (None, None)
    fits = total > heads and (total - heads) % 2 == 0 and heads % ((total - heads) // 2) == 0
    turns = tables is None or (dim % 2 == 0 and all(x.shape == (length, dim // 2) for x in tables))
    match("joint_attention", fits and turns)
    return _JointAttention.apply(qkv_BTHD, cos, sin, heads, window or length, scale)  # type: ignore[no-untyped-call]


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

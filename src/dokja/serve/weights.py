"""One weight matrix as serving holds it: float32, int8 or int4, packed for the kernels or as PyTorch takes it."""

from __future__ import annotations

import ctypes
from functools import cached_property
from itertools import product
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..models import ops
from ..models.spec import Activation
from . import native

Kind = Literal["fp32", "int8", "int4"]
KINDS: tuple[Kind, ...] = ("fp32", "int8", "int4")
ACTIVATIONS: tuple[Activation, ...] = ("silu", "gelu_tanh", "clamped_silu")
CHUNK = 1 << 26  # bytes; what is never written takes no memory
SLICE = 1 << 14  # outputs that are quantised at once, so that the peak stays near the result (a multiple of any panel)


def quantise(weight_NK: Tensor, kind: Literal["int8", "int4"]) -> tuple[Tensor, Tensor, Tensor | None]:
    """A matrix as bytes q [N, K], scales and, for int4, lows [N, groups] in bfloat16.

    int8: w = scale * (q - 128) in groups of 64 inputs; int4: w = scale * q + low, q in 0..15, in groups of 32.
    """
    size, (outputs, inputs) = 64 if kind == "int8" else 32, weight_NK.shape
    if native.library() is not None:
        q, scale = torch.empty(outputs, inputs, dtype=torch.uint8), torch.empty(outputs, -(-inputs // size)).bfloat16()
        low = None if kind == "int8" else torch.empty_like(scale)
        native.call("quantise", weight_NK.float().contiguous(), outputs, inputs, KINDS.index(kind), q, scale, low)
        return q, scale, low
    grouped = F.pad(weight_NK.float(), (0, -inputs % size)).unflatten(-1, (-1, size))
    if kind == "int8":
        scale = (grouped.abs().amax(-1) / 127).bfloat16()
        whole = (grouped / _divisor(scale)).round_().clamp_(-127, 127) + 128
        return _bytes(whole, inputs), scale, None
    scale, low = _fit(grouped.double())
    whole = ((grouped - low.float()[..., None]) / _divisor(scale)).round_().clamp_(0, 15)
    return _bytes(whole, inputs), scale, low


def _divisor(scale_NG: Tensor) -> Tensor:
    return torch.where(scale_NG == 0, 1.0, scale_NG.float())[..., None]


def _bytes(whole_NGS: Tensor, inputs: int) -> Tensor:
    return whole_NGS.to(torch.uint8).flatten(1)[:, :inputs].contiguous()


def _fit(grouped_NGS: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and low of each group: of ranges that leave out some of the ends, the one whose whole numbers, fitted by
    least squares, err least."""
    low, high, sum_x = grouped_NGS.amin(-1), grouped_NGS.amax(-1), grouped_NGS.sum(-1)
    size, ends = grouped_NGS.shape[-1], (1.0, 0.95, 0.9, 0.85)
    best, scale, start = torch.full_like(low, -1.0), torch.zeros_like(low), sum_x / size
    for below, above in product(ends, ends):
        step = ((high * above - low * below) / 15).clamp(min=1e-30)
        whole = ((grouped_NGS - (low * below)[..., None]) / step[..., None]).round_().clamp_(0, 15)
        sum_q, sum_qx = whole.sum(-1), (whole * grouped_NGS).sum(-1)
        spread = ((whole * whole).sum(-1) - sum_q * sum_q / size).clamp(min=1e-9)
        both = sum_qx - sum_q * sum_x / size
        better = both * both / spread > best
        best = torch.where(better, both * both / spread, best)
        scale = torch.where(better, both / spread, scale)
        start = torch.where(better, (sum_x - both / spread * sum_q) / size, start)
    return scale.float().bfloat16(), start.float().bfloat16()


def dequantise(q_NK: Tensor, scale_NG: Tensor, low_NG: Tensor | None) -> Tensor:
    """The matrix that `quantise`'s result stands for, float32."""
    size = 64 if low_NG is None else 32
    scale = scale_NG.float().repeat_interleave(size, dim=-1)[:, : q_NK.shape[1]]
    if low_NG is None:
        return (q_NK.float() - 128) * scale
    return q_NK.float() * scale + low_NG.float().repeat_interleave(size, dim=-1)[:, : q_NK.shape[1]]


_free = torch.empty(0, dtype=torch.uint8)


def _room(size: int) -> Tensor:
    """Bytes for packed weights, cut from chunks that lie on large pages."""
    global _free
    size = -(-size // 64) * 64
    if size > len(_free):
        _free = torch.empty(max(CHUNK, size), dtype=torch.uint8)
        native.call("large_pages", _free, len(_free))
    room, _free = _free[:size], _free[size:]
    return room


class Weights:
    """A matrix [N, K] with an optional bias [N]. What it makes of a row depends on that row alone, bit for bit.

    With kernels the matrix lies packed in `packed`; without, as `parts` (float32, or what `quantise` gives).
    """

    def __init__(self, weight_NK: Tensor, bias_N: Tensor | None, kind: Kind) -> None:
        self.kind, (self.outputs, self.inputs) = kind, weight_NK.shape
        self.bias = None if bias_N is None else bias_N.detach().float().contiguous()
        self.packed: Tensor | None = None
        self.parts: tuple[Tensor | None, ...] = ()
        if native.library() is None:
            with torch.no_grad():
                self.parts = (weight_NK.float().contiguous(),) if kind == "fp32" else quantise(weight_NK, kind)
            return
        self.matrix = native.Matrix(0, None if self.bias is None else self.bias.data_ptr(), self.outputs, self.inputs,
                                    KINDS.index(kind))
        size = ctypes.c_int64()
        native.call("packed_bytes", self.matrix, ctypes.addressof(size))
        self.packed = _room(size.value)
        self.matrix.data = self.packed.data_ptr()
        with torch.no_grad():
            for first in range(0, self.outputs, SLICE):
                part = weight_NK[first : first + SLICE]
                q, scale, low = (part.float().contiguous(), None, None) if kind == "fp32" else quantise(part, kind)
                native.call("pack", q, scale, low, first, len(part), self.matrix, self.packed)

    @property
    def bytes(self) -> int:
        """What it holds in memory."""
        held = [x for x in (self.packed, self.bias, *self.parts) if x is not None]
        return sum(x.numel() * x.element_size() for x in held)

    def linear(self, x: Tensor) -> Tensor:
        """x W^T + bias of [..., K]; [..., N] in float32."""
        rows = x.reshape(-1, self.inputs).float().contiguous()
        if self.packed is None:
            matrix = self._float()
            each = [F.linear(row[None], matrix, self.bias) for row in rows]
            out = torch.cat(each) if each else rows.new_empty(0, self.outputs)
        else:
            out = torch.empty(len(rows), self.outputs)
            native.call("linear", self.matrix, rows, self.inputs, len(rows), out, self.outputs)
        return out.view(*x.shape[:-1], self.outputs)

    def linear_peaks(self, x_RK: Tensor, out_RN: Tensor, sharpness_R: Tensor | None = None,
                     ) -> tuple[Tensor, Tensor, Tensor | None]:
        """x W^T + bias into `out`, with kernels; gives the largest of each 256 outputs, [R, ceil(N / 256)], the place
        of each row's largest, int64 [R], and, where sharpness is over 0, the sums over each 256 outputs of
        exp((x - their largest) * sharpness), [R, ceil(N / 256)]."""
        rows = x_RK.float().contiguous()
        peaks, best = torch.empty(len(rows), -(-self.outputs // 256)), torch.empty(len(rows), dtype=torch.int64)
        mass = None if sharpness_R is None else torch.empty_like(peaks)
        native.call("linear_peaks", self.matrix, rows, len(rows), out_RN, peaks, best, sharpness_R, mass)
        return peaks, best, mass

    def embed(self, ids: Tensor, factor: float = 1.0) -> Tensor:
        """Rows of the matrix, [..., K], times `factor`. Raises IndexError or ValueError for an id outside."""
        if self.packed is None:
            if (ids < 0).any():  # which PyTorch counts from the end
                raise IndexError("a token id is below 0")
            q, *rest = (None if part is None else part[ids.flatten()] for part in self.parts)
            assert q is not None
            rows = q if self.kind == "fp32" else dequantise(q, *rest)  # type: ignore[arg-type]
            return (rows * factor).view(*ids.shape, self.inputs)
        flat = ids.reshape(-1).contiguous()
        out = torch.empty(len(flat), self.inputs)
        native.call("embed", self.matrix, flat, len(flat), factor, out)
        return out.view(*ids.shape, self.inputs)

    def _float(self) -> Tensor:
        parts = self.parts
        return parts[0] if self.kind == "fp32" else dequantise(*parts)  # type: ignore[return-value,arg-type]


def gated_mlp(gate_up: Weights, down: Weights, activation: Activation, x: Tensor) -> Tensor:
    """down(activation(gate(x)) * up(x)) of [..., K]."""
    if gate_up.packed is None:
        return down.linear(ops.activate(gate_up.linear(x), activation))
    rows = x.reshape(-1, gate_up.inputs).float().contiguous()
    out = torch.empty(len(rows), down.outputs)
    native.call("mlp", gate_up.matrix, down.matrix, ACTIVATIONS.index(activation), rows, len(rows), out)
    return out.view(*x.shape[:-1], down.outputs)


class Experts(list[Weights]):
    """One side of a mixture's experts; nothing is put in or taken out any more."""

    @cached_property
    def matrices(self) -> Any:
        """What the kernel takes."""
        return (native.Matrix * len(self))(*(one.matrix for one in self))


def experts(gate_up: Experts, down: Experts, activation: Activation, x_NC: Tensor,
            expert_NA: Tensor, share_NA: Tensor, further_NC: Tensor | None) -> Tensor:
    """Each row through the experts that it chose, summed with its shares in their order, and with `further`; [N, C]."""
    x = x_NC.float().contiguous()
    if gate_up[0].packed is None:
        out = torch.zeros(len(x), down[0].outputs) if further_NC is None else further_NC.clone()
        for n, (row, chosen, shares) in enumerate(zip(x, expert_NA.tolist(), share_NA, strict=True)):
            for e, share in zip(chosen, shares, strict=True):
                out[n] += share * gated_mlp(gate_up[e], down[e], activation, row[None])[0]
        return out
    out = torch.empty(len(x), down[0].outputs)
    shape = (ctypes.c_int64 * 4)(*expert_NA.shape, len(gate_up), ACTIVATIONS.index(activation))
    native.call("experts_packed", shape, gate_up.matrices, down.matrices, x, expert_NA.contiguous(),
                share_NA.float().contiguous(), None if further_NC is None else further_NC.contiguous(), out)
    return out

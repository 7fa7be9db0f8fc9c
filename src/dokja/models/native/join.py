"""Residual addition with the norms around it as an autograd function. Shape letters as in `ops.py`."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .functions import call, match, summed


class _Join(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, after: Tensor | None, before: Tensor | None,
                floats: tuple[float, ...]) -> tuple[Tensor, ...]:
        x, y, width = x.contiguous(), y.contiguous(), x.shape[-1]
        rows = x.numel() // width
        ctx.floats = (ctypes.c_float * 4)(*floats)
        h, rstd = torch.empty(x.shape), torch.empty(rows, 2)
        m = None if before is None else torch.empty(x.shape)
        call("join", rows, width, x, y, after, before, ctx.floats, h, m, rstd)
        ctx.save_for_backward(None if after is None else y, None if before is None else h, after, before, rstd)
        return (h,) if m is None else (h, m)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        y, h, after, before, rstd = ctx.saved_tensors
        dh, dm = grads[0].contiguous(), grads[1].contiguous() if before is not None else None
        width = dh.shape[-1]
        dx = dh if before is None else torch.empty(dh.shape)
        dy = dx if after is None else torch.empty(dh.shape)
        dweight = torch.zeros(torch.get_num_threads(), 2, width)
        given = (y, h, after, before, ctx.floats, rstd, dh, dm)
        call("join_backward", dh.numel() // width, width, *given, dx, dy, dweight)
        dafter, dbefore = summed(dweight)
        return dx, dy, None if after is None else dafter, None if before is None else dbefore, None


def join(x: Tensor, y: Tensor, after: Tensor | None, before: Tensor | None,
         floats: tuple[float, float, float, float]) -> tuple[Tensor, Tensor]:
    """h = x + norm(y) and norm(h), h itself without the last norm's weights; floats: offset and epsilon of each."""
    weights = [weight for weight in (after, before) if weight is not None]
    match("join", x.shape == y.shape and all(weight.shape == x.shape[-1:] for weight in weights))
    out = _Join.apply(x, y, after, before, floats)  # type: ignore[no-untyped-call]
    return out[0], out[-1]

"""The kernel of latent attention's projections as an autograd function. Shape letters as in `ops.py`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .functions import call, match, summed


@dataclass(frozen=True)
class Latent:
    """What the kernel has to know besides tensors; offset: added to the norms' weights."""

    heads: int
    nope_dim: int
    rope_dim: int
    v_dim: int
    interleaved: bool
    offset: float
    q_eps: float
    kv_eps: float


def latent_takes(x_BTC: Tensor, weights: Sequence[Tensor]) -> bool:
    """Whether the kernel's tiles hold these shapes."""
    rows = x_BTC.shape[0] * x_BTC.shape[1]
    return rows % 8 == 0 and all(side % 8 == 0 for weight in weights for side in weight.shape)


class _Latent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, its: Latent, x: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        kept = [tensor.contiguous() for tensor in (x, *rest)]
        batch, length, width = x.shape
        q_rank, kv_rank = rest[0].shape[0], rest[4].shape[0]
        dims = its.heads, its.nope_dim, its.rope_dim, its.v_dim, its.interleaved
        ctx.kernel_shape = (ctypes.c_int64 * 10)(batch * length, length, width, q_rank, kv_rank, *dims)
        ctx.floats = (ctypes.c_float * 3)(its.offset, its.q_eps, its.kv_eps)
        latent, rstd = torch.empty(batch, length, q_rank + kv_rank + its.rope_dim), torch.empty(batch, length, 2)
        q, k = (torch.empty(batch, length, its.heads, its.nope_dim + its.rope_dim) for _ in range(2))
        v = torch.empty(batch, length, its.heads, its.v_dim)
        call("latent", ctx.kernel_shape, _pointers(kept), ctx.floats, latent, rstd, q, k, v)
        ctx.save_for_backward(*kept, latent, rstd)
        return q, k, v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        *kept, latent, rstd = ctx.saved_tensors
        x, weights = kept[0], kept[1:7]
        dx, sizes = torch.empty(x.shape), [weight.numel() for weight in weights]
        gradient = torch.zeros(torch.get_num_threads(), sum(sizes))
        given = [grad.contiguous() for grad in grads]
        call("latent_backward", ctx.kernel_shape, _pointers(kept), ctx.floats, latent, rstd, *given, dx, gradient)
        parts = summed(gradient).split(sizes)
        return None, dx, *(part.view_as(weight) for part, weight in zip(parts, weights, strict=True)), None, None


def _pointers(tensors: Sequence[Tensor]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(tensors))(*(x.data_ptr() for x in tensors))


def latent(x_BTC: Tensor, weights: Sequence[Tensor], cos_TR: Tensor, sin_TR: Tensor,
           its: Latent) -> tuple[Tensor, Tensor, Tensor]:
    """Q and K [B, T, H, D] with the rotated part last, and V [B, T, H, V].

    weights: q_down, its norm, q_up, kv_down, its norm, kv_up; cos and sin [T, rope_dim / 2].
    """
    width, q_rank, kv_rank = x_BTC.shape[-1], weights[1].numel(), weights[4].numel()
    shapes = [(q_rank, width), (q_rank,), (its.heads * (its.nope_dim + its.rope_dim), q_rank),
              (kv_rank + its.rope_dim, width), (kv_rank,), (its.heads * (its.nope_dim + its.v_dim), kv_rank)]
    angles = (x_BTC.shape[1], its.rope_dim // 2)
    match("latent", [weight.shape for weight in weights] == shapes and cos_TR.shape == sin_TR.shape == angles)
    return _Latent.apply(its, x_BTC, *weights, cos_TR, sin_TR)  # type: ignore[no-untyped-call,no-any-return]

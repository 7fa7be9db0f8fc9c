"""The kernel of attention as autograd functions. Shape letters as in `ops.py`."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .functions import call, dense, match, turn


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
            turned = turn(qkv[:, :, : heads + kv_heads], cos, sin, 1.0)
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
            turn(dqkv[:, :, :both], cos, sin, -1.0, dqkv)
        return dqkv, None, None, None, None, None


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

"""The kernels of a mixture of experts as autograd functions. Shape letters as in `ops.py`."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .functions import call, match, summed


def experts_take(gate_up_ECF: Tensor) -> bool:
    """Whether the kernel's tiles hold these widths."""
    return gate_up_ECF.shape[1] % 8 == 0 and gate_up_ECF.shape[2] % 16 == 0


class _Experts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate_up: Tensor, down: Tensor, expert: Tensor, weight: Tensor,
                further: Tensor | None) -> Tensor:
        kept = [tensor.contiguous() for tensor in (x, gate_up, down, expert, weight)]
        count, hidden = expert.numel(), down.shape[1]
        shape = (ctypes.c_int64 * 5)(*expert.shape, *down.shape[:1], x.shape[1], hidden)
        before, out = torch.empty(count + 8 * down.shape[0], 2 * hidden), torch.empty(x.shape)
        added = None if further is None else further.contiguous()
        call("experts", shape, *kept, added, before, torch.empty(count, x.shape[1]), out)
        ctx.save_for_backward(*kept, before)
        ctx.kernel_shape, ctx.further = shape, further is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *kept, before = ctx.saved_tensors
        x, gate_up, down, expert, weight = kept
        dx, dgate_up, ddown, dweight = (torch.empty(of.shape) for of in (x, gate_up, down, weight))
        slots = torch.empty(expert.numel(), x.shape[1])
        arguments = (*kept, before, grad.contiguous(), slots, dx, dgate_up, ddown, dweight)
        call("experts_backward", ctx.kernel_shape, *arguments)
        return dx, dgate_up, ddown, None, dweight, grad if ctx.further else None


def experts(x_NC: Tensor, gate_up_ECF: Tensor, down_EFC: Tensor, expert_NA: Tensor, weight_NA: Tensor,
            further_NC: Tensor | None) -> Tensor:
    experts, width, hidden = gate_up_ECF.shape
    fits = down_EFC.shape == (experts, hidden // 2, width) and x_NC.shape == (expert_NA.shape[0], width)
    fits = fits and (further_NC is None or further_NC.shape == x_NC.shape)
    match("experts", fits and expert_NA.shape == weight_NA.shape and expert_NA.dtype is torch.int64)
    arguments = (x_NC, gate_up_ECF, down_EFC, expert_NA, weight_NA, further_NC)
    return _Experts.apply(*arguments)  # type: ignore[no-untyped-call]


def router_takes(x_NC: Tensor, matrix_EC: Tensor, groups: int) -> bool:
    """Whether the kernel's tiles hold these shapes."""
    return all(side % 8 == 0 for side in (*x_NC.shape, *matrix_EC.shape)) and matrix_EC.shape[0] >= 2 * groups


class _Router(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, bias: Tensor | None, shape: tuple[int, ...],
                scale: float) -> tuple[Tensor, ...]:
        x, matrix = x.contiguous(), matrix.contiguous()
        tokens, active, experts = x.shape[0], shape[0], matrix.shape[0]
        ctx.kernel_shape, ctx.scale = (ctypes.c_int64 * 7)(*x.shape, experts, *shape), scale
        scores, balance = torch.empty(tokens, experts), torch.empty(())
        expert, weight = torch.empty(tokens, active, dtype=torch.int64), torch.empty(tokens, active)
        load = torch.empty(experts, dtype=torch.int64)
        call("router", ctx.kernel_shape, x, matrix, bias, scale, scores, expert, weight, load, balance)
        ctx.save_for_backward(x, matrix, scores, expert, load)
        ctx.mark_non_differentiable(expert, load)
        return expert, weight, load, balance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        _, dweight, _, dbalance = grads
        x, matrix, scores, expert, load = ctx.saved_tensors
        dx, dmatrix = torch.empty(x.shape), torch.zeros(torch.get_num_threads(), *matrix.shape)
        given = dweight.contiguous(), dbalance.contiguous()
        call("router_backward", ctx.kernel_shape, x, matrix, ctx.scale, scores, expert, load, *given, dx, dmatrix)
        return dx, summed(dmatrix), None, None, None


def router(x_NC: Tensor, matrix_EC: Tensor, bias_E: Tensor | None, *, active: int, groups: int, kept: int,
           softmax: bool, scale: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Which experts each token takes and with what weights, both [N, A]; tokens of each expert [E]; the balance."""
    experts = matrix_EC.shape[0]
    fits = matrix_EC.shape[1] == x_NC.shape[1] and (bias_E is None or bias_E.shape == (experts,))
    match("router", fits and experts % groups == 0 and active <= experts // groups * kept and kept <= groups)
    return _Router.apply(x_NC, matrix_EC, bias_E, (active, groups, kept, softmax), scale)  # type: ignore

"""Exchanges inside a forward pass: sums over tensor ranks, and tokens on their way to experts and back.

Tensor parallelism here is one rule. A mixer, a feed-forward and the loss are functions whose value is the sum of what
the ranks compute with their heads, columns or rows: x enters through `entering` (the same on all ranks; its gradients
are summed), what comes out leaves through `summed`. A parameter that all ranks hold whole then has, on each, only a
part of its gradient, and `Sharded.clip` sums those. So layers stay plain modules with plain, smaller weights, and the
native kernels serve them. (Shoeybi et al. 2019, arXiv 1909.08053, section 3, calls the two f and g.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ...models import ops
from ...models.decoder import Decoder
from ...models.ffn import MixtureOfExperts


class _Entering(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad, group=ctx.group)
        return grad, None


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        out = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(out, group=group)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class _Scaled(torch.autograd.Function):
    """x, with gradients times a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


class _Exchanged(torch.autograd.Function):
    """Rows to every rank, `send[r]` of them to rank r, for `receive[r]` from it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, send: list[int], receive: list[int], group: dist.ProcessGroup) -> Tensor:
        ctx.send, ctx.receive, ctx.group = send, receive, group
        out = rows.new_empty(sum(receive), *rows.shape[1:])
        dist.all_to_all_single(out, rows.contiguous(), receive, send, group=group)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        out = grad.new_empty(sum(ctx.send), *grad.shape[1:])
        dist.all_to_all_single(out, grad.contiguous(), ctx.send, ctx.receive, group=ctx.group)
        return out, None, None, None


def region(forward: Callable[..., Tensor], group: dist.ProcessGroup) -> Callable[..., Tensor]:
    """A forward pass of x whose value is the sum of what the ranks compute."""
    def summed(x: Tensor, *rest: Any) -> Tensor:
        return _Summed.apply(forward(_Entering.apply(x, group), *rest), group)  # type: ignore[no-untyped-call]

    return summed


def divide_rows(model: Decoder, group: dist.ProcessGroup) -> None:
    """Embedding, loss and logits of a decoder whose mixers and feed-forwards are regions.

    Each rank computes the loss of its share of the tokens. Embedding and logits are computed by all; their gradients
    are scaled so that those of embedding and head, which other rules sum over the ranks, are counted once.
    """
    count, index = dist.get_world_size(group), dist.get_rank(group)
    loss, embed, read = model._loss, model.embed, model.read

    def shared_loss(hidden_BTC: Tensor, target_BT: Tensor, share_BT: Tensor | None, z_weight: float) -> Tensor:
        hidden = _Entering.apply(hidden_BTC, group).flatten(0, 1)  # type: ignore[no-untyped-call]
        target, share = target_BT.flatten(), None if share_BT is None else share_BT.flatten()
        first, last = len(target) * index // count, len(target) * (index + 1) // count

        def total(first: int, last: int) -> Tensor:
            counts = (target[first:last] != -100).float()
            return (counts if share is None else counts * share[first:last]).sum().clamp(min=1)

        mine = loss(hidden[None, first:last], target[None, first:last],
                    None if share is None else share[None, first:last], z_weight)
        part = mine * (total(first, last) / total(0, len(target)))
        return _Summed.apply(part, group)  # type: ignore[no-untyped-call]

    model._loss = shared_loss  # type: ignore[method-assign]
    model.embed = lambda ids: _Scaled.apply(embed(ids), 1 / count)  # type: ignore
    model.read = lambda x: _Scaled.apply(read(_Scaled.apply(x, count)), 1 / count)  # type: ignore


def balance_over(mixture: MixtureOfExperts, data: dist.ProcessGroup | None, tensor: dist.ProcessGroup | None) -> None:
    """Make a mixture's balance that of the whole batch (data) and count it once (tensor).

    The balance multiplies loads by mean scores: with the loads of all ranks, the mean over ranks of what each says of
    its own tokens is the balance of all.
    """
    routed, moe = mixture.routed, mixture.moe

    def balanced(x_NC: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if not (mixture.training and torch.is_grad_enabled()) or moe.router.bias:
            return routed(x_NC)
        expert, weight, scores = mixture.chosen(x_NC)
        load = expert.flatten().bincount(minlength=moe.experts)
        everywhere = load.clone()
        if data is not None:
            dist.all_reduce(everywhere, group=data)
        share = scores / (scores.sum(-1, keepdim=True) + 1e-20)
        balance = moe.experts * (everywhere / everywhere.sum() * share.mean(0)).sum()
        if tensor is not None:
            balance = _Scaled.apply(balance, 1 / dist.get_world_size(tensor))  # type: ignore[no-untyped-call]
        return expert, weight, load, balance

    mixture.routed = balanced  # type: ignore[method-assign]


def divide_experts(mixture: MixtureOfExperts, group: dist.ProcessGroup) -> None:
    """Send each token's copies to the ranks that hold the experts it chose, and bring back what they made of them."""
    ranks, moe = dist.get_world_size(group), mixture.moe
    each = moe.experts // ranks

    def forward(x_BTC: Tensor) -> Tensor:
        x = x_BTC.flatten(0, -2)
        expert, weight, load, balance = mixture.routed(x)
        if mixture.training:
            mixture.load_E = load
            mixture.balance = None if moe.router.bias else balance
        order = expert.flatten().argsort(stable=True)
        token = order // moe.active
        mine, theirs = load.view(ranks, each).contiguous(), torch.empty_like(load).view(ranks, each)
        dist.all_to_all_single(theirs, mine, group=group)
        send, receive = mine.sum(1).tolist(), theirs.sum(1).tolist()
        rows = _Exchanged.apply(x[token], send, receive, group)  # type: ignore[no-untyped-call]
        which = torch.arange(each, device=x.device).repeat(ranks).repeat_interleave(theirs.flatten())
        here = theirs.sum(0)
        if not len(which):  # the weights still need a gradient, of zeros
            rows, which, here = F.pad(rows, (0, 0, 0, 1)), which.new_zeros(1), here.clone()
            here[0] = 1
        out = ops.experts(rows, mixture.gate_up, mixture.down, which[:, None], weight.new_ones(len(which), 1), here,
                          activation=moe.activation, gate_up_bias_EF=mixture.gate_up_bias,
                          down_bias_EC=mixture.down_bias)[: sum(receive)]
        back = _Exchanged.apply(out, receive, send, group)  # type: ignore[no-untyped-call]
        mixed = torch.zeros_like(x).index_add(0, token, back * weight.flatten()[order, None].to(back.dtype))
        return (mixed if mixture.shared is None else mixed + mixture.shared(x)).view_as(x_BTC)

    mixture.forward = forward  # type: ignore[method-assign]

"""The feed-forwards: one gated MLP, or a mixture of them behind a sigmoid router. Shape letters as in `ops.py`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import ops
from .spec import MLP, FeedForward, MoE, Router


class GatedMLP(nn.Module):
    """down(silu(gate(x)) * up(x)), gate and up in one matrix."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(ops.swiglu(self.gate_up(x)))


def route(scores_NE: Tensor, bias_E: Tensor | None, router: Router, active: int) -> tuple[Tensor, Tensor]:
    """Which experts each token takes, [N, A], and with what weights (sum = router.scale), [N, A].

    scores_NE: sigmoid scores in float32. The bias chooses, the unbiased score weighs.
    """
    choice = scores_NE if bias_E is None else scores_NE + bias_E
    if router.groups > 1:
        grouped = choice.unflatten(-1, (router.groups, -1))
        group_score = grouped.topk(2, dim=-1).values.sum(-1)
        kept = group_score.topk(router.groups_kept, dim=-1).indices
        mask = torch.ones_like(group_score, dtype=torch.bool).scatter_(-1, kept, False)
        choice = grouped.masked_fill(mask[..., None], float("-inf")).flatten(-2)
    expert = choice.topk(active, dim=-1, sorted=False).indices
    weight = scores_NE.gather(-1, expert)
    return expert, weight / (weight.sum(-1, keepdim=True) + 1e-20) * router.scale


class MixtureOfExperts(nn.Module):
    """Routed experts and shared ones, summed. No token is dropped.

    Weights of experts are stacked: gate_up [E, C, 2F], down [E, F, C].
    load_E: how many tokens each expert got in the last forward pass; balance: the auxiliary loss of that pass
    (Switch, Fedus et al. 2021, equation 4, on normalised sigmoid scores) for routers without a bias.
    """

    def __init__(self, width: int, moe: MoE) -> None:
        super().__init__()
        self.moe = moe
        self.router = nn.Linear(width, moe.experts, bias=False)
        self.register_buffer("router_bias", torch.zeros(moe.experts) if moe.router.bias else None)
        self.gate_up = nn.Parameter(torch.empty(moe.experts, width, 2 * moe.width))
        self.down = nn.Parameter(torch.empty(moe.experts, moe.width, width))
        self.shared = GatedMLP(width, moe.shared * moe.width) if moe.shared else None
        self.load_E: Tensor | None = None
        self.balance: Tensor | None = None

    def forward(self, x_BTC: Tensor) -> Tensor:
        x = x_BTC.flatten(0, -2)
        scores = torch.sigmoid(self.router(x).float())
        expert, weight = route(scores, self.router_bias, self.moe.router, self.moe.active)  # type: ignore[arg-type]
        load = expert.flatten().bincount(minlength=self.moe.experts)
        if self.training:
            self.load_E = load
            if not self.moe.router.bias:
                share = scores / (scores.sum(-1, keepdim=True) + 1e-20)
                self.balance = self.moe.experts * (load / load.sum() * share.mean(0)).sum()
        mixed = ops.experts(x, self.gate_up, self.down, expert, weight, load)
        if self.shared is not None:
            mixed = mixed + self.shared(x)
        return mixed.view_as(x_BTC)


def build_ffn(ffn: FeedForward, width: int) -> GatedMLP | MixtureOfExperts:
    """The module of a feed-forward spec."""
    return GatedMLP(width, ffn.width) if isinstance(ffn, MLP) else MixtureOfExperts(width, ffn)

"""The feed-forwards: an MLP, gated or not, or a mixture of gated ones behind a router. Shape letters as in `ops.py`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import native, ops
from .spec import MLP, Activation, FeedForward, MoE, Router


class GatedMLP(nn.Module):
    """down(activation(gate(x)) * up(x)), gate and up in one matrix."""

    def __init__(self, width: int, hidden: int, activation: Activation = "silu", bias: bool = False) -> None:
        super().__init__()
        self.activation: Activation = activation
        self.gate_up = nn.Linear(width, 2 * hidden, bias=bias)
        self.down = nn.Linear(hidden, width, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return ops.gated_mlp(x, self.gate_up, self.down, self.activation)


class PlainMLP(nn.Module):
    """down(activation(up(x))), as in GPT-J."""

    def __init__(self, width: int, mlp: MLP) -> None:
        super().__init__()
        self.mlp = mlp
        self.up = nn.Linear(width, mlp.width, bias=mlp.bias)
        self.down = nn.Linear(mlp.width, width, bias=mlp.bias)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.up(x)
        return self.down(ops.silu(hidden) if self.mlp.activation == "silu" else ops.gelu_tanh(hidden))


def route(scores_NE: Tensor, bias_E: Tensor | None, router: Router, active: int) -> tuple[Tensor, Tensor]:
    """Which experts each token takes, [N, A], and with what weights (sum = router.scale), [N, A].

    scores_NE: the router's scores in float32. The bias chooses, the unbiased score weighs.
    """
    choice = scores_NE if bias_E is None else scores_NE + bias_E
    if router.groups > 1:
        grouped = choice.unflatten(-1, (router.groups, -1))
        group_score = grouped.topk(2, dim=-1).values.sum(-1)
        kept = group_score.topk(router.groups_kept, dim=-1).indices
        mask = torch.ones_like(group_score, dtype=torch.bool).scatter_(-1, kept, False)
        choice = grouped.masked_fill(mask[..., None], 0.0 if router.soft_groups else float("-inf")).flatten(-2)
    expert = choice.topk(active, dim=-1, sorted=False).indices
    weight = scores_NE.gather(-1, expert)
    return expert, weight / (weight.sum(-1, keepdim=True) + 1e-20) * router.scale


class MixtureOfExperts(nn.Module):
    """Routed experts and shared ones, summed. No token is dropped.

    Weights of experts are stacked: gate_up [E, C, 2F], down [E, F, C].
    load_E: how many tokens each expert got in the last forward pass; balance: the auxiliary loss of that pass
    (Switch, Fedus et al. 2021, equation 4, on normalised scores) for routers without a bias.
    """

    def __init__(self, width: int, moe: MoE) -> None:
        super().__init__()
        self.moe = moe
        self.router = nn.Linear(width, moe.experts, bias=moe.router.logit_bias)
        self.register_buffer("router_bias", torch.zeros(moe.experts) if moe.router.bias else None)
        self.gate_up = nn.Parameter(torch.empty(moe.experts, width, 2 * moe.width))
        self.down = nn.Parameter(torch.empty(moe.experts, moe.width, width))
        self.gate_up_bias = nn.Parameter(torch.zeros(moe.experts, 2 * moe.width)) if moe.bias else None
        self.down_bias = nn.Parameter(torch.zeros(moe.experts, width)) if moe.bias else None
        self.shared = GatedMLP(width, moe.shared * moe.width, moe.activation, moe.bias) if moe.shared else None
        self.load_E: Tensor | None = None
        self.balance: Tensor | None = None

    def forward(self, x_BTC: Tensor) -> Tensor:
        x = x_BTC.flatten(0, -2)
        expert, weight, load, balance = self.routed(x)
        if self.training:
            self.load_E = load
            self.balance = None if self.moe.router.bias else balance
        shared = None if self.shared is None else self.shared(x)
        mixed = ops.experts(x, self.gate_up, self.down, expert, weight, load, activation=self.moe.activation,
                            gate_up_bias_EF=self.gate_up_bias, down_bias_EC=self.down_bias, further_NC=shared)
        return mixed.view_as(x_BTC)

    def routed(self, x_NC: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`route`'s choice and weights, how many tokens chose each expert, and the balance."""
        router = self.moe.router
        bias: Tensor | None = self.router_bias  # type: ignore[assignment]
        plain = type(self.router) is nn.Linear and self.router.bias is None and not router.soft_groups
        if plain and native.takes(x_NC, self.router.weight) and native.router_takes(x_NC, self.router.weight,
                                                                                    router.groups):
            return native.router(x_NC, self.router.weight, bias, active=self.moe.active, groups=router.groups,
                                 kept=router.groups_kept, softmax=router.score == "softmax", scale=router.scale)
        expert, weight, scores = self.chosen(x_NC)
        load = expert.flatten().bincount(minlength=self.moe.experts)
        share = scores / (scores.sum(-1, keepdim=True) + 1e-20)
        return expert, weight, load, self.moe.experts * (load / load.sum() * share.mean(0)).sum()

    def chosen(self, x_NC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`route`'s choice and weights, and what it chose by: the scores of all experts [N, E]."""
        logits, bias = self.router(x_NC), self.router_bias
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        scores = ops.sigmoid(logits) if self.moe.router.score == "sigmoid" else logits.softmax(-1)
        return *route(scores, bias, self.moe.router, self.moe.active), scores  # type: ignore[arg-type]


def build_ffn(ffn: FeedForward, width: int) -> GatedMLP | PlainMLP | MixtureOfExperts:
    """The module of a feed-forward spec."""
    if isinstance(ffn, MoE):
        return MixtureOfExperts(width, ffn)
    return GatedMLP(width, ffn.width, ffn.activation, ffn.bias) if ffn.gated else PlainMLP(width, ffn)

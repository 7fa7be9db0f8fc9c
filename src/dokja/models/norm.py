"""Normalisation of the residual stream, of heads and of latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import native, ops
from .spec import ModelSpec


class RMSNorm(nn.Module):
    """RMSNorm over the last dimension; zero-centred weights act as 1 + w."""

    def __init__(self, width: int, eps: float, zero_centred: bool = False) -> None:
        super().__init__()
        self.eps, self.zero_centred = eps, zero_centred
        self.weight = nn.Parameter(torch.zeros(width) if zero_centred else torch.ones(width))

    @classmethod
    def of(cls, spec: ModelSpec, width: int, eps: float | None = None) -> RMSNorm:
        """The RMSNorm of a spec over some width; eps: another epsilon than the model's."""
        return cls(width, spec.norm_eps if eps is None else eps, spec.norm_zero_centred)

    @property
    def offset(self) -> float:
        """What is added to the weights."""
        return 1.0 if self.zero_centred else 0.0

    def forward(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.weight, self.eps, self.offset)


class GatedRMSNorm(nn.Module):
    """RMSNorm of the residual stream, times the sigmoid of a low-rank function of itself (`spec.Norms`)."""

    def __init__(self, spec: ModelSpec, rank: int) -> None:
        super().__init__()
        self.norm = RMSNorm.of(spec, spec.width)
        self.down = nn.Linear(spec.width, rank, bias=False)
        self.up = nn.Linear(rank, spec.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(x)
        return y * ops.sigmoid(self.up(ops.silu(self.down(y))))


def join(x: Tensor, y: Tensor, after: nn.Module, before: nn.Module) -> tuple[Tensor, Tensor]:
    """h = x + after(y), and before(h): a residual addition with the norms around it."""
    norms = [norm if type(norm) is RMSNorm else None for norm in (after, before)]
    weights = [None if norm is None else norm.weight for norm in norms]
    known = all(norm is not None or type(of) is nn.Identity for norm, of in zip(norms, (after, before), strict=True))
    held = [weight for weight in weights if weight is not None]
    if held and known and x.shape == y.shape and native.takes(x, y, *held):
        floats = [value for norm in norms for value in ((0.0, 0.0) if norm is None else (norm.offset, norm.eps))]
        return native.join(x, y, weights[0], weights[1], (floats[0], floats[1], floats[2], floats[3]))
    h = x + after(y)
    return h, before(h)


def build_norm(spec: ModelSpec, gate: int = 0) -> RMSNorm | GatedRMSNorm | nn.LayerNorm:
    """A norm over the residual stream, of the kind that a spec uses; gate: the rank of its gate, 0 for none."""
    if gate:
        return GatedRMSNorm(spec, gate)
    return RMSNorm.of(spec, spec.width) if spec.norm == "rms" else nn.LayerNorm(spec.width, eps=spec.norm_eps)

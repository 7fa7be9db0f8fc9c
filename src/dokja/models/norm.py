"""Normalisation of the residual stream, of heads and of latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import ops
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


def build_norm(spec: ModelSpec) -> RMSNorm | nn.LayerNorm:
    """A norm over the residual stream, of the kind that a spec uses."""
    return RMSNorm.of(spec, spec.width) if spec.norm == "rms" else nn.LayerNorm(spec.width, eps=spec.norm_eps)

"""Root-mean-square normalisation."""

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
    def of(cls, spec: ModelSpec, width: int | None = None) -> RMSNorm:
        """The norm that a spec uses, over the model's width or another."""
        return cls(width or spec.width, spec.norm_eps, spec.norm_zero_centred)

    def forward(self, x: Tensor) -> Tensor:
        return ops.rms_norm(x, self.weight + 1.0 if self.zero_centred else self.weight, self.eps)

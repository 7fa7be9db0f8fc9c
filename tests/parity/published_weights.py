"""Random weights under the names of the published classes."""

from __future__ import annotations

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def randomise(weights: Weights, seed: int, *, zero_centred: bool = False) -> None:
    """Fill in place so that nothing is neutral: norms in 0.5 ... 1.5, router biases that change the choice of experts,
    router scores spread over (0, 1), attention that is neither uniform nor one-hot."""
    draws = torch.Generator().manual_seed(seed)
    for name, tensor in weights.items():
        noise = torch.randn(tensor.shape, generator=draws)
        if tensor.ndim == 1 and ("norm" in name or ".ln_" in name):  # gates on norms are matrices
            tensor.copy_(torch.rand(tensor.shape, generator=draws) + (-0.5 if zero_centred else 0.5))
        elif name.endswith("e_score_correction_bias"):
            tensor.copy_(0.3 * noise)
        elif name.endswith("mlp.gate.weight"):
            tensor.copy_(1.5 * noise * tensor.shape[-1] ** -0.5)
        elif name.endswith(("embed_tokens.weight", "wte.weight")):
            tensor.copy_(noise)
        else:
            tensor.copy_(1.5 * noise * tensor.shape[-1] ** -0.5)

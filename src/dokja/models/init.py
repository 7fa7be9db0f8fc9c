"""Random weights: where every model begins."""

from __future__ import annotations

import torch
from torch import nn

from .attention import GroupedQueryAttention, MultiHeadLatentAttention
from .decoder import Decoder
from .ffn import GatedMLP, MixtureOfExperts, PlainMLP
from .indexer import LightningIndexer
from .norm import GatedRMSNorm


@torch.no_grad()
def initialise(model: Decoder, seed: int) -> None:
    """Fill every weight from one seed, on the CPU, in the order of the modules.

    Matrices are normal with standard deviation 1 / sqrt(fan-in); those that write into the residual stream are further
    divided by sqrt(2 x layers) (GPT-2). Embedding and head are 0.5 and 0.5 / sqrt(width), both over the spec's muP
    multiplier, so that a multiplier moves scale between weight and constant and changes no function; a tied table takes
    the smaller of the two, or the first logits would be large. Norms are neutral, biases and sinks 0.
    """
    draws = torch.Generator().manual_seed(seed)
    spec = model.spec

    def normal(weight: torch.Tensor, std: float) -> None:
        weight.copy_(torch.randn(weight.shape, generator=draws) * std)

    def residual(fan_in: int) -> float:
        return fan_in**-0.5 * (2 * len(spec.layers)) ** -0.5 / spec.residual_scale

    embedding, head = 0.5 / spec.embedding_scale, 0.5 * spec.width**-0.5 / spec.logit_scale
    normal(model.embedding.weight, min(embedding, head) if spec.tied else embedding)
    if not spec.tied:
        normal(model.head.weight, head)
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.zero_()
        if isinstance(module, MixtureOfExperts):
            normal(module.router.weight, spec.width**-0.5)
            normal(module.gate_up, spec.width**-0.5)
            normal(module.down, residual(module.moe.width))
        elif isinstance(module, GatedMLP | PlainMLP):
            first = module.gate_up if isinstance(module, GatedMLP) else module.up
            normal(first.weight, spec.width**-0.5)
            normal(module.down.weight, residual(module.down.in_features))
        elif isinstance(module, GroupedQueryAttention | MultiHeadLatentAttention | LightningIndexer | GatedRMSNorm):
            for name, child in module.named_children():
                if isinstance(child, nn.Linear):
                    into_stream = name == "out"
                    normal(child.weight, residual(child.in_features) if into_stream else child.in_features**-0.5)
    for layer in model.mtp:
        projection = layer.projection
        assert isinstance(projection, nn.Linear)
        normal(projection.weight, projection.in_features**-0.5)

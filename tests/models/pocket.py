"""Pocket models of every family, with random weights of which none is neutral."""

from __future__ import annotations

import torch
from torch import Tensor

from dokja.models.decoder import Decoder
from dokja.models.families import FAMILIES
from dokja.models.init import initialise
from dokja.models.scaling import scaled
from dokja.models.spec import ModelSpec

NAMES = list(FAMILIES)
VOCAB, CONTEXT = 512, 64


def pocket_spec(name: str, *, total: int = 250_000, context: int = CONTEXT, vocab: int = VOCAB) -> ModelSpec:
    """A family at about `total` parameters; windows are an eighth of the context."""
    return scaled(FAMILIES[name].spec, total, context=context, vocab=vocab)


@torch.no_grad()
def pocket_model(name: str, *, seed: int = 0, vocab: int = VOCAB) -> Decoder:
    """The decoder of `pocket_spec`, with norms, biases and embeddings away from their initial values."""
    model = Decoder(pocket_spec(name, vocab=vocab))
    initialise(model, seed)
    draws = torch.Generator().manual_seed(seed)
    for tensor_name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.ndim == 1:
            tensor.add_(torch.rand(tensor.shape, generator=draws) - 0.5)
        elif tensor_name.endswith("router.weight"):
            tensor.mul_(3)
    model.head.weight.mul_(8)  # logits far enough apart that the likeliest token is clear
    return model.eval()


def random_ids(seed: int, rows: int, length: int, vocab: int = VOCAB) -> Tensor:
    """Token ids [rows, length]."""
    return torch.randint(vocab, (rows, length), generator=torch.Generator().manual_seed(seed))

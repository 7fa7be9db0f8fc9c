"""The comparison of `harness.py` for models without a class in transformers: a plain reference against ours.

The published files are made here, from random weights under the published names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from harness import GRADIENTS, assert_close, in_chunks
from published_weights import Weights, randomise
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dokja.models.checkpoint.layout import places
from dokja.models.checkpoint.published import read_published, write_published
from dokja.models.decoder import Decoder
from dokja.models.families import checkpoint_of

Forward = Callable[[Weights, Tensor], Tensor]


def random_files(folder: Path, config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], seed: int,
                 zero_centred: bool = False) -> Weights:
    """Write config.json and random tensors of those shapes into a folder; returns the tensors."""
    weights = {name: torch.empty(shape) for name, shape in shapes.items()}
    randomise(weights, seed, zero_centred=zero_centred)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    return weights


def check_plain(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], forward: Forward, folder: Path, *,
                length: int, seed: int, zero_centred: bool = False) -> Decoder:
    """Assert that our reading of random published files computes what `forward` does with them; returns our model.

    forward: published tensors and ids [B, T] -> logits [B, T, V], differentiable. length, zero_centred: as in
    `harness.check`. What we write must be the published tensors again, bit for bit, under a config that means the same.
    """
    weights = random_files(folder / "theirs", config, shapes, seed, zero_centred)
    ours = read_published(folder / "theirs")
    ids = torch.randint(0, ours.spec.vocab, (2, length), generator=torch.Generator().manual_seed(seed))
    for tensor in weights.values():
        tensor.requires_grad_()
    expected = forward(weights, ids)
    found = ours(ids)
    assert_close(found, expected, "whole sequences")
    with torch.no_grad():
        assert_close(in_chunks(ours, ids, 1), expected, "token by token with a cache")
        assert_close(in_chunks(ours, ids, 5), expected, "in chunks of five with a cache")
    for logits in (expected, found):
        nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    check_gradients(ours, weights, config)
    check_written(ours, weights, config, folder / "ours")
    return ours


def check_gradients(ours: Decoder, weights: Weights, config: Mapping[str, Any]) -> None:
    """The gradient of every published tensor against the one in its place, by relative error."""
    table = places(ours.state_dict(), ours.spec, checkpoint_of(dict(config)).names)
    assert table.keys() == weights.keys()
    found = dict(ours.named_parameters())
    for name, place in table.items():
        if place.ours not in found:  # a buffer has none
            continue
        expected, gradient = weights[name].grad, found[place.ours].grad
        assert expected is not None
        assert gradient is not None
        assert expected.norm() > 1e-6, name
        error = (place.write(gradient) - expected).norm() / expected.norm()
        assert error < GRADIENTS, f"gradient of {name}: relative error {error:.1e}"


def check_written(ours: Decoder, weights: Weights, config: Mapping[str, Any], folder: Path) -> None:
    """What we write holds the same tensors and means the same spec."""
    layout = checkpoint_of(dict(config))
    write_published(folder, ours, layout)
    again = load_file(folder / "model.safetensors")
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in weights.items())
    assert read_published(folder).spec == ours.spec

"""One comparison for every family: a published implementation against ours, through the published files.

The reference is written to disk by its own `save_pretrained`, read by our loader and written back by ours, so config
translation and tensor names are compared together with the numbers.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from published_weights import randomise
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from dokja.models.checkpoint.layout import places
from dokja.models.checkpoint.published import read_published, write_published
from dokja.models.decoder import Decoder
from dokja.models.families import checkpoint_of

LOGITS, GRADIENTS = 1e-4, 1e-3  # of the logits' scale; relative, a tensor


def check(reference: PreTrainedModel, folder: Path, *, length: int, seed: int, zero_centred: bool = False) -> Decoder:
    """Assert that our reading of `reference` computes what it does; returns our model.

    length: tokens of the compared sequences; longer than any window. zero_centred: norm weights act as 1 + w.
    """
    reference = reference.eval()
    reference.get_input_embeddings().padding_idx = None  # transformers withholds the gradient of the padding token
    with torch.no_grad():
        randomise(reference.state_dict(), seed, zero_centred=zero_centred)
    reference.save_pretrained(folder / "theirs")
    ours = read_published(folder / "theirs")
    draws = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, ours.spec.vocab, (2, length), generator=draws)
    with torch.no_grad():
        expected = reference(ids, use_cache=False).logits
        assert_close(ours(ids), expected, "whole sequences")
        assert_close(in_chunks(ours, ids, 1), expected, "token by token with a cache")
        assert_close(in_chunks(ours, ids, 5), expected, "in chunks of five with a cache")
    check_gradients(reference, ours, ids, folder)
    config = json.loads((folder / "theirs" / "config.json").read_text())
    write_published(folder / "ours", ours, checkpoint_of(config))
    assert json.loads((folder / "ours" / "config.json").read_text())["model_type"] == config["model_type"]
    again = type(reference).from_pretrained(folder / "ours", dtype=torch.float32)
    with torch.no_grad():
        assert_close(again(ids, use_cache=False).logits, expected, "our files read by the reference")
    return ours


def assert_close(found: Tensor, expected: Tensor, what: str) -> None:
    """Largest difference of logits, as a share of the largest logit."""
    difference = ((found - expected).abs().max() / expected.abs().max()).item()
    assert difference < LOGITS, f"{what}: logits differ by {difference:.1e} of the largest"


def in_chunks(model: Decoder, ids: Tensor, size: int) -> Tensor:
    """Logits of whole sequences, fed `size` tokens at a time to a cache."""
    cache = model.new_cache(len(ids), ids.shape[1])
    position = torch.arange(ids.shape[1]).expand_as(ids)
    return torch.cat([model(ids[:, at:at + size], cache, position[:, at:at + size])
                      for at in range(0, ids.shape[1], size)], dim=1)


def check_gradients(reference: PreTrainedModel, ours: Decoder, ids: Tensor, folder: Path) -> None:
    """One backward pass of the mean cross-entropy: every published tensor's gradient, by relative error.

    The reference is used up: its weights are overwritten.
    """
    for model in (reference, ours):
        model.zero_grad()
        logits = reference(ids, use_cache=False).logits if model is reference else ours(ids)
        nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    with torch.no_grad():  # the gradients take the weights' place, to be saved under the published names
        for parameter in reference.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    reference.save_pretrained(folder / "gradients")
    expected = load_file(folder / "gradients" / "model.safetensors")
    config = json.loads((folder / "theirs" / "config.json").read_text())
    table = places(ours.state_dict(), ours.spec, checkpoint_of(config).names)
    found = {name: parameter.grad for name, parameter in ours.named_parameters()}
    # What is zero but for rounding (Q and K that see one position) is held to a share of the largest instead.
    least = 1e-3 * max(gradient.norm().item() for gradient in expected.values())
    compared = 0
    for name, place in table.items():
        gradient = found.get(place.ours)
        if gradient is None or name not in expected:
            continue
        error = (place.write(gradient) - expected[name]).norm() / expected[name].norm().clamp(min=least)
        assert error < GRADIENTS, f"gradient of {name}: relative error {error:.1e}"
        compared += 1
    assert compared >= len(list(ours.parameters())) - len(ours.mtp) * 20

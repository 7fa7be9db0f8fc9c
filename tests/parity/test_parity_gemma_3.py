"""Gemma 3 against transformers' Gemma3ForCausalLM, on random small configurations."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from harness import assert_close, check
from published_weights import randomise
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

import dokja
from dokja.errors import DokjaError
from dokja.models.decoder import Decoder
from dokja.models.families import family
from dokja.models.scaling import scaled
from dokja.models.spec import Linear, Rope


def config(seed: int) -> Gemma3TextConfig:
    """A small configuration, every size drawn."""
    draw = random.Random(seed)
    kv, pattern = draw.choice((1, 2)), draw.choice(("LLG", "LG", "LLLLLG"))
    heads = kv * draw.choice((2, 4))
    stretched = {"rope_type": "linear", "factor": 8.0} if seed % 2 else {"rope_type": "default"}
    return Gemma3TextConfig(
        vocab_size=97, hidden_size=heads * draw.choice((6, 10)), num_hidden_layers=len(pattern) + 1,
        num_attention_heads=heads, num_key_value_heads=kv, head_dim=draw.choice((8, 16)),
        intermediate_size=draw.choice((40, 64)), sliding_window=draw.choice((3, 6)), max_position_embeddings=64,
        layer_types=["sliding_attention" if kind == "L" else "full_attention" for kind in pattern + "L"],
        query_pre_attn_scalar=draw.choice((8, 21)), tie_word_embeddings=seed != 3,
        rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                         "full_attention": {**stretched, "rope_theta": 1e6}},
    )


@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    check(Gemma3ForCausalLM(config(seed)), tmp_path, length=23, seed=seed, zero_centred=True)


@pytest.mark.parametrize("total", [300_000, 3_000_000])
def test_a_small_27b_loads_in_transformers(total: int, tmp_path: Path) -> None:
    """Its attention scale is a number of its own, of which transformers takes whole ones only."""
    official = next(one.spec for one in family("gemma-3").releases if one.spec.name == "gemma-3-27b")
    decoder = Decoder(scaled(official, total, context=64, vocab=97)).eval()
    with torch.no_grad():
        randomise(decoder.state_dict(), 1, zero_centred=True)
        dokja.save(dokja.Model(decoder, family=family("gemma-3")), tmp_path / "ours")
        published = json.loads((tmp_path / "ours" / "config.json").read_text())
        assert published["query_pre_attn_scalar"] == round(168 / 128 * published["head_dim"])
        ids = torch.randint(97, (2, 23), generator=torch.Generator().manual_seed(1))
        theirs = Gemma3ForCausalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32)
        assert_close(decoder(ids), theirs(ids, use_cache=False).logits, "our files read by transformers")
    assert dokja.load(tmp_path / "ours").spec.layers == decoder.spec.layers


@pytest.mark.parametrize("change", [{"scale": 2.625**-0.5}, {"heads": 6}])
def test_what_transformers_does_not_take_is_refused(change: dict[str, float]) -> None:
    spec = scaled(family("gemma-3").spec, 300_000, context=64, vocab=97)
    layers = tuple(replace(layer, mixer=replace(layer.mixer, **change)) for layer in spec.layers)  # type: ignore[arg-type]
    layout = family("gemma-3").checkpoint
    assert layout is not None
    with pytest.raises(DokjaError, match="cannot be written as a Gemma 3"):
        layout.write(replace(spec, layers=layers))


def test_the_fields_of_the_released_files() -> None:
    """config.json as transformers 4 wrote it for the releases: a pattern instead of a list, no word on tying."""
    found, layout = family("gemma-3"), family("gemma-3").checkpoint
    assert layout is not None
    for one in found.releases:
        published = layout.write(one.spec)
        del published["layer_types"], published["tie_word_embeddings"]
        read = layout.read({**published, "sliding_window_pattern": 6}, ())
        assert read.layers == one.spec.layers
        assert read.tied
    assert found.spec.layers[5].mixer.rope == Rope(1e6, scaling=Linear(8.0))
    for change in ({"final_logit_softcapping": 30.0}, {"use_bidirectional_attention": True}):
        with pytest.raises(DokjaError, match=next(iter(change))):
            layout.read({**published, **change}, ())

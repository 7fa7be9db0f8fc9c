"""Gemma 3 against transformers' Gemma3ForCausalLM, on random small configurations."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from harness import check
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from dokja.errors import DokjaError
from dokja.models.families import family
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

"""Qwen3 against transformers' Qwen3MoeForCausalLM, on random small configurations."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from harness import check
from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

from dokja.errors import DokjaError
from dokja.models.families import family


def config(seed: int) -> Qwen3MoeConfig:
    """A small configuration, every size drawn."""
    draw = random.Random(seed)
    kv = draw.choice((1, 2))
    return Qwen3MoeConfig(
        vocab_size=97, hidden_size=16 * draw.choice((2, 3)), num_hidden_layers=4,
        num_attention_heads=kv * draw.choice((2, 4)), num_key_value_heads=kv, head_dim=draw.choice((8, 16)),
        intermediate_size=draw.choice((40, 64)), moe_intermediate_size=8 * draw.choice((2, 3)),
        num_experts=draw.choice((6, 8)), num_experts_per_tok=draw.choice((2, 3)), norm_topk_prob=True,
        decoder_sparse_step=1 + seed % 2, mlp_only_layers=[[], [3], [0, 2]][seed % 3], max_position_embeddings=64,
        tie_word_embeddings=draw.random() < 0.3,
        rope_parameters={"rope_type": "default", "rope_theta": draw.choice((1e4, 1e6))},
    )


@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    check(Qwen3MoeForCausalLM(config(seed)), tmp_path, length=23, seed=seed)


def test_weights_that_are_not_normalised_are_refused() -> None:
    layout = family("qwen3").checkpoint
    assert layout is not None
    published = layout.write(family("qwen3").spec)
    for change in ({"norm_topk_prob": False}, {"norm_topk_prob": None}, {"use_sliding_window": True}):
        with pytest.raises(DokjaError, match=next(iter(change))):
            layout.read({**published, **change}, ())

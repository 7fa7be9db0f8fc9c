"""Mi:dm 2.0 against transformers' LlamaForCausalLM, on random small configurations."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from harness import check
from transformers import LlamaConfig, LlamaForCausalLM


def config(seed: int) -> LlamaConfig:
    """A small configuration, every size drawn; head_dim is not width / heads, as in Mini."""
    draw = random.Random(seed)
    kv = draw.choice((1, 2))
    heads = kv * draw.choice((2, 4))
    return LlamaConfig(
        vocab_size=97, hidden_size=heads * draw.choice((6, 10)), num_hidden_layers=draw.choice((2, 3)),
        num_attention_heads=heads, num_key_value_heads=kv, head_dim=draw.choice((8, 16)),
        intermediate_size=draw.choice((40, 64)), max_position_embeddings=64, rms_norm_eps=draw.choice((1e-5, 1e-6)),
        tie_word_embeddings=seed % 2 == 1,
        rope_parameters={"rope_type": "default", "rope_theta": draw.choice((1e4, 8e6))},
    )


@pytest.mark.parametrize("seed", range(3))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    check(LlamaForCausalLM(config(seed)), tmp_path, length=23, seed=seed)

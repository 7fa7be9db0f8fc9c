"""K-EXAONE against transformers' ExaoneMoeForCausalLM, on random small configurations."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from harness import check
from transformers import ExaoneMoeConfig, ExaoneMoeForCausalLM


def config(seed: int) -> ExaoneMoeConfig:
    """A small configuration, every size drawn."""
    draw = random.Random(seed)
    head, kv, pattern = draw.choice((8, 16)), draw.choice((1, 2)), draw.choice(("LLLG", "LG", "LLG"))
    groups = draw.choice((1, 2, 4))
    return ExaoneMoeConfig(
        vocab_size=97, hidden_size=16 * draw.choice((2, 3)), num_hidden_layers=len(pattern) + 1,
        num_attention_heads=kv * draw.choice((2, 3)), num_key_value_heads=kv, head_dim=head,
        layer_types=["sliding_attention" if kind == "L" else "full_attention" for kind in pattern + "L"],
        sliding_window=draw.choice((3, 6)), intermediate_size=draw.choice((40, 64)), first_k_dense_replace=1,
        moe_intermediate_size=8 * draw.choice((2, 3)), num_experts=8, num_experts_per_tok=draw.choice((2, 3)),
        num_shared_experts=draw.choice((1, 2)), n_group=groups, topk_group=max(1, groups // 2),
        routed_scaling_factor=draw.choice((1.0, 2.5)), max_position_embeddings=64,
        tie_word_embeddings=draw.random() < 0.3,
        rope_parameters={"rope_type": "default", "rope_theta": draw.choice((1e4, 1e6))},
    )


@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    check(ExaoneMoeForCausalLM(config(seed)), tmp_path, length=23, seed=seed)

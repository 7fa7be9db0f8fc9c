"""KoGPT against transformers' GPTJForCausalLM, on random small configurations."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from harness import check
from transformers import GPTJConfig, GPTJForCausalLM


def config(seed: int) -> GPTJConfig:
    """A small configuration, every size drawn."""
    draw = random.Random(seed)
    heads, head = draw.choice((2, 3)), draw.choice((16, 24))
    return GPTJConfig(
        vocab_size=97, n_positions=64, n_embd=heads * head, n_layer=draw.choice((2, 3)), n_head=heads,
        rotary_dim=draw.choice((4, 8, head)), n_inner=draw.choice((None, 40)),
        layer_norm_epsilon=draw.choice((1e-5, 1e-3)), bos_token_id=0, eos_token_id=1,
    )


@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    check(GPTJForCausalLM(config(seed)), tmp_path, length=23, seed=seed)

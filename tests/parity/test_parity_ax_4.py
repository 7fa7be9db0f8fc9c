"""A.X 4.0 against transformers' Qwen2ForCausalLM, on random small configurations."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from harness import check
from official import check_text, published_size
from transformers import Qwen2Config, Qwen2ForCausalLM

from dokja.models.cost import parameters
from dokja.models.families import FAMILIES


def config(seed: int) -> Qwen2Config:
    """A small configuration, every size drawn; seed 2 has a window in its last layers."""
    draw = random.Random(seed)
    kv, groups, head = draw.choice((1, 2)), draw.choice((2, 3)), draw.choice((8, 16))
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8}
    return Qwen2Config(
        vocab_size=97, hidden_size=kv * groups * head, num_hidden_layers=3, num_attention_heads=kv * groups,
        num_key_value_heads=kv, intermediate_size=draw.choice((40, 64)), max_position_embeddings=64,
        rms_norm_eps=draw.choice((1e-5, 1e-6)), tie_word_embeddings=seed == 3,
        use_sliding_window=seed == 2, sliding_window=5, max_window_layers=1,
        rope_parameters={**(yarn if seed == 1 else {"rope_type": "default"}), "rope_theta": draw.choice((1e4, 1e6))},
    )


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    ours = check(Qwen2ForCausalLM(config(seed)), tmp_path, length=23, seed=seed)
    assert ours.spec.layers[0].mixer.bias
    if seed == 2:
        check_text(tmp_path, ours)


def test_official_sizes_are_those_of_the_published_class() -> None:
    found = FAMILIES["ax-4"]
    for one in found.releases:
        assert published_size(found, one) == parameters(one.spec).total

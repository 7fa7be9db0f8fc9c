"""K-EXAONE against transformers' ExaoneMoeForCausalLM, on random small configurations; its MTP layer is in
test_parity_mtp.py."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from harness import check
from official import check_nothing_is_neutral, check_text, published_size
from published_weights import randomise
from transformers import ExaoneMoeConfig, ExaoneMoeForCausalLM

from dokja.models.cost import parameters
from dokja.models.families import FAMILIES


def config(seed: int, window: int | None = None) -> ExaoneMoeConfig:
    """A small configuration, every size drawn, the window unless it is given."""
    draw = random.Random(seed)
    head, kv, pattern = draw.choice((8, 16)), draw.choice((1, 2)), draw.choice(("LLLG", "LG", "LLG"))
    groups = draw.choice((1, 2, 4))
    return ExaoneMoeConfig(
        vocab_size=97, hidden_size=16 * draw.choice((2, 3)), num_hidden_layers=len(pattern) + 1,
        num_attention_heads=kv * draw.choice((2, 3)), num_key_value_heads=kv, head_dim=head,
        layer_types=["sliding_attention" if kind == "L" else "full_attention" for kind in pattern + "L"],
        sliding_window=draw.choice((3, 6)) if window is None else window, first_k_dense_replace=1,
        intermediate_size=draw.choice((40, 64)),
        moe_intermediate_size=8 * draw.choice((2, 3)), num_experts=8, num_experts_per_tok=draw.choice((2, 3)),
        num_shared_experts=draw.choice((1, 2)), n_group=groups, topk_group=max(1, groups // 2),
        routed_scaling_factor=draw.choice((1.0, 2.5)), max_position_embeddings=64,
        tie_word_embeddings=draw.random() < 0.3,
        rope_parameters={"rope_type": "default", "rope_theta": draw.choice((1e4, 1e6))},
    )


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    ours = check(ExaoneMoeForCausalLM(config(seed)), tmp_path, length=23, seed=seed)
    if seed == 0:
        check_text(tmp_path, ours)


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("window", [1, 2, 22, 23, 64])
def test_every_window(window: int, tmp_path: Path) -> None:
    """A window of 1 sees only itself; one as long as the sequence is no window."""
    check(ExaoneMoeForCausalLM(config(4, window)), tmp_path, length=23, seed=window)


def test_nothing_in_the_comparison_is_neutral() -> None:
    reference = ExaoneMoeForCausalLM(config(0)).eval()
    with torch.no_grad():
        randomise(reference.state_dict(), 0)
    check_nothing_is_neutral(reference, torch.arange(46).view(2, 23))


def test_the_official_size_of_the_trunk_is_that_of_the_published_class() -> None:
    found = FAMILIES["k-exaone"]
    assert published_size(found, found.releases[0]) == parameters(found.spec).trunk

"""Solar Open against transformers' SolarOpenForCausalLM, on random small configurations."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from harness import check
from official import check_nothing_is_neutral, check_text, published_size
from published_weights import randomise
from transformers import SolarOpenConfig, SolarOpenForCausalLM

from dokja.errors import DokjaError
from dokja.models.cost import parameters
from dokja.models.families import FAMILIES, checkpoint_of
from dokja.models.spec import Yarn


def config(seed: int) -> SolarOpenConfig:
    """A small configuration, every size drawn; all but seed 3 have the released kind of scaling, past its original
    context."""
    draw = random.Random(seed)
    kv, groups = draw.choice((1, 2)), draw.choice((1, 2, 4))
    yarn = {"rope_type": "yarn", "factor": draw.choice((2.0, 4.0)), "original_max_position_embeddings": 8}
    return SolarOpenConfig(
        vocab_size=97, hidden_size=16 * draw.choice((2, 3)), num_hidden_layers=draw.choice((2, 3)),
        num_attention_heads=kv * draw.choice((2, 3)), num_key_value_heads=kv, head_dim=draw.choice((8, 16)),
        moe_intermediate_size=8 * draw.choice((2, 3)), n_routed_experts=8, num_experts_per_tok=draw.choice((2, 3)),
        n_shared_experts=draw.choice((1, 2)), n_group=groups, topk_group=max(1, groups // 2),
        routed_scaling_factor=draw.choice((1.0, 2.5)), max_position_embeddings=64, attention_bias=seed == 2,
        rms_norm_eps=draw.choice((1e-5, 1e-3)), tie_word_embeddings=seed == 1,
        rope_parameters={**({"rope_type": "default"} if seed == 3 else yarn), "rope_theta": draw.choice((1e4, 1e6))},
    )


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    ours = check(SolarOpenForCausalLM(config(seed)), tmp_path, length=23, seed=seed)
    if seed == 0:
        check_text(tmp_path, ours)


def test_nothing_in_the_comparison_is_neutral() -> None:
    reference = SolarOpenForCausalLM(config(0)).eval()
    with torch.no_grad():
        randomise(reference.state_dict(), 0)
    check_nothing_is_neutral(reference, torch.arange(46).view(2, 23))


def test_the_official_size_is_that_of_the_published_class() -> None:
    found = FAMILIES["solar-open"]
    assert published_size(found, found.releases[0]) == parameters(found.spec).total


def test_the_released_dimensions_are_the_defaults_of_the_published_class() -> None:
    """All but the scaling of RoPE, which the class leaves to config.json."""
    written = FAMILIES["solar-open"].checkpoint.write(FAMILIES["solar-open"].spec)  # type: ignore[union-attr]
    defaults = SolarOpenConfig().to_dict()
    assert {name: value for name, value in written.items() if name in defaults and defaults[name] != value} == {}
    assert written["rope_theta"] == defaults["rope_parameters"]["rope_theta"]
    scaling = FAMILIES["solar-open"].spec.layers[0].mixer.rope.scaling  # type: ignore[union-attr]
    assert isinstance(scaling, Yarn)
    assert scaling.original_context * scaling.factor == FAMILIES["solar-open"].spec.context


def test_experts_whose_weights_are_not_normalised_are_refused() -> None:
    fields = {**config(0).to_dict(), "norm_topk_prob": False}
    with pytest.raises(DokjaError, match="norm_topk_prob = False"):
        checkpoint_of(fields).read(fields, ())

"""HyperCLOVA X SEED Think against transformers' HyperCLOVAXForCausalLM, on random small configurations; the text core
of Omni against LlamaForCausalLM."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from harness import check
from official import check_nothing_is_neutral, check_text, published_size
from published_weights import randomise
from transformers import HyperCLOVAXConfig, HyperCLOVAXForCausalLM, LlamaConfig, LlamaForCausalLM

from dokja.models.cost import parameters
from dokja.models.families import FAMILIES
from dokja.models.spec import PERI, PRE


def config(seed: int) -> HyperCLOVAXConfig:
    """A small configuration, every size and multiplier drawn; the second and fourth have no output norms."""
    draw = random.Random(seed)
    kv, groups, head = draw.choice((1, 2)), draw.choice((2, 3)), draw.choice((8, 16))
    return HyperCLOVAXConfig(
        vocab_size=97, hidden_size=kv * groups * 8 * draw.choice((1, 2)), num_hidden_layers=3,
        num_attention_heads=kv * groups, num_key_value_heads=kv, head_dim=head,
        intermediate_size=draw.choice((40, 64)), max_position_embeddings=64, rms_norm_eps=draw.choice((1e-5, 1e-6)),
        use_post_norm=seed % 2 == 0, attention_multiplier=None if seed == 3 else draw.uniform(0.1, 0.5),
        embedding_multiplier=draw.uniform(0.5, 4), residual_multiplier=draw.uniform(0.5, 1.5),
        logits_scaling=draw.uniform(0.1, 2), tie_word_embeddings=seed == 3,
        rope_parameters={"rope_type": "default", "rope_theta": draw.choice((1e4, 1e8))},
    )


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    ours = check(HyperCLOVAXForCausalLM(config(seed)), tmp_path, length=23, seed=seed)
    assert ours.spec.layers[0].norms == (PRE if seed % 2 else PERI)
    if seed == 0:
        check_text(tmp_path, ours)


def test_nothing_in_the_comparison_is_neutral() -> None:
    reference = HyperCLOVAXForCausalLM(config(0)).eval()
    with torch.no_grad():
        randomise(reference.state_dict(), 0)
    check_nothing_is_neutral(reference, torch.arange(46).view(2, 23))


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", range(2))
def test_omni_is_a_llama(seed: int, tmp_path: Path) -> None:
    small = LlamaConfig(vocab_size=101, hidden_size=48, num_hidden_layers=3, num_attention_heads=6,
                        num_key_value_heads=2, head_dim=8, intermediate_size=72, max_position_embeddings=64,
                        rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 5e5})
    check(LlamaForCausalLM(small), tmp_path, length=23, seed=seed)


@pytest.mark.parametrize("name", ["hyperclova-x-seed-think", "hyperclova-x-seed-omni"])
def test_official_sizes_are_those_of_the_published_class(name: str) -> None:
    found = FAMILIES[name]
    for one in found.releases:
        assert published_size(found, one) == parameters(one.spec).total

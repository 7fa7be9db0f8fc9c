"""A.X K1 against transformers' AXK1ForCausalLM, on random small configurations."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from harness import assert_close, check
from official import check_nothing_is_neutral, check_text, published_size
from published_weights import randomise
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AXK1Config, AXK1ForCausalLM

from dokja.models.checkpoint.published import read_published
from dokja.models.cost import parameters
from dokja.models.families import FAMILIES


def config(seed: int) -> AXK1Config:
    """A small configuration, every size drawn."""
    draw = random.Random(seed)
    heads, groups, dense = draw.choice((2, 3)), draw.choice((2, 4)), 1 + seed % 2
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "beta_fast": 32,
            "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 0.8 if seed == 2 else 0.0}
    scaling = {"rope_type": "default"} if seed == 3 else yarn
    return AXK1Config(
        vocab_size=97, hidden_size=16 * draw.choice((2, 3)), num_hidden_layers=3, num_attention_heads=heads,
        num_key_value_heads=heads, q_lora_rank=draw.choice((20, 40)), kv_lora_rank=draw.choice((12, 24)),
        qk_nope_head_dim=draw.choice((8, 16)), qk_rope_head_dim=8, v_head_dim=draw.choice((8, 12)),
        intermediate_size=draw.choice((40, 64)), mlp_layer_types=["dense"] * dense + ["sparse"] * (3 - dense),
        moe_intermediate_size=8 * draw.choice((2, 3)), n_routed_experts=16, num_experts_per_tok=draw.choice((3, 4)),
        n_shared_experts=draw.choice((1, 2)), n_group=groups, topk_group=groups // 2,
        routed_scaling_factor=draw.choice((1.0, 2.5)), max_position_embeddings=64,
        rms_norm_eps=draw.choice((1e-5, 1e-6)), tie_word_embeddings=draw.random() < 0.3,
        rope_interleave=draw.random() < 0.7, bos_token_id=1, eos_token_id=2,
        rope_parameters={**scaling, "rope_theta": draw.choice((1e4, 1e6))},
    )


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    ours = check(AXK1ForCausalLM(config(seed)), tmp_path, length=23, seed=seed)
    if seed == 0:
        check_text(tmp_path, ours)


def test_nothing_in_the_comparison_is_neutral() -> None:
    reference = AXK1ForCausalLM(config(0)).eval()
    with torch.no_grad():
        randomise(reference.state_dict(), 0)
    check_nothing_is_neutral(reference, torch.arange(46).view(2, 23))


def test_the_released_files_have_no_router_bias_and_a_norm_too_many(tmp_path: Path) -> None:
    reference = AXK1ForCausalLM(config(1))
    with torch.no_grad():
        randomise(reference.state_dict(), 1)
    reference.save_pretrained(tmp_path)
    weights = {name: tensor for name, tensor in load_file(tmp_path / "model.safetensors").items()
               if not name.endswith("e_score_correction_bias")}
    weights["model.layers.0.post_mlp_layernorm.weight"] = torch.rand(reference.config.hidden_size)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    ours = read_published(tmp_path)
    assert not any(name.endswith("router_bias") for name in ours.state_dict())
    unused = reference.config.hidden_size
    assert parameters(ours.spec).total + unused == sum(tensor.numel() for tensor in weights.values())
    ids = torch.arange(46).view(2, 23)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        assert_close(ours(ids), again(ids, use_cache=False).logits, "released files")


def test_the_official_size_is_that_of_the_published_class() -> None:
    """Without the router biases, which the class has and the release has not, and the norm that nobody reads."""
    found = FAMILIES["ax-k1"]
    for one in found.releases:
        assert published_size(found, one, buffers=False) == parameters(one.spec).total - one.spec.unused


def test_the_class_has_the_official_values_as_defaults() -> None:
    """All but the positions, which it leaves as they were before the context was extended."""
    found = FAMILIES["ax-k1"]
    assert found.checkpoint is not None
    before = replace(found.spec.layers[0].mixer, rope=replace(found.spec.layers[0].mixer.rope, scaling=None))
    spec = replace(found.spec, layers=tuple(replace(layer, mixer=before) for layer in found.spec.layers))
    default = found.checkpoint.read(AXK1Config().to_dict(), ())
    assert replace(default, name=spec.name, context=spec.context, unused=spec.unused) == spec

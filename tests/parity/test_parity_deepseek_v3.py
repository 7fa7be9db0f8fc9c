"""DeepSeek-V3 against transformers' DeepseekV3ForCausalLM, on random small configurations."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from harness import check
from official import check_text, published_size
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from dokja.models.cost import parameters
from dokja.models.families import FAMILIES


def config(seed: int, **fixed: object) -> DeepseekV3Config:
    """A small configuration, every size drawn."""
    draw = random.Random(seed)
    heads, groups = draw.choice((2, 3)), draw.choice((1, 2, 4))
    yarn = {"rope_type": "yarn", "factor": draw.choice((2.0, 40.0)), "original_max_position_embeddings": 8,
            "beta_fast": 32, "beta_slow": 1, "mscale": draw.choice((0.7, 1.0)),
            "mscale_all_dim": draw.choice((0.8, 1.0))}
    scaling = yarn if seed % 2 == 0 else {"rope_type": "default"}
    return DeepseekV3Config(**{
        "vocab_size": 97, "hidden_size": 16 * draw.choice((2, 3)), "num_hidden_layers": 3,
        "num_attention_heads": heads, "num_key_value_heads": heads, "q_lora_rank": draw.choice((None, 20)),
        "kv_lora_rank": draw.choice((12, 24)), "qk_nope_head_dim": draw.choice((8, 16)), "qk_rope_head_dim": 8,
        "v_head_dim": draw.choice((8, 12)), "intermediate_size": draw.choice((40, 64)),
        "first_k_dense_replace": draw.choice((1, 2)), "moe_intermediate_size": 8 * draw.choice((2, 3)),
        "n_routed_experts": 8, "num_experts_per_tok": draw.choice((2, 3)), "n_shared_experts": draw.choice((1, 2)),
        "n_group": groups, "topk_group": max(1, groups - 1), "routed_scaling_factor": draw.choice((1.0, 2.5)),
        "max_position_embeddings": 64, "rms_norm_eps": draw.choice((1e-5, 1e-6)),
        "tie_word_embeddings": draw.random() < 0.3, "rope_interleave": draw.random() < 0.7,
        "rope_parameters": {**scaling, "rope_theta": draw.choice((1e4, 1e6))}, **fixed,
    })


@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    ours = check(DeepseekV3ForCausalLM(config(seed)), tmp_path, length=23, seed=seed)
    if seed == 0:
        check_text(tmp_path, ours)


def test_the_official_size_is_that_of_the_published_class() -> None:
    """Without the MTP layer, which the class does not build."""
    found = FAMILIES["deepseek-v3"]
    for one in found.releases:
        assert published_size(found, one) == parameters(one.spec).trunk

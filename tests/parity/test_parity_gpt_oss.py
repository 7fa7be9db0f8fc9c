"""gpt-oss against transformers' GptOssForCausalLM, on random small configurations."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from harness import check
from transformers import GptOssConfig, GptOssForCausalLM

from dokja.errors import DokjaError
from dokja.models.families import family


def config(seed: int) -> GptOssConfig:
    """A small configuration, every size drawn."""
    draw = random.Random(seed)
    kv = draw.choice((1, 2))
    return GptOssConfig(
        vocab_size=97, hidden_size=16 * draw.choice((2, 3)), num_hidden_layers=4,
        num_attention_heads=kv * draw.choice((2, 4)), num_key_value_heads=kv, head_dim=draw.choice((8, 16)),
        intermediate_size=8 * draw.choice((2, 3)), num_local_experts=draw.choice((6, 8)),
        num_experts_per_tok=draw.choice((2, 3)), sliding_window=draw.choice((3, 6)), max_position_embeddings=64,
        tie_word_embeddings=draw.random() < 0.3,
        rope_parameters={"rope_type": "yarn", "rope_theta": draw.choice((1e4, 1.5e5)), "factor": 4.0,
                         "beta_fast": 32.0, "beta_slow": 1.0, "truncate": seed % 2 == 1,
                         "original_max_position_embeddings": 16},
        attn_implementation="eager",
    )


@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    check(GptOssForCausalLM(config(seed)), tmp_path, length=23, seed=seed)


def test_what_no_spec_expresses_is_refused() -> None:
    layout = family("gpt-oss").checkpoint
    assert layout is not None
    published = layout.write(family("gpt-oss").spec)
    layout.read({**published, "quantization_config": {"quant_method": "mxfp4"}}, ())
    for change, said in (({"swiglu_limit": 5.0}, "swiglu_limit"), ({"attention_bias": False}, "attention_bias"),
                         ({"quantization_config": {"quant_method": "gptq"}}, "gptq")):
        with pytest.raises(DokjaError, match=said):
            layout.read({**published, **change}, ())

"""gpt-oss against transformers' GptOssForCausalLM, on random small configurations."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from harness import assert_close, check
from safetensors.torch import save_file
from transformers import GptOssConfig, GptOssForCausalLM
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from dokja.errors import DokjaError
from dokja.models.checkpoint.published import read_published
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
    for change in ({"swiglu_limit": 5.0}, {"swiglu_alpha": 1.0}, {"attention_bias": False}):
        with pytest.raises(DokjaError, match=next(iter(change))):
            layout.read({**published, **change}, ())


def test_experts_in_mxfp4(tmp_path: Path) -> None:
    """Files as released: the experts' matrices as blocks and scales, unpacked by transformers' own function."""
    made = config(0)
    made.hidden_size, made.intermediate_size = 64, 32  # whole groups of 32
    reference = GptOssForCausalLM(made).eval()
    draws = torch.Generator().manual_seed(0)
    for tensor in reference.parameters():
        tensor.data.normal_(0, 0.2, generator=draws)
    stored = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    for name in [name for name in stored if name.endswith(("gate_up_proj", "down_proj"))]:
        experts, inner, outer = stored.pop(name).shape
        blocks = torch.randint(0, 256, (experts, outer, inner // 32, 16), dtype=torch.uint8, generator=draws)
        scales = torch.randint(122, 127, (experts, outer, inner // 32), dtype=torch.uint8, generator=draws)
        stored |= {f"{name}_blocks": blocks, f"{name}_scales": scales}
        reference.get_parameter(name).data = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    save_file(stored, tmp_path / "model.safetensors")
    published = {**made.to_dict(), "quantization_config": {"quant_method": "mxfp4"}}
    (tmp_path / "config.json").write_text(json.dumps(published))
    ids = torch.randint(0, 97, (2, 23), generator=draws)
    with torch.no_grad():
        assert_close(read_published(tmp_path)(ids), reference(ids, use_cache=False).logits, "experts in MXFP4")

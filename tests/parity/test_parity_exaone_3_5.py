"""EXAONE 3.5 against a plain reference under its published names, and against transformers' Llama by other names."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from exaone_3_5_reference import forward, shapes
from harness import assert_close
from plain import check_plain, random_files
from transformers import LlamaConfig, LlamaForCausalLM

from dokja.errors import DokjaError
from dokja.models.checkpoint.published import read_published


def config(seed: int) -> dict[str, Any]:
    """A small published config.json, every size drawn."""
    draw = random.Random(seed)
    kv = draw.choice((1, 2))
    scaling = {"rope_type": "llama3", "factor": draw.choice((4.0, 8.0)), "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
    return {
        "model_type": "exaone", "architectures": ["ExaoneForCausalLM"], "activation_function": "silu",
        "vocab_size": 61, "hidden_size": 8 * draw.choice((3, 4)), "num_layers": draw.choice((2, 3)),
        "num_attention_heads": kv * draw.choice((2, 3)), "num_key_value_heads": kv, "head_dim": draw.choice((8, 12)),
        "intermediate_size": draw.choice((20, 28)), "layer_norm_epsilon": draw.choice((1e-5, 1e-3)),
        "max_position_embeddings": 64, "rope_theta": draw.choice((1e2, 1e6)),
        "rope_scaling": scaling if seed % 3 else None, "tie_word_embeddings": seed % 2 == 1,
    }


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    fields = config(seed)
    check_plain(fields, shapes(fields), partial(forward, fields), tmp_path, length=19, seed=seed)


LLAMA = {"transformer.wte": "model.embed_tokens", "transformer.ln_f": "model.norm", "transformer.h": "model.layers",
         "ln_1": "input_layernorm", "ln_2": "post_attention_layernorm", "attn.attention.out_proj": "self_attn.o_proj",
         "attn.attention": "self_attn", "mlp.c_fc_0": "mlp.gate_proj", "mlp.c_fc_1": "mlp.up_proj",
         "mlp.c_proj": "mlp.down_proj"}


@torch.no_grad()
def test_it_is_a_llama_by_other_names(tmp_path: Path) -> None:
    """The published Llama-equivalent (beomi/EXAONE-3.5-32B-Instruct-Llamafied) renames tensors and nothing else."""
    fields = {**config(1), "hidden_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 12}
    weights = random_files(tmp_path, fields, shapes(fields), 5)
    renamed = {}
    for name, tensor in weights.items():
        for theirs, llamas in LLAMA.items():
            name = name.replace(theirs, llamas)
        renamed[name] = tensor
    reference = LlamaForCausalLM(LlamaConfig(
        vocab_size=61, hidden_size=24, num_attention_heads=2, num_key_value_heads=1, head_dim=12,
        num_hidden_layers=fields["num_layers"], intermediate_size=fields["intermediate_size"],
        rms_norm_eps=fields["layer_norm_epsilon"], max_position_embeddings=64, tie_word_embeddings=True,
        rope_parameters={"rope_theta": fields["rope_theta"], **fields["rope_scaling"]})).eval()
    missing, unexpected = reference.load_state_dict(renamed, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])  # tied
    ids = torch.randint(0, 61, (2, 30), generator=torch.Generator().manual_seed(5))
    assert_close(read_published(tmp_path)(ids), reference(ids, use_cache=False).logits, "renamed into a Llama")


def test_another_activation_is_refused(tmp_path: Path) -> None:
    fields = {**config(0), "activation_function": "gelu"}
    random_files(tmp_path, fields, shapes(fields), 0)
    with pytest.raises(DokjaError, match="activation_function = 'gelu'"):
        read_published(tmp_path)

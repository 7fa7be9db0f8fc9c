"""DeepSeek-V3 against transformers' DeepseekV3ForCausalLM and its MtpModel, on random small configurations."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from harness import GRADIENTS, assert_close, check
from official import check_text, published_size
from published_weights import randomise
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM
from transformers.modeling_layers import MtpModel

from dokja.models.checkpoint import deepseek
from dokja.models.checkpoint.published import read_published, write_published
from dokja.models.cost import parameters
from dokja.models.decoder import Decoder
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


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    ours = check(DeepseekV3ForCausalLM(config(seed)), tmp_path, length=23, seed=seed)
    if seed == 0:
        check_text(tmp_path, ours)


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", [0, 1])
def test_the_mtp_layer_is_the_published_one(seed: int, tmp_path: Path) -> None:
    """Written by us as layer 3 of 3, read by transformers, and read again by us with the copies of both tables."""
    small = config(seed, tie_word_embeddings=False).to_dict()
    ours = Decoder(deepseek.read(small, ["model.layers.3.eh_proj.weight"])).eval()
    assert len(ours.mtp) == 1
    with torch.no_grad():
        randomise(ours.state_dict(), seed)
    write_published(tmp_path, ours, deepseek.CHECKPOINT)
    trunk = DeepseekV3ForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    trunk._keys_to_ignore_on_load_unexpected = [r"model\.layers\.3.*"]  # how MtpModel finds it: the class says 61
    mtp = MtpModel.from_pretrained(trunk)

    ids = torch.randint(97, (2, 23), generator=torch.Generator().manual_seed(seed))
    target = torch.cat((ids[:, 1:], torch.full((2, 1), -100)), dim=1)
    states = trunk.model(ids, use_cache=False).last_hidden_state
    further = mtp.forward_layer(0, states[:, :-1], torch.arange(1, 23).expand(2, -1), None, input_ids=ids[:, 1:])
    logits = mtp.shared_head(further)
    found = ours.mtp[0](ours.norm(ours.hidden(ids))[:, :-1], ours.embedding(ids[:, 1:]))
    assert_close(ours.head(found).detach(), logits.detach(), "MTP")

    expected = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 2:].flatten())
    _, (loss,) = ours.losses(ids, target)
    torch.testing.assert_close(loss, expected)
    for side in (expected, loss):
        side.backward()
    for mine, theirs in ((ours.mtp[0].projection.weight, mtp.layers[0].eh_proj.weight),
                         (ours.embedding.weight, trunk.model.embed_tokens.weight),
                         (ours.norm.weight, trunk.model.norm.weight)):
        assert (mine.grad - theirs.grad).norm() / theirs.grad.norm() < GRADIENTS

    weights = load_file(tmp_path / "model.safetensors")
    weights |= {"model.layers.3.embed_tokens.weight": weights["model.embed_tokens.weight"].clone(),
                "model.layers.3.shared_head.head.weight": weights["lm_head.weight"].clone()}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    again = read_published(tmp_path).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in ours.state_dict().items())


def test_the_official_size_is_that_of_the_published_class() -> None:
    """Without the MTP layer, which the class does not build."""
    found = FAMILIES["deepseek-v3"]
    for one in found.releases:
        assert published_size(found, one) == parameters(one.spec).trunk


def test_the_class_has_the_official_values_as_defaults() -> None:
    """All but the positions, which it leaves as they were before the context was extended."""
    spec = FAMILIES["deepseek-v3"].spec
    before = replace(spec.layers[0].mixer, rope=replace(spec.layers[0].mixer.rope, scaling=None))
    found = deepseek.read(DeepseekV3Config().to_dict(), ())
    assert found.layers == tuple(replace(layer, mixer=before) for layer in spec.layers)
    assert (found.vocab, found.width, found.norm_eps, found.tied) == (
        spec.vocab, spec.width, spec.norm_eps, spec.tied)

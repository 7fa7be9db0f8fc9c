"""A.X K2 against transformers' AXK2ForCausalLM, on random small configurations."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from harness import assert_close, check
from official import check_nothing_is_neutral, check_text, published_size
from published_weights import randomise
from transformers import AutoModelForCausalLM, AXK2Config, AXK2ForCausalLM

from dokja.errors import DokjaError
from dokja.models.checkpoint.published import read_published, write_published
from dokja.models.cost import cache_values, parameters
from dokja.models.decoder import Decoder
from dokja.models.families import FAMILIES, checkpoint_of
from dokja.models.ffn import MixtureOfExperts
from dokja.models.init import initialise
from dokja.models.scaling import scaled
from dokja.models.spec import LatentAttention, MoE

TOP, LENGTH = 6, 23


def config(seed: int, **changes: object) -> AXK2Config:
    """A small configuration, every size drawn; odd seeds route within groups."""
    draw = random.Random(seed)
    heads, dense = draw.choice((2, 3)), 1 + seed % 2
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "beta_fast": 32,
            "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 0.8 if seed == 2 else 0.0}
    scaling = {"rope_type": "default"} if seed == 3 else yarn
    groups = {"n_group": 4, "topk_group": 2} if seed % 2 else {}
    drawn = dict(  # noqa: C408
        vocab_size=97, hidden_size=16 * draw.choice((2, 3)), num_hidden_layers=3, num_attention_heads=heads,
        num_key_value_heads=heads, q_lora_rank=draw.choice((20, 40)), kv_lora_rank=draw.choice((12, 24)),
        qk_nope_head_dim=draw.choice((8, 16)), qk_rope_head_dim=8, v_head_dim=draw.choice((8, 12)),
        intermediate_size=draw.choice((40, 64)), mlp_layer_types=["dense"] * dense + ["sparse"] * (3 - dense),
        moe_intermediate_size=8 * draw.choice((2, 3)), n_routed_experts=16, num_experts_per_tok=draw.choice((3, 4)),
        n_shared_experts=draw.choice((1, 2)), routed_scaling_factor=draw.choice((1.0, 2.5)),
        max_position_embeddings=64, rms_norm_eps=draw.choice((1e-5, 1e-6)), tie_word_embeddings=draw.random() < 0.3,
        # Many heads: with few, several positions score exactly zero and any of them may be taken.
        index_topk=TOP, index_n_heads=12, index_head_dim=draw.choice((8, 16)), gated_norm_rank=draw.choice((2, 4)),
        bos_token_id=1, eos_token_id=2, rope_parameters={**scaling, "rope_theta": draw.choice((1e4, 1e6))},
    )
    return AXK2Config(**{**drawn, **groups, **changes})


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", range(4))
def test_logits_gradients_and_files(seed: int, tmp_path: Path) -> None:
    ours = check(AXK2ForCausalLM(config(seed)), tmp_path, length=LENGTH, seed=seed)
    if seed == 0:
        check_text(tmp_path, ours)


def test_nothing_in_the_comparison_is_neutral() -> None:
    reference = AXK2ForCausalLM(config(1)).eval()
    with torch.no_grad():
        randomise(reference.state_dict(), 1)
    check_nothing_is_neutral(reference, torch.arange(2 * LENGTH).view(2, LENGTH))


def test_experts_outside_the_best_groups_pass_those_with_negative_scores(tmp_path: Path) -> None:
    """Each group has one good expert; the fourth group is left out, and its four experts, at 0, pass the bad ones."""
    reference = AXK2ForCausalLM(config(1, topk_group=3, num_experts_per_tok=7)).eval()
    with torch.no_grad():
        randomise(reference.state_dict(), 1)
        for name, bias in reference.named_buffers():
            if name.endswith("e_score_correction_bias"):
                bias.copy_(torch.tensor([2.0, -3.0, -3.0, -3.0] * 4))
    reference.save_pretrained(tmp_path)
    ours, ids = read_published(tmp_path), torch.arange(2 * LENGTH).view(2, LENGTH)
    with torch.no_grad():
        expected = reference(ids, use_cache=False).logits
        assert_close(ours(ids), expected, "soft groups")
        for module in ours.modules():
            if isinstance(module, MixtureOfExperts):
                module.moe = replace(module.moe, router=replace(module.moe.router, soft_groups=False))
        assert (ours(ids) - expected).abs().max() > 1e-2 * expected.abs().max()


def test_an_indexers_keys_are_in_the_cache_as_its_spec_says() -> None:
    reference = AXK2ForCausalLM(config(0))
    spec = checkpoint_of({"model_type": "axk2"}).read(
        json.loads(reference.config.to_json_string(use_diff=False)), ("layers.0.self_attn.indexer.wk.weight",))
    cache = Decoder(spec).new_cache(1, 32)
    for layer, kept in zip(spec.layers, cache, strict=True):
        assert kept.index is not None
        assert kept.k.numel() + kept.v.numel() + kept.index.numel() == 32 * cache_values(layer.mixer)


def test_a_pocket_model_is_written_for_a_class_that_has_an_indexer(tmp_path: Path) -> None:
    """Ours has none; theirs starts a random one, which may take every position and so decides nothing."""
    ours = Decoder(scaled(FAMILIES["ax-k2"].spec, 250_000, context=64, vocab=97)).eval()
    assert all(isinstance(layer.mixer, LatentAttention) and layer.mixer.indexer is None for layer in ours.spec.layers)
    initialise(ours, 0)
    write_published(tmp_path, ours, checkpoint_of({"model_type": "axk2"}))
    reference = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = torch.arange(2 * LENGTH).view(2, LENGTH)
    with torch.no_grad():
        assert_close(ours(ids), reference(ids, use_cache=False).logits, "a pocket model")


def test_the_official_size_is_that_of_the_published_class() -> None:
    found = FAMILIES["ax-k2"]
    for one in found.releases:
        assert published_size(found, one) == parameters(one.spec).total


def test_the_official_size_is_the_published_one_but_for_zeros() -> None:
    """688B, of which the queries' blocks for the raw latent and the gates' for the normalised one are no part; the
    published files, one byte a number and two for tables and gates, hold 647 GiB."""
    spec = FAMILIES["ax-k2"].spec
    mixer, total = spec.layers[0].mixer, parameters(spec).total
    assert isinstance(mixer, LatentAttention)
    assert mixer.q_rank is not None
    zeros = len(spec.layers) * mixer.q_rank * mixer.heads * (mixer.nope_dim + mixer.rope_dim + mixer.v_dim)
    assert (total - zeros) / 688e9 == pytest.approx(1, abs=0.003)
    assert (total + parameters(spec).embedding) / 2**30 == pytest.approx(647, abs=1)


def test_what_is_no_kin_is_not_written() -> None:
    spec = FAMILIES["ax-k2"].spec
    layout = FAMILIES["ax-k2"].checkpoint
    assert layout is not None
    for layers in (FAMILIES["ax-k1"].spec.layers,
                   tuple(replace(layer, norms=replace(layer.norms, ffn_gate=0)) for layer in spec.layers)):
        assert any(isinstance(layer.ffn, MoE) for layer in layers)
        with pytest.raises(DokjaError, match="is no kin"):
            layout.write(replace(spec, layers=layers))

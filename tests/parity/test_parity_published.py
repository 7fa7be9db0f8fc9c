"""Our decoder gives the logits of the published implementations (transformers 5.23.0), in float32 on CPU.

Configurations are tiny and awkward on purpose: query width unlike the model's width, windows much shorter than the
sequence, groups of experts, YaRN past its original context, multipliers that are not 1, norms and router biases that
are not neutral.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from published_weights import LLAMA_NORMS, cached_logits, difference, ours, randomise, state_of
from torch import Tensor, nn
from transformers import (
    AXK1Config,
    AXK1ForCausalLM,
    ExaoneMoeConfig,
    ExaoneMoeForCausalLM,
    HyperCLOVAXConfig,
    HyperCLOVAXForCausalLM,
    PreTrainedConfig,
    SolarOpenConfig,
    SolarOpenForCausalLM,
)

from dokja.models.cost import parameters
from dokja.models.families import family
from dokja.models.generate import Sampling, generate, stream
from dokja.models.spec import (
    MLP,
    PERI,
    PRE,
    PRE_AND_FFN_OUT,
    Attention,
    LatentAttention,
    Layer,
    ModelSpec,
    MoE,
    Rope,
    Router,
    Yarn,
)

pytestmark = pytest.mark.usefixtures("inference")
TOLERANCE = 1e-5
VOCAB, LENGTH = 97, 41


@dataclass(frozen=True)
class Pair:
    """A published class with a configuration, and the equal spec, written by hand."""

    build: Callable[[PreTrainedConfig], nn.Module]
    config: PreTrainedConfig
    spec: ModelSpec
    norms: dict[str, str]


def k_exaone(window: int = 6) -> Pair:
    config = ExaoneMoeConfig(
        vocab_size=VOCAB, hidden_size=48, intermediate_size=80, num_hidden_layers=8, num_attention_heads=6,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=64, rms_norm_eps=1e-5, sliding_window=window,
        layer_types=(["sliding_attention"] * 3 + ["full_attention"]) * 2, first_k_dense_replace=1,
        moe_intermediate_size=24, num_experts=8, num_experts_per_tok=3, num_shared_experts=1,
        routed_scaling_factor=2.5, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
    )
    local = Attention(heads=6, kv_heads=2, head_dim=16, window=window, rope=Rope(theta=1e6), qk_norm=True)
    everywhere = Attention(heads=6, kv_heads=2, head_dim=16, qk_norm=True)
    moe = MoE(experts=8, active=3, width=24, shared=1, router=Router(scale=2.5))
    layers = tuple(Layer(everywhere if i % 4 == 3 else local, MLP(80) if i == 0 else moe) for i in range(8))
    return Pair(ExaoneMoeForCausalLM, config, ModelSpec("k-exaone", VOCAB, 48, layers, 64), LLAMA_NORMS)


def ax_k1(mscale_all_dim: float = 0.0) -> Pair:
    config = AXK1Config(
        vocab_size=VOCAB, hidden_size=48, intermediate_size=80, moe_intermediate_size=24, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=4, n_shared_experts=1, n_routed_experts=16, kv_lora_rank=24,
        q_lora_rank=40, qk_rope_head_dim=8, v_head_dim=12, qk_nope_head_dim=16, n_group=4, topk_group=2,
        num_experts_per_tok=4, routed_scaling_factor=2.5, first_k_dense_replace=1, max_position_embeddings=64,
        rms_norm_eps=1e-6, bos_token_id=1, eos_token_id=2,
        rope_parameters={"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "beta_fast": 32, "beta_slow": 1,
                         "original_max_position_embeddings": 16, "mscale": 1.0, "mscale_all_dim": mscale_all_dim},
    )
    mixer = LatentAttention(
        heads=4, q_rank=40, kv_rank=24, nope_dim=16, rope_dim=8, v_dim=12,
        rope=Rope(theta=10_000, layout="interleaved",
                  scaling=Yarn(4.0, 16, beta_fast=32, beta_slow=1, mscale=1.0, mscale_all_dim=mscale_all_dim)))
    moe = MoE(experts=16, active=4, width=24, shared=1, router=Router(groups=4, groups_kept=2, scale=2.5))
    layers = (Layer(mixer, MLP(80), PRE), *(Layer(mixer, moe, PRE_AND_FFN_OUT) for _ in range(2)))
    return Pair(AXK1ForCausalLM, config, ModelSpec("ax-k1", VOCAB, 48, layers, 64, norm_eps=1e-6),
                {**LLAMA_NORMS, "ffn_out": "mlp.post_mlp_layernorm"})


def hyperclova_x() -> Pair:
    config = HyperCLOVAXConfig(
        vocab_size=VOCAB, hidden_size=48, intermediate_size=72, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=64, rms_norm_eps=1e-5, use_post_norm=True,
        attention_multiplier=0.29, embedding_multiplier=2.5, residual_multiplier=0.7, logits_scaling=0.125,
        rope_parameters={"rope_type": "default", "rope_theta": 1e8},
    )
    mixer = Attention(heads=6, kv_heads=2, head_dim=8, rope=Rope(theta=1e8), scale=0.29)
    return Pair(
        HyperCLOVAXForCausalLM, config,
        ModelSpec("hyperclova-x", VOCAB, 48, tuple(Layer(mixer, MLP(72), PERI) for _ in range(3)), 64,
                  embedding_scale=2.5, residual_scale=0.7, logit_scale=0.125),
        {**LLAMA_NORMS, "mixer_out": "post_norm1", "ffn_out": "post_norm2"})


def solar_open() -> Pair:
    config = SolarOpenConfig(
        vocab_size=VOCAB, hidden_size=48, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
        head_dim=16, max_position_embeddings=64, rms_norm_eps=1e-5, moe_intermediate_size=24, num_experts_per_tok=3,
        n_shared_experts=1, n_routed_experts=8, routed_scaling_factor=1.0,
        rope_parameters={"rope_type": "yarn", "rope_theta": 1e6, "factor": 2.0,
                         "original_max_position_embeddings": 32},
    )
    mixer = Attention(heads=6, kv_heads=2, head_dim=16, rope=Rope(theta=1e6, scaling=Yarn(2.0, 32)))
    moe = MoE(experts=8, active=3, width=24, shared=1, router=Router(scale=1.0))
    return Pair(SolarOpenForCausalLM, config,
                ModelSpec("solar-open", VOCAB, 48, tuple(Layer(mixer, moe) for _ in range(3)), 64), LLAMA_NORMS)


PAIRS = {"k-exaone": k_exaone, "ax-k1": ax_k1, "ax-k1 mscale_all_dim": lambda: ax_k1(0.8),
         "hyperclova-x": hyperclova_x, "solar-open": solar_open}


def reference(pair: Pair, seed: int) -> nn.Module:
    """The published model with random weights, on its plainest code path."""
    pair.config._attn_implementation = "eager"
    pair.config._experts_implementation = "eager"
    model = pair.build(pair.config).eval()
    randomise(state_of(model), seed)
    return model


def tokens(seed: int, rows: int = 2, length: int = LENGTH) -> Tensor:
    return torch.randint(VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", PAIRS)
def test_logits_are_the_published_ones(name: str, seed: int) -> None:
    pair = PAIRS[name]()
    theirs = reference(pair, seed)
    model = ours(state_of(theirs), pair.spec, pair.norms)
    ids = tokens(seed)
    expected = theirs(ids, use_cache=False).logits
    assert difference(model(ids), expected) < TOLERANCE
    assert difference(cached_logits(model, ids, prefill=7), expected) < TOLERANCE


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("name", PAIRS)
def test_greedy_text_is_the_published_one(name: str) -> None:
    """Both sides go on from a cache, past the window; prompts of different lengths share our batch."""
    pair = PAIRS[name]()
    theirs = reference(pair, 2)
    model = ours(state_of(theirs), pair.spec, pair.norms)
    prompts = [tokens(3, 1, length)[0].tolist() for length in (3, 17, 9)]
    expected = [
        theirs.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                        max_new_tokens=16, do_sample=False, eos_token_id=-1, pad_token_id=0)[0, len(prompt):].tolist()
        for prompt in prompts]
    assert generate(model, prompts, Sampling(max_tokens=16)) == expected
    assert [list(stream(model, prompt, Sampling(max_tokens=16))) for prompt in prompts] == expected


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("window", [1, 2, 40, 41, 64])
def test_every_window_is_the_published_one(window: int) -> None:
    """A window of 1 sees only itself; one as long as the sequence is no window."""
    pair = k_exaone(window)
    theirs = reference(pair, 4)
    model = ours(state_of(theirs), pair.spec, pair.norms)
    ids = tokens(5)
    expected = theirs(ids, use_cache=False).logits
    assert difference(model(ids), expected) < TOLERANCE
    assert difference(cached_logits(model, ids, prefill=3), expected) < TOLERANCE


@pytest.mark.parametrize("name", PAIRS)
def test_nothing_in_the_comparison_is_neutral(name: str) -> None:
    """Neutral values would hide mistakes: every tensor of theirs, set to zero, changes the logits."""
    pair = PAIRS[name]()
    theirs = reference(pair, 6)
    ids = tokens(7)
    expected = theirs(ids, use_cache=False).logits
    for at, tensor in state_of(theirs).items():
        kept = tensor.clone()
        tensor.zero_()
        assert difference(theirs(ids, use_cache=False).logits, expected) > 1e-3, at
        tensor.copy_(kept)


@pytest.mark.parametrize(("name", "build", "config"), [("ax-k1", AXK1ForCausalLM, AXK1Config()),
                                                       ("solar-open", SolarOpenForCausalLM, SolarOpenConfig())])
def test_official_sizes_are_the_published_defaults(name: str, build: Callable[[PreTrainedConfig], nn.Module],
                                                   config: PreTrainedConfig) -> None:
    """These two classes have the released dimensions as defaults: layer for layer, every tensor has as many numbers."""
    with torch.device("meta"):
        theirs = state_of(build(config))
    spec = family(name).spec
    assert sum(tensor.numel() for tensor in theirs.values()) == parameters(spec).total
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size, config.rms_norm_eps) == (
        spec.width, len(spec.layers), spec.vocab, spec.norm_eps)
    moe = spec.layers[-1].ffn
    assert isinstance(moe, MoE)
    assert (moe.experts, moe.active, moe.shared, moe.router.scale, moe.router.groups, moe.router.groups_kept) == (
        config.n_routed_experts, config.num_experts_per_tok, config.n_shared_experts, config.routed_scaling_factor,
        config.n_group, config.topk_group)
    mixer = spec.layers[-1].mixer
    assert mixer.heads == config.num_attention_heads
    assert mixer.rope.theta == config.rope_parameters["rope_theta"]

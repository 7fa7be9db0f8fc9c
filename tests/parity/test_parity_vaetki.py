"""Our decoder gives the logits of a plain, independent reading of VAETKI's public description."""

from __future__ import annotations

import pytest
import torch
from published_weights import cached_logits, difference, ours, randomise
from vaetki_reference import Config, Reference, shapes

from dokja.models.decoder import Decoder
from dokja.models.generate import Sampling, generate
from dokja.models.spec import MLP, PERI, LatentAttention, Layer, Linear, ModelSpec, MoE, Rope, Router

CONFIG = Config(
    vocab_size=97, hidden_size=48, num_hidden_layers=4, first_k_dense_replace=2, intermediate_size=80,
    moe_intermediate_size=24, n_routed_experts=8, num_experts_per_tok=3, routed_scaling_factor=2.5,
    num_attention_heads=3, q_lora_rank=40, kv_lora_rank=24, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=12,
    sliding_window=5, global_every=2, rope_theta=10_000.0, rope_theta_global=1_000_000.0, rms_norm_eps=1e-5,
)
NORMS = {"mixer_in": "input_layernorm", "mixer_out": "post_attention_layernorm", "ffn_in": "pre_mlp_layernorm",
         "ffn_out": "post_mlp_layernorm"}
LENGTH = 17
pytestmark = pytest.mark.usefixtures("inference")


def _spec() -> ModelSpec:
    def attention(rope: Rope, window: int | None) -> LatentAttention:
        return LatentAttention(heads=3, q_rank=40, kv_rank=24, nope_dim=16, rope_dim=8, v_dim=12, rope=rope,
                               window=window)

    local = attention(Rope(theta=10_000, layout="interleaved"), 5)
    everywhere = attention(Rope(theta=1_000_000, layout="interleaved", scaling=Linear(8.0)), None)
    moe = MoE(experts=8, active=3, width=24, shared=1, router=Router(bias=False, scale=2.5))
    layers = tuple(Layer(everywhere if i % 2 else local, MLP(80) if i < 2 else moe, PERI) for i in range(4))
    return ModelSpec("vaetki", 97, 48, layers, 64, norm_eps=1e-5, norm_zero_centred=True)


def _pair(seed: int) -> tuple[Reference, Decoder]:
    weights = {name: torch.empty(shape) for name, shape in shapes(CONFIG).items()}
    randomise(weights, seed, zero_centred=True)
    return Reference(CONFIG, weights), ours(weights, _spec(), NORMS)


def _ids(seed: int, length: int = LENGTH) -> list[int]:
    return torch.randint(97, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("seed", [0, 1])
def test_logits_are_the_described_ones(seed: int) -> None:
    reference, model = _pair(seed)
    ids = _ids(seed)
    expected, batch = reference.logits(ids), torch.tensor([ids])
    assert difference(model(batch)[0], expected) < 1e-5
    assert difference(cached_logits(model, batch, prefill=7)[0], expected) < 1e-5


@pytest.mark.usefixtures("_kernels")
def test_greedy_text_is_the_described_one() -> None:
    reference, model = _pair(3)
    prompt = _ids(3, 6)
    text = list(prompt)
    for _ in range(8):
        text.append(int(reference.logits(text)[-1].argmax()))
    assert generate(model, [prompt], Sampling(max_tokens=8)) == [text[len(prompt) :]]

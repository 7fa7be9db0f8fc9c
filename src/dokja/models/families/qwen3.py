"""Qwen3 235B-A22B (Alibaba Cloud): arXiv 2505.09388, checkpoint class `Qwen3MoeForCausalLM`. A model to compare with.

A Llama block with a norm on each head of Q and K; every layer is a mixture of 128 experts without a shared one, chosen
by softmax and balanced by a loss, not by a bias.
"""

from collections.abc import Collection

from ..chat.syntax import THINK_HERMES
from ..chat.template import ENABLE_THINKING, ChatTemplate
from ..checkpoint import llama
from ..checkpoint.config import (
    expect,
    first_mlp,
    first_moe,
    need,
    read_attention,
    read_model,
    read_rope,
    write_attention,
    write_model,
    write_rope,
)
from ..checkpoint.layout import Checkpoint, Config
from ..spec import MLP, Attention, Layer, ModelSpec, MoE, Rope, Router
from .family import Family, Release

_ROUTER = Router(bias=False, score="softmax")
_attention = Attention(heads=64, kv_heads=4, head_dim=128, rope=Rope(theta=1_000_000), qk_norm=True)
_moe = MoE(experts=128, active=8, width=1536, shared=0, router=_ROUTER)  # norm_topk_prob true


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    expect(config, "hidden_act", "silu")
    expect(config, "attention_bias", False)
    expect(config, "use_sliding_window", False)
    expect({**config, "norm_topk_prob": config.get("norm_topk_prob", False)}, "norm_topk_prob", True)
    attention = read_attention(config, rope=read_rope(config), qk_norm=True)
    experts = config.get("num_local_experts") or need(config, "num_experts")  # transformers 5; the released file
    moe = MoE(experts, need(config, "num_experts_per_tok"), need(config, "moe_intermediate_size"), 0, _ROUTER)
    dense, step = config.get("mlp_only_layers") or (), config.get("decoder_sparse_step", 1)
    layers = tuple(Layer(attention, MLP(need(config, "intermediate_size")) if i in dense or (i + 1) % step else moe)
                   for i in range(need(config, "num_hidden_layers")))
    return read_model(config, layers)


def _write(spec: ModelSpec) -> Config:
    mixer, dense, moe = spec.layers[0].mixer, first_mlp(spec), first_moe(spec)
    assert isinstance(mixer, Attention)
    assert mixer.rope
    assert moe
    return {
        **write_model(spec), **write_attention(mixer), **write_rope(mixer.rope), "attention_bias": False,
        "intermediate_size": dense.width if dense else 3 * spec.width,  # unread without dense layers; 3x as released
        "mlp_only_layers": [i for i, layer in enumerate(spec.layers) if isinstance(layer.ffn, MLP)],
        "decoder_sparse_step": 1, "num_experts": moe.experts, "num_experts_per_tok": moe.active,
        "moe_intermediate_size": moe.width, "norm_topk_prob": True,
    }


FAMILY = Family(
    name="qwen3",
    title="Qwen3",
    company="Alibaba Cloud",
    releases=(Release(
        spec=ModelSpec(
            name="qwen3-235b-a22b",
            vocab=151_936,
            width=4096,
            layers=(Layer(_attention, _moe),) * 94,
            context=40_960,
            norm_eps=1e-6,
        ),
        repository="Qwen/Qwen3-235B-A22B",
        licence="Apache-2.0",
        source="model card; MindSpeed-RL configs/model/qwen3_235b_a22b.yaml; transformers 5.23.0 qwen3_moe",
        total=235_093_634_560,  # parameters of the published safetensors
    ),),
    reference="transformers Qwen3MoeForCausalLM",
    checkpoint=Checkpoint(("qwen3_moe",), "Qwen3MoeForCausalLM", _read, _write,
                          llama.with_parts(llama.NAMES, parts=llama.EXPERTS)),
    template=ChatTemplate("qwen3", "qwen3", ENABLE_THINKING, "on", THINK_HERMES),
)

"""Solar Open 100B (Upstage): arXiv 2601.07022, checkpoint class `SolarOpenForCausalLM`.

Ordinary grouped-query attention without QK-norm; every feed-forward is a 128-expert sigmoid mixture with one shared
expert and a router scale of 1.
"""

from collections.abc import Collection

from ...errors import DokjaError
from ..chat.syntax import SOLAR_TOKENS
from ..chat.template import ChatTemplate
from ..checkpoint import llama
from ..checkpoint.config import (
    expect,
    first_moe,
    need,
    read_attention,
    read_model,
    read_rope,
    read_router,
    write_attention,
    write_model,
    write_rope,
    write_router,
)
from ..checkpoint.layout import Checkpoint, Config
from ..spec import Attention, Layer, ModelSpec, MoE, Rope, Router, Yarn
from .family import ChatFormat, Family, Release

_attention = Attention(heads=64, kv_heads=8, head_dim=128,
                       rope=Rope(theta=1_000_000,  # the class default has no scaling; the released config has
                                 scaling=Yarn(factor=2.0, original_context=65_536)))
_moe = MoE(experts=128, active=8, shared=1, width=1280,  # n_routed_experts, num_experts_per_tok, moe_intermediate_size
           router=Router(bias=True, scale=1.0))  # routed_scaling_factor


def _read(config: Config, tensors: Collection[str]) -> ModelSpec:
    expect(config, "hidden_act", "silu")
    bias = bool(config.get("attention_bias", False))
    moe = MoE(need(config, "n_routed_experts"), need(config, "num_experts_per_tok"),
              need(config, "moe_intermediate_size"), config.get("n_shared_experts", 1), read_router(config))
    rope = read_rope({"rope_theta": 1e6, **config})  # the class default
    layer = Layer(read_attention(config, rope=rope, bias=bias), moe)
    return read_model(config, (layer,) * need(config, "num_hidden_layers"))


def _write(spec: ModelSpec) -> Config:
    mixer, moe = spec.layers[0].mixer, first_moe(spec)
    if not (isinstance(mixer, Attention) and mixer.rope and moe):
        raise DokjaError(f"{spec.name} is no mixture with rotary positions and cannot be written as a Solar Open")
    return {
        **write_model(spec), **write_attention(mixer), **write_rope(mixer.rope), "attention_bias": mixer.bias,
        "n_routed_experts": moe.experts, "num_experts_per_tok": moe.active, "n_shared_experts": moe.shared,
        "moe_intermediate_size": moe.width, **write_router(moe.router),
        "first_k_dense_replace": 0,  # every layer is a mixture
    }


FAMILY = Family(
    name="solar-open",
    title="Solar Open",
    company="Upstage",
    releases=(Release(
        spec=ModelSpec(
            name="solar-open-102b-a12b",
            vocab=196_608,
            width=4096,
            layers=tuple(Layer(_attention, _moe) for _ in range(48)),
            context=131_072,
            norm_eps=1e-5,
        ),
        repository="upstage/Solar-Open-100B",
        licence="Solar-Apache License 2.0",
        source="transformers 5.23.0 solar_open; model card",
        total=102_651_799_552,
    ),),
    reference="transformers SolarOpenForCausalLM",
    checkpoint=Checkpoint(("solar_open",), "SolarOpenForCausalLM", _read, _write,
                          llama.with_parts(llama.NAMES, parts=llama.EXPERTS)),
    chat=ChatFormat(
        user="<|begin|>user<|content|>", assistant="<|begin|>assistant<|content|>", end="<|end|>", between="",
        special=("<|begin|>", "<|content|>", "<|end|>"),
    ),
    template=ChatTemplate(
        "solar-open", "solar-open",
        {"on": {"reasoning_effort": "high"}, "off": {"reasoning_effort": "minimal"},
         "low": {"reasoning_effort": "low"}, "high": {"reasoning_effort": "high"}}, "high", SOLAR_TOKENS,
        note="off and low write the same empty block of thinking, after which the model may still think; the dated "
             "system prompt that the published template begins with is left out",
        unverified=("the system turn without that prompt", "how tools are declared", "the tool's turn"),
    ),
)

"""The layout of a Llama checkpoint: what most families differ from in a few names, and some in none."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ...errors import DokjaError
from ..spec import MLP, Attention, Layer, ModelSpec
from .config import expect, read_attention, read_model, read_rope, write_attention, write_model, write_rope
from .layout import Checkpoint, Config, Names

NAMES = Names(
    top={"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight",
         "head.weight": "lm_head.weight"},
    layer="model.layers.{i}.",
    parts={
        "mixer_in.weight": "input_layernorm.weight",
        "ffn_in.weight": "post_attention_layernorm.weight",
        "mixer.qkv.weight": ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
        "mixer.qkv.bias": ("self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"),
        "mixer.out.weight": "self_attn.o_proj.weight",
        "mixer.out.bias": "self_attn.o_proj.bias",
        "mixer.q_norm.weight": "self_attn.q_norm.weight",
        "mixer.k_norm.weight": "self_attn.k_norm.weight",
        "ffn.gate_up.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
        "ffn.down.weight": "mlp.down_proj.weight",
    },
)
# One tensor an expert, a shared expert beside them: the names of DeepSeek-V3, which most mixtures share.
EXPERTS = {
    "ffn.router.weight": "mlp.gate.weight",
    "ffn.router_bias": "mlp.gate.e_score_correction_bias",
    "ffn.gate_up": ("mlp.experts.{e}.gate_proj.weight", "mlp.experts.{e}.up_proj.weight"),
    "ffn.down": "mlp.experts.{e}.down_proj.weight",
    "ffn.shared.gate_up.weight": ("mlp.shared_experts.gate_proj.weight", "mlp.shared_experts.up_proj.weight"),
    "ffn.shared.down.weight": "mlp.shared_experts.down_proj.weight",
}
LATENT = {
    "mixer.q.weight": "self_attn.q_proj.weight",
    "mixer.q_down.weight": "self_attn.q_a_proj.weight",
    "mixer.q_norm.weight": "self_attn.q_a_layernorm.weight",
    "mixer.q_up.weight": "self_attn.q_b_proj.weight",
    "mixer.kv_down.weight": "self_attn.kv_a_proj_with_mqa.weight",
    "mixer.kv_norm.weight": "self_attn.kv_a_layernorm.weight",
    "mixer.kv_up.weight": "self_attn.kv_b_proj.weight",
    "mixer.out.weight": "self_attn.o_proj.weight",
}


def with_parts(names: Names, **changes: object) -> Names:
    """`names` with other parts: keyword arguments of Names, `parts` being added to those there."""
    parts = {**names.parts, **changes.pop("parts", {})}  # type: ignore[dict-item]
    return replace(names, parts=parts, **changes)  # type: ignore[arg-type]


def read(config: Config, tensors: Collection[str]) -> ModelSpec:
    """A Llama config: grouped-query attention, RoPE, SwiGLU, RMSNorm before each half."""
    expect(config, "hidden_act", "silu")
    expect(config, "attention_bias", False)
    expect(config, "mlp_bias", False)
    layer = Layer(read_attention(config, rope=read_rope(config)), MLP(config["intermediate_size"]))
    return read_model(config, (layer,) * config["num_hidden_layers"])


def write(spec: ModelSpec) -> Config:
    """The config of a spec that is a Llama; another raises DokjaError."""
    mixer, ffn = spec.layers[0].mixer, spec.layers[0].ffn
    alike = set(spec.layers) == {spec.layers[0]}
    if not (isinstance(mixer, Attention) and isinstance(ffn, MLP) and mixer.rope and alike):
        raise DokjaError(f"{spec.name} is no plain Llama and cannot be written as one")
    return {**write_model(spec), **write_attention(mixer), **write_rope(mixer.rope),
            "intermediate_size": ffn.width, "attention_bias": mixer.bias, "mlp_bias": False}


CHECKPOINT = Checkpoint(("llama",), "LlamaForCausalLM", read, write, NAMES)

"""The layout of a DeepSeek-V3 checkpoint: latent attention, a mixture after the first layers, MTP layers as layers.

Families with this block differ in a few fields and norms. Field and tensor names: transformers 5.23.0 deepseek_v3 and
the checkpoint's own README_WEIGHTS.
"""

from __future__ import annotations

from collections.abc import Collection

from ...errors import DokjaError
from ..spec import MLP, LatentAttention, Layer, ModelSpec, MoE, Rope
from . import llama
from .config import (
    expect,
    first_mlp,
    first_moe,
    mixture_layers,
    need,
    read_latent,
    read_model,
    read_rope,
    read_router,
    write_latent,
    write_model,
    write_rope,
    write_router,
)
from .layout import Checkpoint, Config

# The norms of the two latents are built without an epsilon and have RMSNorm's default (modeling_deepseek.py).
LATENT_EPS = 1e-6

NAMES = llama.with_parts(
    llama.NAMES,
    parts={**llama.LATENT, **llama.EXPERTS},
    mtp="model.layers.{n}.", mtp_block="model.layers.{n}.",
    mtp_parts={"embedding_norm.weight": "enorm.weight", "hidden_norm.weight": "hnorm.weight",
               "projection.weight": "eh_proj.weight", "norm.weight": "shared_head.norm.weight"},
)
# Each MTP layer holds copies of the two tables that it shares with the trunk.
UNREAD = ("model.layers.*.embed_tokens.weight", "model.layers.*.shared_head.head.weight")


def read_layer_rope(config: Config) -> Rope:
    """The positions of latent attention: DeepSeek's pairs are interleaved unless `rope_interleave` says no."""
    return read_rope(config, layout="interleaved" if config.get("rope_interleave", True) else "half")


def read_mixture(config: Config, *, bias: bool) -> MoE:
    """A mixture of the usual fields; bias: whether its router has a score correction."""
    expect(config, "scoring_func", "sigmoid")
    expect(config, "moe_layer_freq", 1)
    return MoE(need(config, "n_routed_experts"), need(config, "num_experts_per_tok"),
               need(config, "moe_intermediate_size"), config.get("n_shared_experts") or 0,
               read_router(config, bias=bias))


def write_mixture(spec: ModelSpec) -> Config:
    """The fields of `read_mixture`, and where the mixtures stand."""
    dense, moe = first_mlp(spec), first_moe(spec)
    if moe is None:
        raise DokjaError(f"{spec.name} has no mixture of experts and cannot be written as DeepSeek-V3's kin")
    first = sum(isinstance(layer.ffn, MLP) for layer in spec.layers)
    if any(isinstance(layer.ffn, MLP) for layer in spec.layers[first:]):
        raise DokjaError(f"{spec.name} has a dense layer after a mixture, which first_k_dense_replace cannot say")
    return {
        "intermediate_size": dense.width if dense else moe.width, "first_k_dense_replace": first,
        "n_routed_experts": moe.experts, "num_experts_per_tok": moe.active, "n_shared_experts": moe.shared,
        "moe_intermediate_size": moe.width, "moe_layer_freq": 1, **write_router(moe.router),
        "scoring_func": "sigmoid", "topk_method": "noaux_tc",
    }


def read(config: Config, tensors: Collection[str]) -> ModelSpec:
    """A DeepSeek-V3 config. The MTP layers are those whose tensors lie beside it: transformers writes none."""
    expect(config, "hidden_act", "silu")
    expect(config, "attention_bias", False)
    mixer = read_latent(config, read_layer_rope(config), latent_eps=LATENT_EPS)
    dense, moe = MLP(need(config, "intermediate_size")), read_mixture(config, bias=True)
    layers = tuple(Layer(mixer, moe if mixture else dense) for mixture in mixture_layers(config, first=3))
    found = sum(name.startswith("model.layers.") and name.endswith(".eh_proj.weight") for name in tensors)
    return read_model(config, layers, mtp=(Layer(mixer, moe),) * found)


def write(spec: ModelSpec) -> Config:
    """The config of a spec whose layers all have the same latent attention; another raises DokjaError."""
    mixer = spec.layers[0].mixer
    if not isinstance(mixer, LatentAttention) or any(layer.mixer != mixer for layer in spec.layers):
        raise DokjaError(f"{spec.name} is no kin of DeepSeek-V3 and cannot be written as such")
    return {**write_model(spec), **write_latent(mixer), **write_rope(mixer.rope), **write_mixture(spec),
            "rope_interleave": mixer.rope.layout == "interleaved", "attention_bias": False,
            "num_nextn_predict_layers": len(spec.mtp)}


CHECKPOINT = Checkpoint(("deepseek_v3",), "DeepseekV3ForCausalLM", read, write, NAMES, unread=UNREAD)

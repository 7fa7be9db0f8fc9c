"""Reading and writing the fields that published config.json files share (names of transformers 5.23)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from ...errors import DokjaError
from ..spec import (
    MLP,
    Attention,
    LatentAttention,
    Layer,
    Linear,
    Llama3,
    ModelSpec,
    MoE,
    Rope,
    Router,
    Scaling,
    Yarn,
)
from .layout import Config


def need(config: Config, key: str) -> Any:
    """A field that config.json must have; DokjaError without it."""
    value = config.get(key)
    if value is None:
        raise DokjaError(f"config.json lacks {key!r}, which a model of type {config.get('model_type')!r} needs")
    return value


def expect(config: Config, key: str, *allowed: Any) -> None:
    """Refuse a field whose value no spec expresses; an absent field is taken as the first allowed value."""
    value = config.get(key, allowed[0])
    if value not in allowed:
        raise DokjaError(f"config.json says {key} = {value!r}; a model of type {config.get('model_type')!r} is read "
                         f"with {' or '.join(map(repr, allowed))} only")


def read_rope(config: Config, *, layout: Literal["half", "interleaved"] = "half", dims: int | None = None,
              parameters: Config | None = None) -> Rope:
    """The rotary positions of a config: `rope_parameters` (transformers 5) or `rope_theta` with `rope_scaling`.

    parameters: the table itself, where a config holds one for each kind of layer.
    """
    table = dict(parameters or config.get("rope_parameters") or config.get("rope_scaling") or {})
    theta: float = table.get("rope_theta") or config.get("rope_theta") or 10_000.0
    return Rope(float(theta), layout, _read_scaling(config, table), dims)


def _read_scaling(config: Config, table: Config) -> Scaling | None:
    kind = table.get("rope_type", table.get("type", "default"))
    if kind == "default":
        return None
    factor = float(need(table, "factor"))
    original = table.get("original_max_position_embeddings") or config.get("original_max_position_embeddings")
    if kind == "linear":
        return Linear(factor)
    if kind == "llama3":
        return Llama3(factor, int(need(table, "original_max_position_embeddings")),
                      float(table.get("low_freq_factor", 1.0)), float(table.get("high_freq_factor", 4.0)))
    if kind == "yarn":
        if table.get("attention_factor") is not None:
            raise DokjaError("config.json gives YaRN an attention_factor of its own, which is not read: give mscale")
        return Yarn(factor, int(original or need(config, "max_position_embeddings")),
                    float(table.get("beta_fast") or 32.0), float(table.get("beta_slow") or 1.0),
                    float(table.get("mscale") or 1.0), float(table.get("mscale_all_dim") or 0.0),
                    bool(table.get("truncate", True)))
    raise DokjaError(f"config.json asks for RoPE scaling {kind!r}: read are linear, llama3 and yarn")


def write_rope(rope: Rope) -> Config:
    """`rope_theta` and `rope_scaling`, which every version of transformers, vLLM and llama.cpp reads."""
    scaling: Config | None
    match rope.scaling:
        case None:
            scaling = None
        case Linear(factor):
            scaling = {"rope_type": "linear", "factor": factor}
        case Llama3(factor, original, low, high):
            scaling = {"rope_type": "llama3", "factor": factor, "original_max_position_embeddings": original,
                       "low_freq_factor": low, "high_freq_factor": high}
        case Yarn() as yarn:
            scaling = {"rope_type": "yarn", "factor": yarn.factor,
                       "original_max_position_embeddings": yarn.original_context, "beta_fast": yarn.beta_fast,
                       "beta_slow": yarn.beta_slow, "truncate": yarn.truncate}
            if yarn.mscale_all_dim:
                scaling |= {"mscale": yarn.mscale, "mscale_all_dim": yarn.mscale_all_dim}
    return {"rope_theta": rope.theta} | ({"rope_scaling": scaling} if scaling else {})


def read_model(config: Config, layers: tuple[Layer, ...], **more: Any) -> ModelSpec:
    """A spec from the fields that all configs share; `more` are the other fields of ModelSpec."""
    return ModelSpec(**{
        "name": str(config.get("_name_or_path") or config.get("model_type")),
        "vocab": need(config, "vocab_size"), "width": need(config, "hidden_size"), "layers": layers,
        "context": need(config, "max_position_embeddings"), "norm_eps": float(config.get("rms_norm_eps", 1e-6)),
        "tied": bool(config.get("tie_word_embeddings", False)), **more,
    })


def write_model(spec: ModelSpec) -> Config:
    """The fields of `read_model`."""
    return {"vocab_size": spec.vocab, "hidden_size": spec.width, "num_hidden_layers": len(spec.layers),
            "max_position_embeddings": spec.context, "rms_norm_eps": spec.norm_eps,
            "tie_word_embeddings": spec.tied, "hidden_act": "silu"}


def read_attention(config: Config, **more: Any) -> Attention:
    """Grouped-query attention of the usual fields; `more` are the other fields of Attention."""
    heads = need(config, "num_attention_heads")
    return Attention(heads, config.get("num_key_value_heads") or heads,
                     config.get("head_dim") or need(config, "hidden_size") // heads, **more)


def write_attention(mixer: Attention) -> Config:
    """The fields of `read_attention`."""
    return {"num_attention_heads": mixer.heads, "num_key_value_heads": mixer.kv_heads, "head_dim": mixer.head_dim}


def read_latent(config: Config, rope: Rope, **more: Any) -> LatentAttention:
    """Multi-head latent attention of DeepSeek-V3's fields; `more` are the other fields of LatentAttention."""
    return LatentAttention(
        heads=need(config, "num_attention_heads"), q_rank=config.get("q_lora_rank"),
        kv_rank=need(config, "kv_lora_rank"), nope_dim=need(config, "qk_nope_head_dim"),
        rope_dim=need(config, "qk_rope_head_dim"), v_dim=need(config, "v_head_dim"), rope=rope, **more)


def write_latent(mixer: LatentAttention) -> Config:
    """The fields of `read_latent`."""
    return {"num_attention_heads": mixer.heads, "num_key_value_heads": mixer.heads, "q_lora_rank": mixer.q_rank,
            "kv_lora_rank": mixer.kv_rank, "qk_nope_head_dim": mixer.nope_dim, "qk_rope_head_dim": mixer.rope_dim,
            "v_head_dim": mixer.v_dim}


def read_router(config: Config, *, bias: bool = True, scale: float = 1.0) -> Router:
    """A sigmoid router of DeepSeek-V3's fields. bias: of the choice alone; scale: where the config says none."""
    expect(config, "norm_topk_prob", True)
    return Router(bias=bias, groups=config.get("n_group") or 1, groups_kept=config.get("topk_group") or 1,
                  scale=float(config.get("routed_scaling_factor", scale)))


def write_router(router: Router) -> Config:
    """The fields of `read_router`."""
    return {"n_group": router.groups, "topk_group": router.groups_kept, "norm_topk_prob": True,
            "routed_scaling_factor": router.scale}


def layer_types(layers: Iterable[Layer]) -> list[str]:
    """The field of that name: which layers have a window and which see everything."""
    return ["sliding_attention" if layer.mixer.window else "full_attention" for layer in layers]


def mixture_layers(config: Config, *, first: int) -> list[bool]:
    """Which layers are mixtures: `mlp_layer_types`, or all from `first_k_dense_replace` (default `first`) on."""
    if kinds := config.get("mlp_layer_types"):
        return [kind == "sparse" for kind in kinds]
    dense = config.get("first_k_dense_replace")
    return [i >= (first if dense is None else dense) for i in range(need(config, "num_hidden_layers"))]


def first_mlp(spec: ModelSpec) -> MLP | None:
    """The dense feed-forward of a spec, if any layer has one."""
    return next((layer.ffn for layer in spec.layers if isinstance(layer.ffn, MLP)), None)


def first_moe(spec: ModelSpec) -> MoE | None:
    """The mixture of a spec, if any layer has one."""
    return next((layer.ffn for layer in spec.layers if isinstance(layer.ffn, MoE)), None)

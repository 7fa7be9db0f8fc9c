"""GGUF: which architectures of llama.cpp mean which specs, their metadata and tensor names.

An architecture of llama.cpp fixes in code what no metadata says (where norms and positions are, how a router scores);
`Arch` holds those facts. A spec is written as the first architecture whose metadata reads back as the same spec.
Keys and tensor names: the `gguf` package's constants; facts of each architecture: llama.cpp's src/models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...errors import DokjaError
from ..spec import (
    MLP,
    PERI,
    POST,
    PRE,
    Attention,
    FeedForward,
    LatentAttention,
    Layer,
    Linear,
    Mixer,
    ModelSpec,
    MoE,
    Norms,
    Rope,
    Router,
    Scaling,
    Yarn,
)
from .config import first_mlp, first_moe
from .layout import Names, Published, Stacked

Metadata = dict[str, Any]

_PARTS: dict[str, Published] = {
    "mixer_in.weight": "attn_norm.weight", "mixer_out.weight": "post_attention_norm.weight",
    "ffn_in.weight": "ffn_norm.weight", "ffn_out.weight": "post_ffw_norm.weight",
    "mixer.qkv.weight": ("attn_q.weight", "attn_k.weight", "attn_v.weight"),
    "mixer.qkv.bias": ("attn_q.bias", "attn_k.bias", "attn_v.bias"),
    "mixer.out.weight": "attn_output.weight",
    "mixer.q_norm.weight": "attn_q_norm.weight", "mixer.k_norm.weight": "attn_k_norm.weight",
    "ffn.gate_up.weight": ("ffn_gate.weight", "ffn_up.weight"), "ffn.down.weight": "ffn_down.weight",
    "ffn.router.weight": "ffn_gate_inp.weight", "ffn.router_bias": "exp_probs_b.bias",
    "ffn.gate_up": Stacked(("ffn_gate_exps.weight", "ffn_up_exps.weight")),
    "ffn.down": Stacked(("ffn_down_exps.weight",)),
    "ffn.shared.gate_up.weight": ("ffn_gate_shexp.weight", "ffn_up_shexp.weight"),
    "ffn.shared.down.weight": "ffn_down_shexp.weight",
}
_LATENT: dict[str, Published] = {
    "mixer.q.weight": "attn_q.weight", "mixer.q_down.weight": "attn_q_a.weight",
    "mixer.q_norm.weight": "attn_q_a_norm.weight", "mixer.q_up.weight": "attn_q_b.weight",
    "mixer.kv_down.weight": "attn_kv_a_mqa.weight", "mixer.kv_norm.weight": "attn_kv_a_norm.weight",
    "mixer.kv_up.weight": "attn_kv_b.weight",
}
NAMES = Names(top={"embedding.weight": "token_embd.weight", "norm.weight": "output_norm.weight",
                   "head.weight": "output.weight"}, layer="blk.{i}.", parts=_PARTS)
ROPE_FACTORS = "rope_freqs.weight"  # by what each frequency is divided


@dataclass(frozen=True)
class Arch:
    """One architecture of llama.cpp.

    permuted: rows of Q and K are stored so that the pairs of a rotation lie side by side. pattern: every so many
    layers one is global, where the file does not say which (0: no windows). local_theta: base of the rotation where
    there is a window; None is the model's own. nope_global: where some layers have a window, only they rotate.
    window_depth: the one depth at which windows are heeded. own_head: an output matrix is stored even if it is the
    embedding. square: heads times their dimension must be the width. lite_depths: where queries need no latent.
    zero_centred: norm weights act, and are stored, as 1 + w. embedding_root: embeddings times sqrt(width).
    """

    name: str
    norms: Norms = PRE
    names: Names = NAMES
    permuted: bool = False
    bias: bool = False
    qk_norm: bool = False
    pattern: int = 0
    window_depth: int | None = None
    nope_global: bool = False
    local_theta: float | None = None
    router: Router | None = None
    latent: bool = False
    lite_depths: tuple[int, ...] = ()
    square: bool = False
    own_head: bool = False
    activation: Literal["silu", "gelu_tanh"] = "silu"
    zero_centred: bool = False
    embedding_root: bool = False


def _names(**parts: Any) -> Names:
    return replace(NAMES, parts={**_PARTS, **parts})


_SIGMOID = Router(bias=True)
ARCHS = (
    Arch("llama", permuted=True),
    Arch("exaone"),
    Arch("qwen2", bias=True, square=True),
    Arch("exaone4", POST, qk_norm=True, pattern=4, window_depth=64, nope_global=True, square=True),
    Arch("qwen3", qk_norm=True),
    Arch("qwen3moe", qk_norm=True, router=Router(bias=False, score="softmax")),
    Arch("exaone-moe", qk_norm=True, pattern=4, nope_global=True, router=_SIGMOID, own_head=True),
    Arch("glm4moe", names=_names(**{"ffn_in.weight": "post_attention_norm.weight"}), router=_SIGMOID),
    Arch("deepseek2", names=_names(**_LATENT), latent=True, lite_depths=(26, 27, 48),
         router=_SIGMOID),
    Arch("gemma3", PERI, qk_norm=True, pattern=6, local_theta=10_000.0, activation="gelu_tanh", zero_centred=True,
         embedding_root=True),
)


def arch_of(spec: ModelSpec) -> tuple[Arch, Metadata]:
    """The architecture that says all of a spec, with its metadata; DokjaError if none does."""
    spec = replace(spec, mtp=())  # written without: llama.cpp's trunk computes the same
    for arch in ARCHS:
        try:
            data = metadata(spec, arch)
            back = read_spec(data, arch, tied=spec.tied, scaling=_any_scaling(spec))
        except (KeyError, TypeError, AttributeError, AssertionError, ZeroDivisionError):
            continue
        if canonical(back) == canonical(spec) and _built(spec, arch):
            return arch, data
    raise DokjaError(f"llama.cpp has no architecture that computes what {spec.name} does: written as GGUF are models "
                     f"like those of {', '.join(arch.name for arch in ARCHS)}; save it with layout='hf'")


def _built(spec: ModelSpec, arch: Arch) -> bool:
    """Whether llama.cpp builds an architecture at these sizes."""
    mixer = spec.layers[0].mixer
    if isinstance(mixer, LatentAttention):
        return mixer.q_rank is not None or len(spec.layers) in arch.lite_depths
    if arch.square and mixer.heads * mixer.head_dim != spec.width:
        return False
    windows = any(layer.mixer.window for layer in spec.layers)
    return not (windows and arch.window_depth is not None and len(spec.layers) != arch.window_depth)


def canonical(spec: ModelSpec) -> ModelSpec:
    """The same architecture, without a name and with nothing said by default that can be said outright."""
    def plain(layer: Layer) -> Layer:
        mixer = layer.mixer
        if isinstance(mixer, LatentAttention) and mixer.latent_eps is None:
            return replace(layer, mixer=replace(mixer, latent_eps=spec.norm_eps))
        return layer

    return replace(spec, name="", layers=tuple(map(plain, spec.layers)))


def metadata(spec: ModelSpec, arch: Arch) -> Metadata:
    """The metadata of a spec under an architecture, without what the tokenizer adds."""
    mixers = [layer.mixer for layer in spec.layers]
    first = mixers[0]
    out: Metadata = {
        "context_length": spec.context, "embedding_length": spec.width, "block_count": len(spec.layers),
        "vocab_size": spec.vocab, "attention.layer_norm_rms_epsilon": spec.norm_eps,
        "attention.head_count": first.heads,
    }
    if isinstance(first, LatentAttention):
        out |= {"attention.head_count_kv": first.heads, "attention.key_length": first.nope_dim + first.rope_dim,
                "attention.value_length": first.v_dim, "attention.kv_lora_rank": first.kv_rank,
                "rope.dimension_count": first.rope_dim}
        if first.q_rank is not None:
            out["attention.q_lora_rank"] = first.q_rank
    else:
        out |= {"attention.head_count_kv": first.kv_heads, "attention.key_length": first.head_dim,
                "attention.value_length": first.head_dim, "rope.dimension_count": first.head_dim}
    ropes = [mixer.rope for mixer in mixers if mixer.rope and (arch.local_theta is None or mixer.window is None)]
    out["rope.freq_base"] = (ropes or [mixer.rope for mixer in mixers if mixer.rope])[0].theta  # type: ignore[union-attr]
    match _any_scaling(spec):
        case Linear(factor):
            out |= {"rope.scaling.type": "linear", "rope.scaling.factor": factor}
        case Yarn() as yarn:
            out |= {"rope.scaling.type": "yarn", "rope.scaling.factor": yarn.factor,
                    "rope.scaling.original_context_length": yarn.original_context}
            if yarn.mscale_all_dim:
                out["rope.scaling.yarn_log_multiplier"] = 0.1 * yarn.mscale_all_dim
    if windows := {mixer.window for mixer in mixers if mixer.window}:
        local = [mixer.window is not None for mixer in mixers]
        period = local.index(False) + 1 if False in local else len(mixers) + 1
        out |= {"attention.sliding_window": max(windows), "attention.sliding_window_pattern": period}
    dense, moe = first_mlp(spec), first_moe(spec)
    out["feed_forward_length"] = dense.width if dense else moe.width if moe else 0
    if moe:
        out |= {"expert_count": moe.experts, "expert_used_count": moe.active, "expert_feed_forward_length": moe.width,
                "expert_weights_norm": True, "expert_gating_func": {"softmax": 1, "sigmoid": 2}[moe.router.score],
                "leading_dense_block_count": sum(isinstance(layer.ffn, MLP) for layer in spec.layers)}
        if moe.shared:
            out |= {"expert_shared_count": moe.shared, "expert_shared_feed_forward_length": moe.shared * moe.width}
        if moe.router.scale != 1.0:
            out["expert_weights_scale"] = moe.router.scale
        if moe.router.groups > 1:
            out |= {"expert_group_count": moe.router.groups, "expert_group_used_count": moe.router.groups_kept}
    return out


def read_spec(data: Mapping[str, Any], arch: Arch, *, tied: bool, scaling: Scaling | None = None) -> ModelSpec:
    """The spec of a file's metadata, keys without the architecture's prefix.

    scaling: that of `rope_freqs.weight`, which no key tells. A missing key raises KeyError.
    """
    depth, width = int(data["block_count"]) - int(data.get("nextn_predict_layers", 0)), int(data["embedding_length"])
    theta = _exact(data.get("rope.freq_base", 10_000.0))
    kind = data.get("rope.scaling.type", "none")
    if kind == "linear":
        scaling = Linear(_exact(data["rope.scaling.factor"]))
    elif kind == "yarn":
        log = _exact(data.get("rope.scaling.yarn_log_multiplier", 0.0)) * 10
        scaling = Yarn(_exact(data["rope.scaling.factor"]), int(data["rope.scaling.original_context_length"]),
                       mscale=log or 1.0, mscale_all_dim=log)
    window = int(data.get("attention.sliding_window", 0)) if arch.pattern else 0
    period = data.get("attention.sliding_window_pattern", arch.pattern)
    local = period if isinstance(period, list) else [bool(window) and bool((i + 1) % period) for i in range(depth)]
    layers = tuple(Layer(_mixer(data, arch, Rope(theta, scaling=scaling), window if local[i] else None, bool(window)),
                         _ffn(data, arch, i), arch.norms) for i in range(depth))
    return ModelSpec(
        name=str(data.get("name", arch.name)), vocab=int(data["vocab_size"]), width=width, layers=layers,
        context=int(data["context_length"]), norm_eps=_exact(data["attention.layer_norm_rms_epsilon"]), tied=tied,
        norm_zero_centred=arch.zero_centred, embedding_scale=width**0.5 if arch.embedding_root else 1.0)


def _mixer(data: Mapping[str, Any], arch: Arch, rope: Rope, window: int | None, windows: bool) -> Mixer:
    heads = int(data["attention.head_count"])
    if arch.latent:
        rank, turned = data.get("attention.q_lora_rank"), int(data["rope.dimension_count"])
        return LatentAttention(heads, int(rank) if rank else None, int(data["attention.kv_lora_rank"]),
                               int(data["attention.key_length"]) - turned, turned, int(data["attention.value_length"]),
                               replace(rope, layout="interleaved"), latent_eps=None)
    dim = int(data.get("attention.key_length", int(data["embedding_length"]) // heads))
    if window is not None and arch.local_theta is not None:
        rope = Rope(arch.local_theta)
    turned = int(data.get("rope.dimension_count", dim))
    return Attention(heads, int(data.get("attention.head_count_kv", heads)), dim, window=window, qk_norm=arch.qk_norm,
                     rope=None if arch.nope_global and windows and window is None
                     else replace(rope, dims=None if turned == dim else turned), bias=arch.bias)


def _ffn(data: Mapping[str, Any], arch: Arch, index: int) -> FeedForward:
    if arch.router is None or index < int(data.get("leading_dense_block_count", 0)):
        return MLP(int(data["feed_forward_length"]), activation=arch.activation)
    router = replace(arch.router, scale=_exact(data.get("expert_weights_scale", 0.0)) or 1.0,
                     groups=int(data.get("expert_group_count", 1)),
                     groups_kept=int(data.get("expert_group_used_count", 1)))
    return MoE(int(data["expert_count"]), int(data["expert_used_count"]), int(data["expert_feed_forward_length"]),
               int(data.get("expert_shared_count", 0)), router)


def _any_scaling(spec: ModelSpec) -> Scaling | None:
    return next((mixer.rope.scaling for layer in spec.layers
                 if (mixer := layer.mixer).rope is not None and mixer.rope.scaling is not None), None)


def _exact(value: Any) -> float:
    """A number that was stored in 32 bits, as it was meant: 1e-06, not 9.99999997e-07."""
    return float(f"{float(value):.7g}")

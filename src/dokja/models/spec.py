"""What a model is: an architecture as frozen data, with the arithmetic that follows from it.

A `ModelSpec` says everything that the decoder needs to build the network and nothing about how it is trained or run.
Families (`families/`) are instances of it; two architectures differ in these fields and nowhere else.
Costs (parameters, cache bytes, FLOPs) are in `cost.py`, shrinking in `scaling.py`; both are arithmetic on this data.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import DokjaError
from .plain import from_plain, to_plain


@dataclass(frozen=True)
class Linear:
    """Position interpolation: inverse frequencies are divided by `factor` (Chen et al. 2023, arXiv 2306.15595)."""

    factor: float


@dataclass(frozen=True)
class Yarn:
    """YaRN context extension (Peng et al. 2023, arXiv 2309.00071); names follow `rope_scaling` in config.json.

    mscale, mscale_all_dim: DeepSeek's attention temperatures. truncate: whether the ramp's ends are rounded to whole
    dimensions (gpt-oss does not).
    """

    factor: float
    original_context: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float = 1.0
    mscale_all_dim: float = 0.0
    truncate: bool = True


@dataclass(frozen=True)
class Llama3:
    """Llama 3.1's extension: waves longer than original_context / low_freq are stretched by `factor`, those shorter
    than original_context / high_freq stay, with a ramp between (`rope_type: llama3`)."""

    factor: float
    original_context: int
    low_freq: float = 1.0
    high_freq: float = 4.0


Scaling = Linear | Yarn | Llama3


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding (Su et al. 2021).

    layout: "half" pairs dimension i with i + d/2; "interleaved" pairs 2i with 2i + 1 (DeepSeek, `rope_interleave`).
    dims: how many dimensions of a head, from the first, are rotated; None is all (GPT-J, `rotary_dim`).
    """

    theta: float
    layout: Literal["half", "interleaved"] = "half"
    scaling: Scaling | None = None
    dims: int | None = None


@dataclass(frozen=True)
class Attention:
    """Grouped-query attention.

    window: how many positions a query sees, itself included; None is global.
    rope: None for a layer without positions (NoPE).
    qk_norm: RMSNorm over each head of Q and K, before the rotation.
    scale: what scores are multiplied by; None is head_dim ** -0.5.
    bias, out_bias: biases on Q, K and V (Qwen2), on the output projection (gpt-oss).
    sinks: one learnt logit a head that joins the softmax and carries no value (gpt-oss).
    """

    heads: int
    kv_heads: int
    head_dim: int
    window: int | None = None
    rope: Rope | None = None
    qk_norm: bool = False
    scale: float | None = None
    bias: bool = False
    out_bias: bool = False
    sinks: bool = False


@dataclass(frozen=True)
class Indexer:
    """Sparse attention's choice of positions (DeepSeek-V3.2, arXiv 2512.02556, section 2.1).

    Each head scores every position that a query sees by relu(query . key), the key being shared by all heads; their
    scores are summed with weights that the token gives, and only the best `top` positions are attended to.
    dim: of a head and of the key, whose first rope_dim dimensions are rotated in halves. The cache holds `dim` more.
    """

    heads: int
    dim: int
    top: int


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).

    Queries and keys/values come from normalised low-rank latents; each head has `nope_dim` dimensions without and
    `rope_dim` with positions, the latter shared by all heads on the key side. The cache holds kv_rank + rope_dim.
    q_rank: None projects queries straight from the input (DeepSeek-V2-Lite).
    latent_eps: epsilon of the norms of the two latents; None is the model's.
    gate: each head's output is multiplied by sigmoid of v_dim further numbers of its query projection, which then reads
    the latent twice, normalised and raw (A.X K2, arXiv 2608.30181). gate and indexer read the latent of the queries:
    they need a q_rank.
    """

    heads: int
    q_rank: int | None
    kv_rank: int
    nope_dim: int
    rope_dim: int
    v_dim: int
    rope: Rope
    window: int | None = None
    latent_eps: float | None = None
    gate: bool = False
    indexer: Indexer | None = None

    def __post_init__(self) -> None:
        if self.q_rank is None and (self.gate or self.indexer):
            raise DokjaError("a gate or an indexer reads the latent of the queries: give q_rank")


Activation = Literal["silu", "gelu_tanh", "clamped_silu"]


@dataclass(frozen=True)
class MLP:
    """Feed-forward: down(activation(gate(x)) * up(x)), or down(activation(up(x))) when not gated.

    activation: "silu" makes SwiGLU; "gelu_tanh" is GELU by its tanh formula (Gemma's GeGLU, GPT-J's `gelu_new`);
    "clamped_silu" is gpt-oss's gate * sigmoid(1.702 gate) * (up + 1) with gate at most 7 and up within 7 of zero.
    bias: on all its matrices. Raises DokjaError for "clamped_silu" without a gate, which no formula covers.
    """

    width: int
    activation: Activation = "silu"
    gated: bool = True
    bias: bool = False

    def __post_init__(self) -> None:
        if self.activation == "clamped_silu" and not self.gated:
            raise DokjaError("an MLP without a gate has no clamped_silu: choose silu or gelu_tanh, or make it gated")


@dataclass(frozen=True)
class Router:
    """How a token chooses experts.

    score: "sigmoid" (DeepSeek-V3, arXiv 2412.19437, section 2.1.2) or "softmax" over all experts (Qwen3, gpt-oss).
    The top `active` experts by score + bias are chosen, inside the best `groups_kept` of `groups` groups (a group's
    score is the sum of its two best); the mixing weight is the score without the bias, over the sum of the chosen,
    times `scale`.
    bias: the score correction of auxiliary-loss-free balancing; without it the trainer adds a balance loss.
    logit_bias: a bias on the router's logits (gpt-oss).
    soft_groups: experts outside the best groups are left with a score of 0, which a bias can push others below; without
    it they are never chosen.
    """

    bias: bool = True
    groups: int = 1
    groups_kept: int = 1
    scale: float = 1.0
    score: Literal["sigmoid", "softmax"] = "sigmoid"
    logit_bias: bool = False
    soft_groups: bool = False


@dataclass(frozen=True)
class MoE:
    """Mixture of gated feed-forwards: `active` of `experts` routed ones and `shared` that always run.

    activation, bias: as in MLP, for every expert.
    """

    experts: int
    active: int
    width: int
    shared: int
    router: Router
    activation: Activation = "silu"
    bias: bool = False


Mixer = Attention | LatentAttention
FeedForward = MLP | MoE


@dataclass(frozen=True)
class Norms:
    """Where a layer normalises: the input and the output (before the residual add) of its two halves.

    mixer_gate, ffn_gate: rank of the gate on the RMSNorm of that half's input, y * sigmoid(up(silu(down(y)))) with
    y = norm(x) (A.X K2, arXiv 2608.30181); 0 is none.
    """

    mixer_in: bool = True
    mixer_out: bool = False
    ffn_in: bool = True
    ffn_out: bool = False
    mixer_gate: int = 0
    ffn_gate: int = 0

    @property
    def ungated(self) -> Norms:
        """The same places without gates."""
        return dataclasses.replace(self, mixer_gate=0, ffn_gate=0)


PRE = Norms()
POST = Norms(mixer_in=False, mixer_out=True, ffn_in=False, ffn_out=True)
PERI = Norms(mixer_in=True, mixer_out=True, ffn_in=True, ffn_out=True)
PRE_AND_FFN_OUT = Norms(ffn_out=True)


@dataclass(frozen=True)
class Layer:
    """One residual block: x += mixer(norm(x)); x += ffn(norm(x)), with norms where `norms` says.

    parallel: both halves read the mixer's normalised input and are added at once (GPT-J).
    """

    mixer: Mixer
    ffn: FeedForward
    norms: Norms = PRE
    parallel: bool = False


@dataclass(frozen=True)
class Skip:
    """Block skip connection (Solar Pro, `bskcn`): x before layer `target` becomes share * (x before layer `source`)
    + (1 - share) * x, with `training_share` in training. Layers count from 0."""

    source: int
    target: int
    share: float
    training_share: float


@dataclass(frozen=True)
class ModelSpec:
    """One decoder-only language model.

    norm, norm_eps: "rms" is RMSNorm, "layer" LayerNorm with a bias. norm_zero_centred: weights act as 1 + w.
    embedding_scale, residual_scale, logit_scale: muP multipliers on the embedding output, on each half-layer's output
    before the residual add, and on the logits.
    mtp: multi-token-prediction layers after the trunk, each predicting one token further (DeepSeek-V3, section 2.2).
    skips: block skip connections.
    unused: weights that the published file holds and the published computation never reads; counted, not built.
    unverified: values that no public primary source confirmed, in words.
    """

    name: str
    vocab: int
    width: int
    layers: tuple[Layer, ...]
    context: int
    norm: Literal["rms", "layer"] = "rms"
    norm_eps: float = 1e-5
    norm_zero_centred: bool = False
    tied: bool = False
    head_bias: bool = False
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    mtp: tuple[Layer, ...] = ()
    skips: tuple[Skip, ...] = ()
    unused: int = 0
    unverified: tuple[str, ...] = field(default=(), compare=False)

    @property
    def indexed(self) -> bool:
        """Whether an indexer chooses what some layer attends to."""
        return any(isinstance(layer.mixer, LatentAttention) and layer.mixer.indexer for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; every sum type carries its class name under "type"."""
        return to_plain(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> ModelSpec:
        """The inverse of `to_dict`; unknown or missing fields, unknown types or no spec at all raise ValueError."""
        spec = from_plain(data, _TYPES)
        if not isinstance(spec, ModelSpec):
            raise ValueError(f"expected a ModelSpec, found a {type(spec).__name__}")
        return spec


_TYPES = {cls.__name__: cls for cls in (ModelSpec, Layer, Norms, Skip, Attention, LatentAttention, Indexer, MLP, MoE,
                                        Router, Rope, Linear, Yarn, Llama3)}

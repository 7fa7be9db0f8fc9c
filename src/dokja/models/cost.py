"""What a spec costs, by arithmetic alone: parameters, cache bytes and FLOPs. Nothing is allocated.

FLOPs count one multiply-add as two and only matrix products, the field's usual convention (Kaplan et al. 2020): norms,
rotations and the optimizer are left out. A training step is three forward passes (one forward, two in backward).
"""

from __future__ import annotations

from dataclasses import dataclass

from .spec import MLP, Attention, FeedForward, LatentAttention, Layer, Mixer, ModelSpec, MoE, Norms


def mixer_matrices(mixer: Mixer, width: int) -> int:
    """Parameters of the mixer's matrices: what a token is multiplied by."""
    if isinstance(mixer, Attention):
        q, kv = mixer.heads * mixer.head_dim, mixer.kv_heads * mixer.head_dim
        return width * (q + 2 * kv) + q * width
    queries = mixer.heads * (mixer.nope_dim + mixer.rope_dim + mixer.v_dim * mixer.gate)
    query = width * queries if mixer.q_rank is None else (width + queries * (1 + mixer.gate)) * mixer.q_rank
    if (indexer := mixer.indexer) is not None:
        query += (mixer.q_rank or 0) * indexer.heads * indexer.dim + width * (indexer.dim + indexer.heads)
    key_value = width * (mixer.kv_rank + mixer.rope_dim) + mixer.kv_rank * mixer.heads * (mixer.nope_dim + mixer.v_dim)
    return query + key_value + mixer.heads * mixer.v_dim * width


def mixer_vectors(mixer: Mixer, width: int) -> int:
    """Parameters of the mixer beside its matrices: its own norms, biases and sinks."""
    if isinstance(mixer, LatentAttention):
        return (mixer.q_rank or 0) + mixer.kv_rank + (2 * mixer.indexer.dim if mixer.indexer else 0)
    return ((2 * mixer.head_dim if mixer.qk_norm else 0) + (mixer.heads if mixer.sinks else 0)
            + ((mixer.heads + 2 * mixer.kv_heads) * mixer.head_dim if mixer.bias else 0)
            + (width if mixer.out_bias else 0))


def ffn_matrices(ffn: FeedForward, width: int, *, active: bool = False) -> int:
    """Parameters of the feed-forward's matrices; `active`: only those that one token meets."""
    if isinstance(ffn, MLP):
        return (3 if ffn.gated else 2) * width * ffn.width
    experts = (ffn.active if active else ffn.experts) + ffn.shared
    return experts * 3 * width * ffn.width + width * ffn.experts


def ffn_vectors(ffn: FeedForward, width: int, *, active: bool = False) -> int:
    """Parameters of the feed-forward beside its matrices: biases, a router's included."""
    biases = (2 if isinstance(ffn, MoE) or ffn.gated else 1) * ffn.width + width if ffn.bias else 0
    if isinstance(ffn, MLP):
        return biases
    router = (ffn.router.bias + ffn.router.logit_bias) * ffn.experts
    return router + ((ffn.active if active else ffn.experts) + ffn.shared) * biases


def _layer_parameters(layer: Layer, spec: ModelSpec, *, active: bool = False) -> int:
    width, norms = spec.width, layer.norms
    return (mixer_matrices(layer.mixer, width) + mixer_vectors(layer.mixer, width)
            + ffn_matrices(layer.ffn, width, active=active) + ffn_vectors(layer.ffn, width, active=active)
            + norms_parameters(norms, spec))


def norms_parameters(norms: Norms, spec: ModelSpec) -> int:
    """Parameters of a layer's norms on the residual stream, gates included."""
    placed = sum((norms.mixer_in, norms.mixer_out, norms.ffn_in, norms.ffn_out))
    return placed * norm_parameters(spec) + gate_matrices(norms, spec.width)


def gate_matrices(norms: Norms, width: int) -> int:
    """Parameters of the gates on a layer's norms."""
    return 2 * width * (norms.mixer_gate + norms.ffn_gate)


def norm_parameters(spec: ModelSpec) -> int:
    """Parameters of one norm as wide as the model."""
    return (1 if spec.norm == "rms" else 2) * spec.width


@dataclass(frozen=True)
class Parameters:
    """total and active (met by one token, embedding table and head included); by component.

    total includes MTP layers and `spec.unused`; trunk is total without them.
    """

    total: int
    active: int
    embedding: int
    mixers: int
    ffns: int
    mtp: int

    @property
    def trunk(self) -> int:
        """Without the MTP layers."""
        return self.total - self.mtp


def parameters(spec: ModelSpec) -> Parameters:
    """Parameters of the trunk and, counted apart in `mtp`, of its MTP layers; total includes both."""
    width, norm = spec.width, norm_parameters(spec)
    table = spec.vocab * width
    embedding = (table if spec.tied else 2 * table) + (spec.vocab if spec.head_bias else 0)
    trunk = sum(_layer_parameters(layer, spec) for layer in spec.layers)
    trunk_active = sum(_layer_parameters(layer, spec, active=True) for layer in spec.layers)
    # An MTP layer adds two norms, the projection of [embedding, hidden] and its own final norm; it shares both tables.
    mtp = sum(_layer_parameters(layer, spec) + 2 * width * width + 3 * norm for layer in spec.mtp)
    return Parameters(
        total=embedding + trunk + norm + mtp + spec.unused,
        active=embedding + trunk_active + norm,
        embedding=embedding,
        mixers=sum(mixer_matrices(layer.mixer, width) for layer in spec.layers),
        ffns=sum(ffn_matrices(layer.ffn, width) for layer in spec.layers),
        mtp=mtp,
    )


def cache_values(mixer: Mixer) -> int:
    """Numbers that a layer keeps of one position."""
    if isinstance(mixer, Attention):
        return 2 * mixer.kv_heads * mixer.head_dim
    return mixer.kv_rank + mixer.rope_dim + (mixer.indexer.dim if mixer.indexer else 0)


def kept_positions(mixer: Mixer, context: int) -> int:
    """Positions of a sequence that a layer's cache keeps, all that its last query sees: its window's, or all."""
    return min(context, mixer.window or context)


def cache_numbers(spec: ModelSpec, context: int) -> int:
    """Numbers in the KV cache of one sequence of `context` tokens: a window layer keeps its window, a latent layer its
    latent. MTP layers are not counted."""
    return sum(kept_positions(layer.mixer, context) * cache_values(layer.mixer) for layer in spec.layers)


def cache_bytes_per_token(spec: ModelSpec, context: int, bytes_per_value: int = 2) -> float:
    """KV-cache bytes of one sequence of `context` tokens, over its tokens."""
    return cache_numbers(spec, context) * bytes_per_value / context


def visible_positions(window: int | None, context: int) -> float:
    """How many positions a query sees on average over a sequence of `context` tokens under a causal mask."""
    window = min(window or context, context)
    return window - window * (window - 1) / (2 * context)


def position_flops(mixer: Mixer, *, absorbed: bool = False) -> int:
    """FLOPs of scoring one position that a query sees and of adding its value.

    absorbed: latent attention over the latent itself, as engines decode it (DeepSeek-V2, section 2.1.2): every head
    scores kv_rank + rope_dim and sums kv_rank numbers, and no key or value is ever expanded.
    """
    if isinstance(mixer, Attention):
        return 4 * mixer.heads * mixer.head_dim
    if absorbed:
        return 2 * mixer.heads * (2 * mixer.kv_rank + mixer.rope_dim)
    return 2 * mixer.heads * (mixer.nope_dim + mixer.rope_dim + mixer.v_dim)


def layer_matrix_flops(layer: Layer, width: int) -> int:
    """FLOPs of one token in a layer's matrices."""
    return 2 * (mixer_matrices(layer.mixer, width) + ffn_matrices(layer.ffn, width, active=True)
                + gate_matrices(layer.norms, width))


def attended_positions(mixer: Mixer, context: int) -> int:
    """How many positions the last query of a sequence attends to: its window's, its indexer's choice, or all."""
    chosen = mixer.indexer.top if isinstance(mixer, LatentAttention) and mixer.indexer else context
    return min(kept_positions(mixer, context), chosen)


def index_flops(mixer: Mixer) -> int:
    """FLOPs of an indexer's score of one position that a query sees, 0 without one."""
    indexer = None if isinstance(mixer, Attention) else mixer.indexer
    return 2 * indexer.heads * (indexer.dim + 1) if indexer else 0


def attention_flops(mixer: Mixer, context: int) -> float:
    """FLOPs of scores (an indexer's too) and weighted values, of one token in a sequence of `context`, averaged over
    the sequence."""
    return (position_flops(mixer) * visible_positions(attended_positions(mixer, context), context)
            + index_flops(mixer) * visible_positions(mixer.window, context))


def _layer_flops(layer: Layer, width: int, context: int) -> float:
    return layer_matrix_flops(layer, width) + attention_flops(layer.mixer, context)


def forward_flops_per_token(spec: ModelSpec, context: int, *, mtp: bool = False) -> float:
    """Matrix FLOPs of one token in a sequence of `context`, averaged over the sequence; `mtp` adds the MTP layers."""
    head = 2 * spec.vocab * spec.width
    flops = head + sum(_layer_flops(layer, spec.width, context) for layer in spec.layers)
    if mtp:
        flops += sum(_layer_flops(layer, spec.width, context) + 4 * spec.width**2 + head for layer in spec.mtp)
    return flops


def training_flops_per_token(spec: ModelSpec, context: int) -> float:
    """Matrix FLOPs of training on one token, MTP layers included."""
    return 3 * forward_flops_per_token(spec, context, mtp=True)

"""Bytes on one GPU while Dokja trains: what `parallel/` shards, FSDP gathers and the backward pass keeps.

Weights, gradients and optimizer state are float32 (4 bytes each; Muon keeps one number for a matrix entry, AdamW two),
divided over shard x expert and, inside layers, over tensor. Gathered: two layers and the tables in bfloat16, and the
gradients of one layer and the tables in bfloat16 and float32 on their way to the shards. Activations are counted tensor
by tensor as autograd keeps them with fused attention (the method of Korthikanti et al. 2022, arXiv 2205.05198, section
4.1, without its attention scores); `recompute` keeps the input of each layer and the inside of one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ...models.cost import ffn_matrices, mixer_matrices, parameters
from ...models.spec import Attention, Layer, ModelSpec, MoE
from ..parallel.config import ParallelConfig

WIDE, NARROW = 4, 2  # bytes of float32 and bfloat16


@dataclass(frozen=True)
class Memory:
    """Bytes on the fullest GPU."""

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        """All of them."""
        return sum(asdict(self).values())


def memory(spec: ModelSpec, layout: ParallelConfig, *, context: int, sequences: int, recompute: bool) -> Memory:
    """Of a step with so many sequences of `context` tokens at a time on each data rank."""
    layers = (*spec.layers, *spec.mtp)
    tables = parameters(spec).embedding
    rows = layout.shard * layout.expert
    experts = sum(_experts(layer, spec.width) for layer in layers)
    matrices = sum(_layer(layer, spec.width) for layer in layers) - experts + len(spec.mtp) * 2 * spec.width**2
    inside = experts / (layout.expert * layout.tensor * layout.shard) + matrices / (rows * layout.tensor)
    held = inside + tables / rows
    largest = max((_layer(layer, spec.width) - _experts(layer, spec.width)) / layout.tensor
                  + _experts(layer, spec.width) / (layout.expert * layout.tensor) for layer in layers)
    alone = rows * layout.replicate == 1
    gathered = 0.0 if alone else (2 * largest + tables) * NARROW + (largest + tables) * (NARROW + WIDE)
    tokens = sequences * context
    kept = [activation_numbers(layer, spec.width, context, tensor=layout.tensor) for layer in layers]
    numbers = len(layers) * spec.width + max(kept) if recompute else sum(kept)
    # The loss is of whole logits: in bfloat16 and float32, and so are their gradients.
    logits = tokens / layout.tensor * spec.vocab * 2 * (NARROW + WIDE)
    return Memory(weights=WIDE * held, gradients=WIDE * held, optimizer=WIDE * inside + 2 * WIDE * tables / rows,
                  gathered=gathered, activations=tokens * numbers * NARROW, logits=logits)


def activation_numbers(layer: Layer, width: int, context: int, *, tensor: int = 1) -> float:
    """Numbers that the backward pass of one token in a layer needs; those inside a mixer or feed-forward are divided
    over tensor ranks."""
    mixer, ffn, norms = layer.mixer, layer.ffn, layer.norms
    # What norms read, and what they make where a matrix reads it.
    outside = (norms.mixer_in + norms.mixer_out + norms.ffn_in + norms.ffn_out + 2) * width
    if isinstance(mixer, Attention):
        q, kv = mixer.heads * mixer.head_dim, mixer.kv_heads * mixer.head_dim
        # Queries, keys and values repeated to their heads, the result; before the norms of heads, once more.
        inside = 4 * q + (q + 2 * kv if mixer.qk_norm else 0)
        if mixer.window is not None and mixer.window < context:
            inside += 2 * q + 2 * mixer.window * mixer.heads  # in blocks: keys twice, and weights (no kernel is fused)
    else:
        heads = mixer.heads
        q = heads * (mixer.nope_dim + mixer.rope_dim)
        outside += 2 * ((mixer.q_rank or 0) + mixer.kv_rank) + mixer.rope_dim
        inside = 2 * q + heads * (mixer.nope_dim + 2 * mixer.v_dim) + 2 * mixer.gate * heads * mixer.v_dim
    if isinstance(ffn, MoE):
        # Copies of tokens, gate and up, the activated gate, the product, the result.
        inside += ffn.active * (4 * ffn.width + 2 * width) + 4 * ffn.shared * ffn.width
        outside += 2 * ffn.experts
    else:
        inside += (4 if ffn.gated else 2) * ffn.width
    return outside + inside / tensor


def _experts(layer: Layer, width: int) -> int:
    return layer.ffn.experts * 3 * width * layer.ffn.width if isinstance(layer.ffn, MoE) else 0


def _layer(layer: Layer, width: int) -> int:
    return mixer_matrices(layer.mixer, width) + ffn_matrices(layer.ffn, width)

"""What an attention pattern saves: KV cache and attention FLOPs beside the same model with every layer global."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..cost import attention_flops as mixer_flops
from ..cost import cache_numbers, cache_values, forward_flops_per_token, kept_positions
from ..spec import Attention, Layer, ModelSpec

CONTEXTS = (8_192, 32_768, 131_072, 262_144)


def all_global(spec: ModelSpec) -> ModelSpec:
    """The same model without windows."""
    def widened(layer: Layer) -> Layer:
        return replace(layer, mixer=replace(layer.mixer, window=None))

    return replace(spec, layers=tuple(map(widened, spec.layers)), mtp=tuple(map(widened, spec.mtp)))


def without_indexers(spec: ModelSpec) -> ModelSpec:
    """The same model with attention that reads all positions that a layer sees."""
    def dense(layer: Layer) -> Layer:
        mixer = layer.mixer
        return layer if isinstance(mixer, Attention) else replace(layer, mixer=replace(mixer, indexer=None))

    return replace(spec, layers=tuple(map(dense, spec.layers)), mtp=tuple(map(dense, spec.mtp)))


def expanded_cache_numbers(spec: ModelSpec, context: int) -> int:
    """Numbers in the KV cache of one sequence if latent layers kept the keys and values of all their heads, as plain
    multi-head attention does."""
    kept = 0
    for layer in spec.layers:
        mixer = layer.mixer
        values = (cache_values(mixer) if isinstance(mixer, Attention)
                  else mixer.heads * (mixer.nope_dim + mixer.rope_dim + mixer.v_dim))
        kept += kept_positions(mixer, context) * values
    return kept


def attention_flops(spec: ModelSpec, context: int) -> float:
    """FLOPs of scores and weighted values, of one token in a sequence of `context`, averaged over the sequence."""
    return sum(mixer_flops(layer.mixer, context) for layer in spec.layers)


@dataclass(frozen=True)
class Saving:
    """Shares saved at one context, 0 to 1.

    cache: of the KV cache; attention: of the FLOPs of attention over a whole sequence; forward: of all matrix FLOPs of
    that sequence; latent: of the KV cache, against keys and values of all heads (0 without latent attention).
    """

    context: int
    cache: float
    attention: float
    forward: float
    latent: float


def saving(spec: ModelSpec, context: int, against: ModelSpec | None = None) -> Saving:
    """What the model saves at a context against another; without one, against itself with every layer global."""
    other = all_global(spec) if against is None else against
    latent = 1 - cache_numbers(spec, context) / expanded_cache_numbers(spec, context)
    return Saving(
        context,
        cache=1 - cache_numbers(spec, context) / cache_numbers(other, context),
        attention=1 - attention_flops(spec, context) / attention_flops(other, context),
        forward=1 - forward_flops_per_token(spec, context) / forward_flops_per_token(other, context),
        latent=latent,
    )


def reached_at(spec: ModelSpec, share: float, part: str) -> int | None:
    """The shortest context at which `part` of a Saving ("cache", "attention") reaches a share; None if never.

    A saving never falls as the context grows, so the context is found by halving.
    """
    low, high = 1, 1 << 30
    if getattr(saving(spec, high), part) < share:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if getattr(saving(spec, middle), part) >= share else (middle + 1, high)
    return low

"""What running a model costs at a context: bytes, FLOPs and the smallest set of GPUs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import DokjaError
from ..cost import (
    attended_positions,
    cache_numbers,
    index_flops,
    kept_positions,
    layer_matrix_flops,
    parameters,
    position_flops,
)
from ..spec import LatentAttention, ModelSpec
from .hardware import CACHE_BYTES, GPUS, HEADROOM, MOST, PRECISIONS, Set, precision, smallest_set, weight_bytes
from .saving import Saving, all_global, attention_flops, expanded_cache_numbers, saving, without_indexers


@dataclass(frozen=True)
class Flops:
    """FLOPs in matrices and in attention (scores and weighted values)."""

    matrices: float
    attention: float

    @property
    def total(self) -> float:
        """Both."""
        return self.matrices + self.attention


@dataclass(frozen=True)
class Bill:
    """Everything that `dokja models cost` prints.

    weights: bytes by precision. cache, cache_global, cache_expanded: bytes for all sequences with the model's own
    pattern, with every layer global, and with keys and values of all heads instead of latents (None without latents).
    prefill: FLOPs of reading one sequence of `context` tokens up to its first logits; prefill_global: with every layer
    global. decode, decode_global: FLOPs of one more token after `context` of them. sets: the fewest GPUs of each kind,
    None where not even the most nodes hold it. sparse: what indexers save against reading every position, at that
    context; None without indexers.
    """

    spec: ModelSpec
    context: int
    batch: int
    dtype: str
    cache_dtype: str
    weights: dict[str, int]
    cache: int
    cache_global: int
    cache_expanded: int | None
    prefill: Flops
    prefill_global: Flops
    decode: Flops
    decode_global: Flops
    sets: dict[str, Set | None]
    sparse: Saving | None

    @property
    def smallest(self) -> Set | None:
        """The set of the fewest GPUs; of two, the one with less memory in all."""
        held = [found for found in self.sets.values() if found]
        return min(held, key=lambda found: (found.count, found.count * found.gpu.memory), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; bytes and FLOPs as numbers."""
        def plain(found: Set | None) -> dict[str, Any] | None:
            return None if found is None else {
                "gpu": found.gpu.name, "count": found.count, "nodes": found.nodes, "bytes_per_gpu": found.used,
                "memory_per_gpu": found.gpu.memory}

        def split(flops: Flops) -> dict[str, float]:
            return {"matrices": flops.matrices, "attention": flops.attention, "total": flops.total}

        return {
            "name": self.spec.name, "parameters": parameters(self.spec).total, "active": parameters(self.spec).active,
            "context": self.context, "model_context": self.spec.context, "batch": self.batch, "dtype": self.dtype,
            "cache_dtype": self.cache_dtype, "weights_bytes": self.weights,
            "weights_assumption": {name: PRECISIONS[name].assumption for name in self.weights},
            "cache_bytes": self.cache, "cache_bytes_all_global": self.cache_global,
            "cache_bytes_expanded_heads": self.cache_expanded,
            "prefill_flops": split(self.prefill), "prefill_flops_all_global": split(self.prefill_global),
            "decode_flops_per_token": split(self.decode),
            "decode_flops_per_token_all_global": split(self.decode_global),
            "saving_by_indexers": None if self.sparse is None else vars(self.sparse),
            "headroom": HEADROOM, "smallest": plain(self.smallest),
            "gpus": {name: plain(found) for name, found in self.sets.items()},
        }


def bill(spec: ModelSpec, context: int, *, batch: int = 1, dtype: str = "bfloat16",
         cache_dtype: str = "bfloat16") -> Bill:
    """The bill of `batch` sequences of `context` tokens each; impossible sizes or dtypes raise DokjaError."""
    for option, value in (("--context", context), ("--batch", batch)):
        if not 1 <= value <= MOST:
            raise DokjaError(f"{option} {value} is not between 1 and {MOST:,}")
    if cache_dtype not in CACHE_BYTES:
        raise DokjaError(f"unknown --cache-dtype {cache_dtype!r}: choose from {', '.join(CACHE_BYTES)}")
    kind, size, wide = precision(dtype), CACHE_BYTES[cache_dtype], all_global(spec)
    latent = any(isinstance(layer.mixer, LatentAttention) for layer in spec.layers)
    weights = weight_bytes(spec, kind)
    return Bill(
        spec, context, batch, dtype, cache_dtype,
        weights={name: weight_bytes(spec, one) for name, one in PRECISIONS.items()},
        cache=batch * size * cache_numbers(spec, context),
        cache_global=batch * size * cache_numbers(wide, context),
        cache_expanded=batch * size * expanded_cache_numbers(spec, context) if latent else None,
        prefill=_prefill(spec, context), prefill_global=_prefill(wide, context),
        decode=_decode(spec, context), decode_global=_decode(wide, context),
        sets={gpu.name: smallest_set(spec, gpu, weights=weights, context=context, batch=batch, kind=kind,
                                     cache_bytes=size) for gpu in GPUS},
        sparse=None if spec == (dense := without_indexers(spec)) else saving(spec, context, dense),
    )


def _prefill(spec: ModelSpec, context: int) -> Flops:
    """Every token passes the layers; only the last one needs the head."""
    layers = sum(layer_matrix_flops(layer, spec.width) for layer in spec.layers)
    return Flops(context * layers + 2 * spec.vocab * spec.width, context * attention_flops(spec, context))


def _decode(spec: ModelSpec, context: int) -> Flops:
    """One token that sees all that its layers still keep; latents are not expanded."""
    layers = sum(layer_matrix_flops(layer, spec.width) for layer in spec.layers)
    seen = sum(position_flops(layer.mixer, absorbed=True) * attended_positions(layer.mixer, context)
               + index_flops(layer.mixer) * kept_positions(layer.mixer, context) for layer in spec.layers)
    return Flops(layers + 2 * spec.vocab * spec.width, seen)

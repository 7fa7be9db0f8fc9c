"""A plan: the first layout that fits, and what a number of tokens then takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from ...errors import DokjaError
from ...models.cost import parameters, training_flops_per_token
from ...models.spec import ModelSpec, MoE
from ..parallel.config import ParallelConfig, check
from .hardware import Accelerator
from .memory import Memory, memory
from .published import Kind, utilisation

HEADROOM = 0.1  # of memory, left for communication buffers, fragments and the driver
LIMIT = 1e26  # FLOPs: Korea's AI Basic Act's decree and California's SB 53 count models from here
# GPUs draw about three quarters of their most while they train: OLMo 3's published energy and GPU hours give 0.62 and
# 0.65 kW an hour, which this share of 700 W times this PUE meets.
DRAW, PUE = 0.75, 1.2


@dataclass(frozen=True)
class Plan:
    """speed: tokens a second of all GPUs, and days and MWh follow from it: at the lowest, middle and highest
    utilisation of published runs of the kind. energy: GPUs at DRAW of their power, times PUE; most_energy: nodes at
    their highest power."""

    spec: ModelSpec
    gpus: int
    gpu: Accelerator
    context: int
    tokens: float
    layout: ParallelConfig
    sequences: int
    recompute: bool
    memory: Memory
    fits: bool
    flops_per_token: float
    utilisation: tuple[float, float, float]
    pue: float

    @property
    def speed(self) -> tuple[float, ...]:
        return tuple(self.gpus * self.gpu.peak * share / self.flops_per_token for share in self.utilisation)

    @property
    def flops(self) -> float:
        """Of the whole run."""
        return self.tokens * self.flops_per_token

    @property
    def days(self) -> tuple[float, ...]:
        return tuple(self.tokens / speed / 86_400 for speed in self.speed)

    @property
    def energy(self) -> tuple[float, ...]:
        """MWh."""
        return tuple(days * 24 * self.gpus * self.gpu.watts * DRAW * self.pue / 1e6 for days in self.days)

    @property
    def most_energy(self) -> tuple[float, ...]:
        """MWh."""
        nodes = -(-self.gpus // self.gpu.node)
        return tuple(days * 24 * nodes * self.gpu.node_watts * self.pue / 1e6 for days in self.days)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: bytes, FLOPs, tokens a second, days, MWh."""
        counted = parameters(self.spec)
        names = ("low", "middle", "high")

        def ranged(values: tuple[float, ...]) -> dict[str, float]:
            return dict(zip(names, values, strict=True))

        return {
            "name": self.spec.name, "parameters": counted.total, "active": counted.active, "gpus": self.gpus,
            "gpu": self.gpu.name, "context": self.context, "tokens": self.tokens, "layout": asdict(self.layout),
            "sequences_at_a_time": self.sequences, "recompute": self.recompute,
            "memory_per_gpu": {**asdict(self.memory), "total": self.memory.total, "available": self.gpu.memory,
                               "headroom": HEADROOM, "fits": self.fits},
            "flops_per_token": self.flops_per_token, "flops": self.flops, "of_limit": self.flops / LIMIT,
            "limit": LIMIT, "utilisation": ranged(self.utilisation), "tokens_per_second": ranged(self.speed),
            "days": ranged(self.days), "energy_mwh": ranged(self.energy), "most_energy_mwh": ranged(self.most_energy),
            "pue": self.pue,
        }


def plan(spec: ModelSpec, gpus: int, gpu: Accelerator, *, context: int, tokens: float, pue: float = PUE) -> Plan:
    """The plan with the fewest means: no recomputation before some, no tensor parallelism before some, no more experts'
    ranks and shards than needed. Where nothing fits, the layout that comes nearest, which says so."""
    best: tuple[float, ParallelConfig, bool, Memory] | None = None
    for layout, recompute in _layouts(spec, gpus, gpu.node):
        needed = memory(spec, layout, context=context, sequences=1, recompute=recompute)
        if best is None or needed.total < best[0]:
            best = needed.total, layout, recompute, needed
        if needed.total <= gpu.memory * (1 - HEADROOM):
            best = needed.total, layout, recompute, needed
            break
    if best is None:
        raise DokjaError(f"{gpus} GPUs do not divide among the ranks of {spec.name}: choose a multiple of {gpu.node}")
    total, layout, recompute, needed = best
    room, sequences = gpu.memory * (1 - HEADROOM), 1
    while sequences < 64 and memory(spec, layout, context=context, sequences=2 * sequences,
                                    recompute=recompute).total <= room:
        sequences *= 2
    needed = memory(spec, layout, context=context, sequences=sequences, recompute=recompute)
    kind: Kind = "mixture" if any(isinstance(layer.ffn, MoE) for layer in spec.layers) else "dense"
    return Plan(spec, gpus, gpu, context, tokens, layout, sequences, recompute, needed, total <= room,
                training_flops_per_token(spec, context), utilisation(kind), pue)


def _layouts(spec: ModelSpec, gpus: int, node: int) -> Iterator[tuple[ParallelConfig, bool]]:
    mixture = any(isinstance(layer.ffn, MoE) for layer in spec.layers)
    sizes = [size for size in range(1, gpus + 1) if gpus % size == 0]
    experts = [size for size in sizes if 1 < size <= 64] if mixture and gpus > 1 else [1]
    # Experts stay inside a node while they can: their tokens travel every layer.
    experts.sort(key=lambda size: (size != min(node, gpus), size))
    for tensor, recompute, expert in product((1, 2, 4, 8), (False, True), experts):
        if tensor > node or gpus % (tensor * expert):
            continue
        data = gpus // (tensor * expert)
        for shard in [size for size in sizes if data % size == 0 and size * expert * tensor >= min(node, gpus)]:
            layout = ParallelConfig(replicate=data // shard, shard=shard, expert=expert, tensor=tensor)
            try:
                check(spec, layout)
            except DokjaError:
                continue
            yield layout, recompute

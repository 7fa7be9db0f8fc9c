"""How the processes of a run divide the work: sizes, and what does not go together.

What works with what (every pair of sizes goes together; what a model does not divide by is refused by `check`):

    replicate, shard    every family
    expert              mixtures whose experts divide by it
    tensor              every family without biases after a row-wise matrix (gpt-oss and KoGPT have them); heads,
                        key/value heads and columns divide by it; embedding and head are not divided, their work is
    pipeline, context   none
    compile             with replicate and shard; refused with expert and tensor, whose exchanges are not compiled
    grpo                one process: it samples from the model in one piece
    micro_batch         the balance loss of routers without a bias is of each part, as on one process
    float32, bfloat16   both; bfloat16 also gathers parameters in it, and sums gradients in float32
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from ...errors import DokjaError
from ...models.spec import MLP, Attention, ModelSpec, MoE


@dataclass(frozen=True)
class ParallelConfig:
    """Processes along each dimension; their product is the number of processes.

    shard: parameters, gradients and optimizer state are divided over it, and rows of a batch (FSDP2). replicate: copies
    of all that, which share the rows of a batch (HSDP with shard). expert: experts are divided over it, rows of a batch
    too, and tokens are sent to the experts that they chose; all else is sharded over it as over shard. tensor: each
    layer's heads and feed-forward widths are divided over it; its processes see the same rows.
    """

    replicate: int = 1
    shard: int = 1
    expert: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            size = getattr(self, field.name)
            if not isinstance(size, int) or size < 1:
                raise DokjaError(f"parallel.{field.name} is {size!r}: give a number of processes, 1 for none")

    @property
    def world(self) -> int:
        """All processes."""
        return self.data * self.tensor

    @property
    def data(self) -> int:
        """Processes that take rows of their own."""
        return self.replicate * self.shard * self.expert


def check(spec: ModelSpec, config: ParallelConfig) -> None:
    """Raise DokjaError for a model that cannot be divided so."""
    mixtures = [layer.ffn for layer in (*spec.layers, *spec.mtp) if isinstance(layer.ffn, MoE)]
    if config.expert > 1 and not mixtures:
        raise DokjaError(f"{spec.name} has no experts to divide: leave parallel.expert at 1")
    for moe in mixtures:
        if moe.experts % config.expert:
            raise DokjaError(f"{moe.experts} experts of {spec.name} do not divide by parallel.expert = "
                             f"{config.expert}: choose a divisor")
    if config.tensor > 1:
        for what, count in _divided(spec):
            if count % config.tensor:
                raise DokjaError(f"{count} {what} of {spec.name} do not divide by parallel.tensor = {config.tensor}: "
                                 "choose a divisor")


def _divided(spec: ModelSpec) -> list[tuple[str, int]]:
    """What tensor parallelism divides; DokjaError for what it cannot."""
    found: set[tuple[str, int]] = set()
    for layer in (*spec.layers, *spec.mtp):
        mixer, ffn = layer.mixer, layer.ffn
        found.add(("heads", mixer.heads))
        if isinstance(mixer, Attention):
            found.add(("key/value heads", mixer.kv_heads))
        if isinstance(ffn, MLP):
            found.add(("feed-forward columns", ffn.width))
        elif ffn.width % 4 == 0:
            found.add(("fours of an expert's columns", ffn.width // 4))  # grouped products read 16 bytes at a time
        else:
            found.add(("columns of an expert", 1))
        if ffn.bias or (isinstance(mixer, Attention) and mixer.out_bias):
            raise DokjaError(f"{spec.name} adds biases to sums over columns, which parallel.tensor does not divide: "
                             "use parallel.shard or parallel.expert")
    return sorted(found)

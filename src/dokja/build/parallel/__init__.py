"""One run on many processes: sharded (FSDP2, HSDP), with experts and layers divided over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import ParallelConfig

if TYPE_CHECKING:
    from ..train.trainer import Parallel

__all__ = ["ParallelConfig", "make_parallel"]


def make_parallel(config: ParallelConfig, *, precision: str = "fp32") -> Parallel:
    """This process among those that torchrun started (its environment says which), or alone.

    precision: other than "fp32" gathers parameters in bfloat16. Raises DokjaError when another number of processes
    runs.
    """
    import os

    from ..train.trainer import Alone

    if config.world == 1 and os.environ.get("WORLD_SIZE", "1") == "1":
        return Alone()
    from .sharded import start

    return start(config, precision=precision)

"""GPUs as data: memory, peak, power."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...errors import DokjaError


@dataclass(frozen=True)
class Accelerator:
    """memory: bytes. peak: dense bfloat16 FLOP/s. watts: of one at most. node: how many share a fast fabric.
    node_watts: of a whole node at most."""

    name: str
    memory: int
    peak: float
    watts: int
    node_watts: int
    node: int = 8


# Peaks without sparsity and powers from NVIDIA's and AMD's data sheets of the SXM and OAM modules; node powers are
# those of DGX A100, DGX H100/H200, DGX B200 and an 8-way MI300X platform. Memory as the driver shows it
# (models/report). H800 is an H100 with slower links between GPUs.
ACCELERATORS = {one.name: one for one in (
    Accelerator("A100", 81_920 * 2**20, 312e12, 400, 6_500),
    Accelerator("H100", 81_559 * 2**20, 989e12, 700, 10_200),
    Accelerator("H800", 81_559 * 2**20, 989e12, 700, 10_200),
    Accelerator("H200", 143_771 * 2**20, 989e12, 700, 10_200),
    Accelerator("B200", 183_359 * 2**20, 2_250e12, 1_000, 14_300),
    Accelerator("MI300X", 206_141_652_992, 1_307e12, 750, 10_000),
)}


def cluster(text: str) -> tuple[int, Accelerator]:
    """"512xH100" as (512, H100); DokjaError for anything else."""
    found = re.fullmatch(r"\s*(\d+)\s*[xX*]\s*(\w+)\s*", text)
    name = found[2].upper() if found else ""
    if not found or name not in ACCELERATORS or int(found[1]) < 1:
        raise DokjaError(f"--gpus {text!r} is no number of GPUs: write 8xH100; known are {', '.join(ACCELERATORS)}")
    return int(found[1]), ACCELERATORS[name]


def amount(text: str) -> float:
    """"10T", "3.5b", "2e12" as a number; DokjaError for anything else."""
    try:
        unit = {"K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}.get(text[-1:].upper())
        value = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e18:
        raise DokjaError(f"{text!r} is no number of tokens: write 10T, 500B or 2e12")
    return value

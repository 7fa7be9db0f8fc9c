"""How fast this machine multiplies matrices: what utilisation is a share of."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from ..errors import DokjaError

if TYPE_CHECKING:
    import torch

# Dense bfloat16 FLOPs a second without sparsity, from NVIDIA's data sheets.
GPU_PEAKS = {"B200": 2.25e15, "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12,
             "A10G": 70e12, "V100": 125e12, "T4": 65e12}


def device_of(name: str) -> torch.device:
    """The device of that name, as cpu, cuda or cuda:1; raises DokjaError for one that this torch cannot use."""
    import torch

    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # a torch without CUDA asserts
        said = str(error).splitlines()[0].rstrip(".:")
        raise DokjaError(f"train.device = {name!r} cannot be used here ({said}): --set train.device=cpu, or install a "
                         "torch for that device") from None
    return device


def peak_flops(device: torch.device) -> float | None:
    """FLOPs a second: of a known GPU by its name, of a processor as measured now with the threads that it has; None for
    a device that is not known."""
    import torch

    if device.type == "cpu":
        return gemm_rate(torch.get_num_threads(), seconds=0.5, rounded=False)
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        return next((peak for known, peak in GPU_PEAKS.items() if known in name), None)
    return None


def gemm_rate(threads: int, seconds: float = 1.5, *, rounded: bool = True) -> float:
    """FLOPs a second of an fp32 1024 x 1024 matrix product on that many threads; rounded: down to a half octave.

    The fastest tenth counts, and the steps are coarse, so that two plans on one machine are the same although
    something else runs for a moment.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
        for _ in range(3):
            a @ b
        times: list[float] = []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - start)
        rate = 2 * 1024**3 / sorted(times)[len(times) // 10]
        return float(2 ** (math.floor(2 * math.log2(rate)) / 2)) if rounded else rate
    finally:
        torch.set_num_threads(before)

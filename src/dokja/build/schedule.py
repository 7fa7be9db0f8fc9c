"""The learning rate over a run of several stages: warm-up, stable, decay, and warm again for those who go on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """Warm-up, stable, decay in each stage (WSD-S, Wen et al. 2024, arXiv 2410.05192): judged models are annealed.

    ends: the step after the last of each stage. warmup: steps from zero, at the start of the run; a later stage climbs
    back over a quarter of them. decay: the share of a stage that falls linearly to `floor` times the peak.
    shape: "linear" falls from the warm-up to the end of a stage, "cosine" likewise along half a wave, "constant" stays;
    decay is of "wsd" alone.
    """

    ends: Sequence[int]
    warmup: int = 10
    decay: float = 0.4
    floor: float = 0.05
    shape: Literal["wsd", "linear", "cosine", "constant"] = "wsd"

    def rate(self, step: int) -> float:
        """The factor on the peak learning rate at `step` (0 is the first)."""
        begin = 0
        for end in self.ends:
            if step < end:
                break
            begin = end
        else:
            return self.floor
        length = end - begin
        climb = max(1, self.warmup if begin == 0 else self.warmup // 4)
        rising = (step - begin + 1) / climb
        if self.shape == "constant":
            return min(1.0, rising)
        left = (end - step) / max(1.0, (self.decay if self.shape == "wsd" else 1.0) * length)
        if self.shape == "cosine":
            left = (1 - math.cos(math.pi * min(1.0, left))) / 2
        return min(1.0, rising, self.floor + (1 - self.floor) * left)

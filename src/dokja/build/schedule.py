"""The learning rate over a run of several stages: warm-up, stable, decay, and warm again for those who go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Warm-up, stable, decay in each stage (WSD-S, Wen et al. 2024, arXiv 2410.05192): judged models are annealed.

    ends: the step after the last of each stage. warmup: steps from zero, at the start of the run; a later stage climbs
    back over a quarter of them. decay: the share of a stage that falls linearly to `floor` times the peak.
    """

    ends: Sequence[int]
    warmup: int = 10
    decay: float = 0.4
    floor: float = 0.05

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
        climb = self.warmup if begin == 0 else max(1, self.warmup // 4)
        rising = (step - begin + 1) / climb
        falling = self.floor + (1 - self.floor) * (end - step) / max(1.0, self.decay * length)
        return min(1.0, rising, falling)

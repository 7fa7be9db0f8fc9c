"""The guard against spikes: a step that is far outside of the last ones is not taken.

Source: skip-step of OLMo 2 (arXiv 2501.00656, section 3.4), six standard deviations over the last 128 steps.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class GuardConfig:
    """sigmas: how far above the mean of the last `window` steps a loss or a gradient norm is a spike; 0 watches only
    for what is no finite number. patience: so many steps skipped in a row end the run.
    """

    sigmas: float = 6.0
    window: int = 128
    patience: int = 8


class Guard:
    """Remembers losses and gradient norms of the steps that were taken."""

    def __init__(self, config: GuardConfig) -> None:
        self.config = config
        self.skipped_in_a_row = 0
        self._taken: deque[tuple[float, float]] = deque(maxlen=config.window)

    def refuses(self, loss: float, norm: float) -> str | None:
        """Why the step is not to be taken, None if it is; either way it is remembered as what it was."""
        reason = self._reason(loss, norm)
        if reason is None:
            self._taken.append((loss, norm))
            self.skipped_in_a_row = 0
        else:
            self.skipped_in_a_row += 1
        return reason

    @property
    def exhausted(self) -> bool:
        """Whether too many steps in a row were refused."""
        return self.skipped_in_a_row >= self.config.patience

    def _reason(self, loss: float, norm: float) -> str | None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            return f"loss {loss} and gradient norm {norm} are not both finite"
        # A window that is half empty says little about what is usual; the first steps of a run fall steeply.
        if not self.config.sigmas or len(self._taken) < self.config.window // 2:
            return None
        for name, value, past in zip(("loss", "gradient norm"), (loss, norm), zip(*self._taken, strict=True),
                                     strict=True):
            mean, spread = statistics.fmean(past), statistics.stdev(past)
            if value > mean + self.config.sigmas * spread:
                return f"{name} {value:.4g} is over {self.config.sigmas:g} standard deviations above {mean:.4g}"
        return None

    def state(self) -> dict[str, object]:
        """What must survive a restart, as JSON."""
        return {"in_a_row": self.skipped_in_a_row, "taken": [list(pair) for pair in self._taken]}

    def restore(self, in_a_row: int, taken: Iterable[Sequence[float]]) -> None:
        """The inverse of `state`."""
        self.skipped_in_a_row = in_a_row
        self._taken = deque(((loss, norm) for loss, norm in taken), maxlen=self.config.window)

"""What a run learns: an objective makes the batch of a step and says what its loss is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ...models.decoder import Decoder


@dataclass(frozen=True)
class Batch:
    """All of a step, whatever the number of machines.

    rows: tensors whose first dimension is the row (a sequence, a pair, ...). total: what the sum of the rows' losses is
    divided by, over the whole batch, so that the parts of a batch add up to its loss. tokens, flops: what the step
    costs, all passes included. numbers: what is known before the loss, for the log.
    """

    rows: Mapping[str, Tensor]
    total: float
    tokens: int
    flops: float
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many rows."""
        return len(next(iter(self.rows.values())))

    def parts(self, first: int, last: int, size: int) -> Iterator[Batch]:
        """Rows `first` to `last` (not included) in parts of at most `size`."""
        for at in range(first, last, size):
            end = min(at + size, last)
            rows = {name: tensor[at:end] for name, tensor in self.rows.items()}
            yield Batch(rows, self.total, self.tokens, self.flops, self.numbers)


    def to(self, device: torch.device) -> Batch:
        """The same rows on a device."""
        rows = {name: tensor.to(device, non_blocking=True) for name, tensor in self.rows.items()}
        return Batch(rows, self.total, self.tokens, self.flops, self.numbers)


class Objective(Protocol):
    """Next tokens, preferences, rewards, a teacher: each is one of these, and nothing of it survives a step.

    `batch` is a function of the step and, for objectives that sample from the model, of its weights; with the seed that
    the objective was made with it is all the randomness there is. So a run that is restored to a step goes on as if it
    had never stopped.
    """

    def batch(self, model: Decoder, step: int) -> Batch:
        """The batch of a step; the first is 0."""
        ...

    def loss(self, model: Decoder, part: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """A part's share of the batch's loss, and shares of numbers to log; both add up over the parts.

        "loss" among the numbers is what the run reports as its loss.
        """
        ...

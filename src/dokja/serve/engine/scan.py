"""What log-probabilities need of whole rows of logits: the norm, and where the largest are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import native

BLOCK = 256

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Mask = NDArray[np.uint8]  # a bit an id, id i being bit i % 8 of byte i // 8; 1 allows it


class Scan(NamedTuple):
    """A row's logits [V], the largest of each block of BLOCK, and log sum exp of all."""

    x: Floats
    peaks: Floats
    norm: float

    def largest(self, n: int) -> Ints:
        """The ids of the n largest logits, the largest first and the lower id first among equals."""
        n = min(n, len(self.x))
        if n == 0:
            return np.zeros(0, np.int64)
        among = self.peaks if n <= len(self.peaks) else self.x  # as many logits reach the n-th largest of either
        least = np.partition(among, len(among) - n)[len(among) - n]
        blocks = np.flatnonzero(self.peaks >= least)
        ids = (blocks[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
        ids = ids[: np.searchsorted(ids, len(self.x))]
        ids = ids[self.x[ids] >= least]
        return ids[np.argsort(-self.x[ids], kind="stable")][:n]


def scan(rows_NV: Tensor, *, which: Sequence[int] | None = None, peaks_NB: Tensor | None = None) -> list[Scan]:
    """Scans of contiguous rows of float32, of all or of those numbered `which`. peaks_NB: of all rows, where they are
    known. What is found of a row depends on that row alone, bit for bit."""
    numbers = list(range(len(rows_NV)) if which is None else which)
    if not numbers:
        return []
    x_NV, count, vocab = rows_NV.numpy(), len(numbers), rows_NV.shape[1]
    rows = [x_NV[i] for i in numbers]
    if native.library() is None:  # finds peaks anew
        return [_plain(row) for row in rows]
    peaks = torch.empty(count, -(-vocab // BLOCK))
    norm = torch.empty(count, dtype=torch.float64)
    native.call("scan", rows_NV, torch.tensor(numbers), peaks_NB, count, vocab, peaks, norm)
    found: Iterable[Floats] = peaks.numpy() if peaks_NB is None else peaks_NB.numpy()[numbers]
    return list(map(Scan, rows, found, norm.tolist()))


def _plain(row: Floats) -> Scan:
    """The same in PyTorch. Always on fresh memory: vectorised exponentials may round otherwise at another alignment."""
    blocks = torch.full((-(-len(row) // BLOCK), BLOCK), -np.inf)
    blocks.view(-1)[: len(row)] = torch.from_numpy(row)
    peaks = blocks.amax(1)
    mass = blocks.sub_(peaks.max()).exp_().sum(1).double().sum()
    return Scan(row, peaks.numpy(), float(peaks.max() + mass.log()))

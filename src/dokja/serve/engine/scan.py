"""What the sampler reads of whole rows of logits, in blocks: where they are large, and how much mass lies where."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .. import native

BLOCK = 256

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.uint8]  # a bit an id, id i being bit i % 8 of byte i // 8; 1 allows it


class Scan(NamedTuple):
    """A row's logits [V], the first place of the largest, the largest of each block of BLOCK, and the blocks' sums of
    exp((x - peak) / temperature), None where they were not asked for."""

    x: Floats
    best: int
    peaks: Floats
    sums: Doubles | None

    @property
    def peak(self) -> float:
        return float(self.peaks.max())

    def at_least(self, threshold: float) -> Ints:
        """Ids whose logit is at least `threshold`, ascending."""
        blocks = np.flatnonzero(self.peaks >= threshold)
        if len(blocks) > len(self.peaks) // 8:
            return np.flatnonzero(self.x >= threshold)
        ids = (blocks[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
        ids = ids[: np.searchsorted(ids, len(self.x))]
        return ids[self.x[ids] >= threshold]

    def largest(self, n: int) -> Ints:
        """At least n ids, if there are as many, that hold the n largest logits; ascending. They lie in the n blocks
        with the largest peaks."""
        if n >= len(self.x):
            return np.arange(len(self.x))
        return self.at_least(self.nth(n))

    def nth(self, n: int) -> float:
        """A number that at least n logits reach, near the n-th largest; n is at most V."""
        among = self.peaks if n <= len(self.peaks) else self.x
        return float(np.partition(among, len(among) - n)[len(among) - n])


def scan(rows: Sequence[Floats], temperatures: Sequence[float], masks: Sequence[Mask | None],
         peaks: Sequence[Floats | None]) -> list[Scan]:
    """Scans of contiguous rows of one length, without sums where the temperature is 0. A row that has a mask becomes
    -inf where it forbids. peaks: of rows without a mask, where they are known. What is found of a row depends on that
    row alone, bit for bit."""
    if not rows:
        return []
    if native.library() is None:
        return [_plain(*each) for each in zip(rows, temperatures, masks, strict=True)]  # finds peaks anew
    count, vocab = len(rows), len(rows[0])
    found = np.empty((count, -(-vocab // BLOCK)), np.float32)
    sums = np.empty(found.shape, np.float64)
    best = np.empty(count, np.int64)
    heat = np.asarray(temperatures, np.float32)
    pointers = (ctypes.c_void_p * count)(*(row.ctypes.data for row in rows))
    forbidden, given = ((ctypes.c_void_p * count)(*(None if one is None else one.ctypes.data for one in each))
                        for each in (masks, peaks))
    native.call("scan", pointers, forbidden, given, heat.ctypes.data, count, vocab,
                best.ctypes.data, found.ctypes.data, sums.ctypes.data)
    return [Scan(row, first, one if known is None else known, its if temperature > 0 else None)
            for row, first, one, known, its, temperature
            in zip(rows, best.tolist(), found, peaks, sums, temperatures, strict=True)]


def _plain(row: Floats, temperature: float, mask: Mask | None) -> Scan:
    """The same in PyTorch. Always on fresh memory: vectorised exponentials may round otherwise at another alignment."""
    if mask is not None:
        np.copyto(row, -np.inf, where=np.unpackbits(mask, bitorder="little")[: len(row)] == 0)
    blocks = torch.full((-(-len(row) // BLOCK), BLOCK), -np.inf)
    blocks.view(-1)[: len(row)] = torch.from_numpy(row)
    peaks = blocks.amax(1)
    if temperature <= 0:
        return Scan(row, int(row.argmax()), peaks.numpy(), None)
    weights = blocks.sub_(peaks.max()).div_(temperature).exp_()
    return Scan(row, int(row.argmax()), peaks.numpy(), weights.sum(1).numpy().astype(np.float64))

"""What the sampler reads of whole rows of logits, in blocks: where they are large, and how much mass lies where."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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


def scan(rows_NV: Tensor, temperatures: Sequence[float], *, which: Sequence[int] | None = None,
         masks: Sequence[Mask | None] | None = None, peaks_NB: Tensor | None = None) -> list[Scan]:
    """Scans of rows of float32, of all or of those numbered `which`, without sums where the temperature is 0.

    temperatures, masks: one for each row that is scanned; it becomes -inf where its mask forbids. peaks_NB: of all
    rows, where they are known and there are no masks. What is found of a row depends on that row alone, bit for bit.
    """
    count, vocab = len(temperatures), rows_NV.shape[1]
    if not count:
        return []
    x_NV = rows_NV.numpy()
    rows = x_NV if which is None else [x_NV[i] for i in which]
    if native.library() is None:  # finds peaks anew
        return [_plain(*each) for each in zip(rows, temperatures, masks or [None] * count, strict=True)]
    # Tensors and not arrays: numpy takes microseconds to tell where an array lies.
    best, shape = torch.empty(count, dtype=torch.int64), (count, -(-vocab // BLOCK))
    peaks = torch.empty(shape) if peaks_NB is None else None
    sums = torch.empty(shape, dtype=torch.float64) if any(temperatures) else None
    native.call("scan", rows_NV, None if which is None else torch.tensor(which), addresses(masks or ()), peaks_NB,
                torch.tensor(temperatures), count, vocab, best, peaks, sums)
    if peaks is not None:
        found: Iterable[Floats] = peaks.numpy()
    else:
        assert peaks_NB is not None
        found = peaks_NB.numpy() if which is None else peaks_NB.numpy()[list(which)]
    totals = [None] * count if sums is None else [one if temperature > 0 else None for one, temperature
                                                  in zip(sums.numpy(), temperatures, strict=True)]
    return list(map(Scan, rows, best.tolist(), found, totals))


def addresses(masks: Sequence[Mask | None]) -> ctypes.Array[ctypes.c_void_p] | None:
    """Where the masks lie; None where there are none."""
    if not any(mask is not None for mask in masks):
        return None
    return (ctypes.c_void_p * len(masks))(*(None if one is None else one.ctypes.data for one in masks))


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

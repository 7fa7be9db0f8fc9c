"""Which part of a whole tensor a process holds, as boxes: the language of the optimizer's exchange and of checkpoints.

A tensor is first cut by tensor and expert parallelism (`Cut`), then FSDP gives each process some of the rows of what
is left. A fused matrix (queries, keys and values; gate and up) is cut in each of its parts, so what one process holds
is in general several boxes of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor

Axis = Literal["tensor", "expert"]
Place = tuple[int, int]  # the how-manieth of how many


@dataclass(frozen=True)
class Cut:
    """A dimension that is divided over an axis of processes, each of its consecutive `parts` (lengths) for itself."""

    dim: int
    axis: Axis
    parts: tuple[int, ...]


@dataclass(frozen=True)
class Box:
    """A block of a whole tensor, and where it lies in what a process holds of it."""

    offset: tuple[int, ...]
    size: tuple[int, ...]
    local: tuple[int, ...]

    def of(self, held: Tensor) -> Tensor:
        """The block as a view of what the process holds."""
        return _narrowed(held, self.local, self.size)

    def within(self, whole: Tensor, origin: tuple[int, ...] | None = None) -> Tensor:
        """The block as a view of the whole tensor, or of a part of it that begins at `origin`."""
        at = self.offset if origin is None else tuple(a - b for a, b in zip(self.offset, origin, strict=True))
        return _narrowed(whole, at, self.size)


@dataclass(frozen=True)
class Layout:
    """shape: of the whole. rows: which axis shares the rows of dimension 0 by FSDP, None where none does."""

    shape: tuple[int, ...]
    cuts: tuple[Cut, ...] = ()
    rows: Literal["dense", "expert"] | None = None

    def boxes(self, axes: Mapping[Axis, Place], rows: Place) -> list[Box]:
        """What the process at a place of each axis, and among those that share rows, holds."""
        segments = [[(0, length)] for length in self.shape]
        for cut in self.cuts:
            index, count = axes[cut.axis]
            ends = [sum(cut.parts[: i + 1]) for i in range(len(cut.parts))]
            segments[cut.dim] = [(end - part + part * index // count, part // count)
                                 for end, part in zip(ends, cut.parts, strict=True)]
        if self.rows is not None:
            index, count = rows
            held = sum(length for _, length in segments[0])
            each = -(-held // count)  # as torch.chunk does
            segments[0] = _window(segments[0], min(index * each, held), min((index + 1) * each, held))
        placed = []
        for axis in segments:
            at, row = 0, []
            for start, length in axis:
                row.append((start, length, at))
                at += length
            placed.append(row)
        return [Box(tuple(start for start, _, _ in one), tuple(length for _, length, _ in one),
                    tuple(at for _, _, at in one)) for one in product(*placed)]

    def cut(self, whole: Tensor, axes: Mapping[Axis, Place]) -> Tensor:
        """What is left of a whole tensor at a place of the axes, before FSDP; a copy."""
        out = whole
        for cut in self.cuts:
            index, count = axes[cut.axis]
            pieces = [part.chunk(count, cut.dim)[index] for part in out.split(cut.parts, cut.dim)]
            out = torch.cat(pieces, cut.dim)
        return out.clone()


def _window(segments: list[tuple[int, int]], first: int, last: int) -> list[tuple[int, int]]:
    """The places `first` to `last` of what consecutive segments hold."""
    out, at = [], 0
    for start, length in segments:
        low, high = max(first, at), min(last, at + length)
        if low < high:
            out.append((start + low - at, high - low))
        at += length
    return out


def _narrowed(tensor: Tensor, offset: tuple[int, ...], size: tuple[int, ...]) -> Tensor:
    for dim, (start, length) in enumerate(zip(offset, size, strict=True)):
        tensor = tensor.narrow(dim, start, length)
    return tensor

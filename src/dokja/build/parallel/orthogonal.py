"""Muon where no process holds a whole matrix: each is brought together in one place, orthogonalised and sent back.

The matrices of a round go to as many owners as there are processes, so that each orthogonalises its share of them (as
Dion's and Moonlight's Muon do, arXiv 2504.05295 and 2502.16982 section 2.3); two all-to-all a round.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from ..layout import Box
from ..optim import Update, orthogonal_step


@dataclass(frozen=True)
class Peers:
    """An update, and the boxes of its whole that each process of a group holds."""

    update: Update
    boxes: list[list[Box]]

    @property
    def numbers(self) -> list[int]:
        """How many numbers each process holds."""
        return [sum(_numbers(box) for box in held) for held in self.boxes]

    @property
    def span(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Origin and shape of the block that the boxes fill."""
        boxes = [box for held in self.boxes for box in held]
        first = tuple(min(values) for values in zip(*(box.offset for box in boxes), strict=True))
        ends = (tuple(a + b for a, b in zip(box.offset, box.size, strict=True)) for box in boxes)
        last = tuple(max(values) for values in zip(*ends, strict=True))
        return first, tuple(b - a for a, b in zip(first, last, strict=True))


def exchange(peers: list[Peers], group: dist.ProcessGroup | None) -> None:
    """Replace what the updates hold by the same part of the whole matrices' orthogonal steps.

    group: None when each update holds whole matrices. All processes of a group must come with the same updates.
    """
    if group is None:
        for one in peers:
            if one.update.held.numel():
                one.update.held.copy_(orthogonal_step(one.update.held, one.update.splits, one.update.axis))
        return
    ranks, rank = dist.get_world_size(group), dist.get_rank(group)
    ordered = sorted(peers, key=lambda one: (-sum(one.numbers), one.update.name))
    for at in range(0, len(ordered), ranks):
        these = ordered[at : at + ranks]
        own = these[rank] if rank < len(these) else None
        send = [one.numbers[rank] for one in these] + [0] * (ranks - len(these))
        receive = own.numbers if own is not None else [0] * ranks
        outgoing = torch.cat([one.update.held.flatten() for one in these])
        incoming = outgoing.new_empty(sum(receive))
        dist.all_to_all_single(incoming, outgoing, receive, send, group=group)
        if own is not None:
            incoming = _stepped(own, incoming)
        dist.all_to_all_single(outgoing, incoming, send, receive, group=group)
        for one, piece in zip(these, outgoing.split(send[: len(these)]), strict=True):
            one.update.held.copy_(piece.view_as(one.update.held))


def _stepped(own: Peers, pieces: Tensor) -> Tensor:
    """From what all processes sent of a matrix to what they get back."""
    origin, shape = own.span
    whole, out = pieces.new_empty(shape), torch.empty_like(pieces)
    for held, boxes in zip(pieces.split(own.numbers), own.boxes, strict=True):
        local = held.view(_held_shape(boxes)) if boxes else held
        for box in boxes:
            box.within(whole, origin).copy_(box.of(local))
    step = orthogonal_step(whole, own.update.splits, own.update.axis)
    for held, boxes in zip(out.split(own.numbers), own.boxes, strict=True):
        local = held.view(_held_shape(boxes)) if boxes else held
        for box in boxes:
            box.of(local).copy_(box.within(step, origin))
    return out


def _held_shape(boxes: list[Box]) -> tuple[int, ...]:
    """The shape of what a process holds in these boxes."""
    ends = (tuple(a + b for a, b in zip(box.local, box.size, strict=True)) for box in boxes)
    return tuple(max(values) for values in zip(*ends, strict=True))


def _numbers(box: Box) -> int:
    out = 1
    for length in box.size:
        out *= length
    return out

"""Sequences from the token shards of a corpus: mixed by its stages' weights, in an order that one number places.

Nothing is loaded: files are mapped, and the sequence at any position is found by arithmetic, whatever the number of
processes that read. Source of the idea: a loader whose state is global (OLMo-core, `data_loader.py`).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import DokjaError

_BLOCK = 1024  # sequences over which the shares of a stage are kept exactly


@dataclass(frozen=True)
class StageMix:
    """So many sequences (None: without end) in which each source has its share; shares sum to 1."""

    sequences: int | None
    shares: Mapping[str, float]


class TokenStream:
    """Sequences of `length` tokens cut from sources of mapped token shards.

    sources: for each name its shards in their order, [N] unsigned integers each; a sequence does not cross shards, and
    the rest of a shard that fills none is left out. stages: in which order and shares the sources are mixed; the last
    one goes on after its end. A source that has been read whole begins again in another order.
    """

    def __init__(self, sources: Mapping[str, Sequence[NDArray[np.integer]]], stages: Sequence[StageMix],
                 length: int) -> None:
        self.length = length
        self._shards = dict(sources)
        # A sequence needs one token more than it has inputs: its last target.
        self._counts = {name: list(accumulate((len(shard) - 1) // length for shard in shards))
                        for name, shards in sources.items()}
        for stage in stages:
            for name, share in stage.shares.items():
                if share > 0 and not (self._counts.get(name) and self._counts[name][-1]):
                    raise DokjaError(f"the source {name} has no {length + 1} tokens in a row: lower the context or "
                                     "leave the source out")
        self._mixes = [_Mix(stage.shares) for stage in stages]
        self._ends = list(accumulate(stage.sequences for stage in stages[:-1] if stage.sequences is not None))
        if len(self._ends) != len(stages) - 1:
            raise DokjaError("only the last stage of a corpus may go on without end: give the others a "
                             "budget of tokens")

    def batch(self, seed: int, start: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and weights (all 1) [size, length] of the sequences `start` ... of a seed's order."""
        rows = np.stack([self.sequence(seed, place) for place in range(start, start + size)]).astype(np.int64)
        tokens = torch.from_numpy(rows)
        return tokens[:, :-1], tokens[:, 1:], torch.ones(size, self.length)

    def sequence(self, seed: int, place: int) -> NDArray[np.integer]:
        """The `length` + 1 tokens at one place of the order."""
        source, index = self.locate(place)
        count = self._counts[source][-1]
        epoch, within = divmod(index, count)
        return self._cut(source, permuted(within, count, seed, source, epoch))

    def locate(self, place: int) -> tuple[str, int]:
        """The source of a place in the order, and how many places before it that source had."""
        stage = bisect_right(self._ends, place)
        source, index = self._mixes[stage].locate(place - (self._ends[stage - 1] if stage else 0))
        for earlier in range(stage):
            begin = self._ends[earlier - 1] if earlier else 0
            index += self._mixes[earlier].before(source, self._ends[earlier] - begin)
        return source, index

    def _cut(self, source: str, index: int) -> NDArray[np.integer]:
        counts = self._counts[source]
        shard = bisect_right(counts, index)
        begin = (index - (counts[shard - 1] if shard else 0)) * self.length
        return self._shards[source][shard][begin : begin + self.length + 1]


class _Mix:
    """Sources in their shares, exactly so in every block of 1,024 and evenly within it."""

    def __init__(self, shares: Mapping[str, float]) -> None:
        total = sum(shares.values())
        wanted = {name: share / total * _BLOCK for name, share in shares.items() if share > 0}
        slots = {name: int(exact) for name, exact in wanted.items()}
        by_rest = sorted(wanted, key=lambda name: (slots[name] - wanted[name], name))
        for name in by_rest[: _BLOCK - sum(slots.values())]:
            slots[name] += 1
        self.slots = slots
        # The j-th of n slots belongs at (j + 1/2) / n of the block.
        spread = sorted(((j + 0.5) / count, name) for name, count in slots.items() for j in range(count))
        self.order = [name for _, name in spread]
        self.earlier: list[dict[str, int]] = []
        seen = dict.fromkeys(slots, 0)
        for name in self.order:
            self.earlier.append(dict(seen))
            seen[name] += 1

    def locate(self, place: int) -> tuple[str, int]:
        block, within = divmod(place, _BLOCK)
        name = self.order[within]
        return name, block * self.slots[name] + self.earlier[within][name]

    def before(self, name: str, place: int) -> int:
        """How many of the first `place` places are the source's."""
        block, within = divmod(place, _BLOCK)
        return block * self.slots.get(name, 0) + self.earlier[within].get(name, 0)


def permuted(index: int, count: int, seed: int, *names: object) -> int:
    """Where `index` goes in a permutation of range(count) that the seed and names choose; nothing of it is stored.

    A Feistel network of four rounds over the next even number of bits, walked until it lands inside (Black and Rogaway
    2002, "Ciphers with arbitrary finite domains").
    """
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    keys = hashlib.blake2b("\x1f".join(map(str, (seed, *names))).encode(), digest_size=32).digest()
    while True:
        left, right = index >> half, index & mask
        for at in range(0, 32, 8):
            key = int.from_bytes(keys[at : at + 8], "big")
            # A multiplicative hash of the half and the round's key, its high bits.
            mixed = ((right + key) * 0x9E3779B97F4A7C15) & (2**64 - 1)
            mixed ^= mixed >> 29
            mixed = (mixed * 0xBF58476D1CE4E5B9) & (2**64 - 1)
            left, right = right, left ^ (mixed >> (64 - half))
        index = left << half | right
        if index < count:
            return index

"""Documents to training sequences: every sequence begins where a document begins.

First-fit packing over a window of open sequences: what does not fit goes on in a sequence of its own, nothing is thrown
away, and little is padding. Source of the idea: Ding et al. 2024, "Fewer truncations improve language modeling".
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..models.codec import Codec, Encoded
from .document import Document

IGNORED = -100
_OPEN = 48  # sequences open at once; more packs tighter and costs time
_BATCH = 1024


def encode(codec: Codec, documents: Iterable[Document]) -> Iterator[Encoded]:
    """Token ids of each document, and which of them count: all of a text; in exercises, only the answers."""
    batch: list[Document] = []
    for document in documents:
        batch.append(document)
        if len(batch) == _BATCH:
            yield from _encode_batch(codec, batch)
            batch = []
    yield from _encode_batch(codec, batch)


def _encode_batch(codec: Codec, batch: Sequence[Document]) -> Iterator[Encoded]:
    pieces = [piece for document in batch for piece in ([document.text] if document.text
                                                        else [turn.content for turn in document.turns])]
    ids = iter(codec.encode_batch(pieces))
    for document in batch:
        if document.text:
            yield codec.running_text(next(ids))
        else:
            yield codec.conversation([(turn.role, next(ids)) for turn in document.turns],
                                     answers_only=document.source.startswith("exercise/"))


@dataclass(frozen=True)
class Sequences:
    """Packed sequences: tokens [S, length + 1] and, for each, whether predicting it counts."""

    tokens: NDArray[np.uint16]
    counted: NDArray[np.bool_]

    def save(self, path: Path) -> None:
        """One .npz file; complete or not there."""
        draft = path.with_name(path.name + ".draft")
        with open(draft, "wb") as file:
            np.savez(file, tokens=self.tokens, counted=self.counted)
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> Sequences:
        with np.load(path, allow_pickle=False) as data:
            return cls(data["tokens"], data["counted"])

    def batch(self, seed: int, start: int, size: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets [size, length] of the sequences `start` ... of the endless shuffled order of a seed.

        The order is a function of (seed, start) alone: where a run stands in its data is one number.
        """
        count = len(self.tokens)
        rows = []
        for index in range(start, start + size):
            epoch, place = divmod(index, count)
            rows.append(_permutation(seed, epoch, count)[place])
        tokens = torch.from_numpy(self.tokens[rows].astype(np.int64))
        counted = torch.from_numpy(self.counted[rows])
        return tokens[:, :-1], tokens[:, 1:].masked_fill(~counted[:, 1:], IGNORED)


_orders: dict[tuple[int, int, int], NDArray[np.int64]] = {}


def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    key = (seed, epoch, count)
    if key not in _orders:
        _orders.clear()
        _orders[key] = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(count)
    return _orders[key]


def pack(encoded: Iterable[Encoded], length: int, end_of_text: int, vocab: int, *,
         enough: int | None = None) -> Sequences:
    """Fill sequences of length + 1 tokens, each beginning with the end of text that stands before its first document.

    enough: stop once that many sequences are full; None packs everything.
    """
    if vocab > 1 << 16:
        raise ValueError(f"a vocabulary of {vocab} does not fit the two bytes of a packed token")
    done: list[tuple[list[int], list[bool]]] = []
    open_bins: list[tuple[list[int], list[bool]]] = []
    for document in encoded:
        if enough is not None and len(done) >= enough:
            break
        for at in range(0, len(document.ids), length):
            ids, counted = document.ids[at : at + length], document.counted[at : at + length]
            for place, (bin_ids, bin_counted) in enumerate(open_bins):
                if len(bin_ids) + len(ids) <= length + 1:
                    bin_ids += ids
                    bin_counted += counted
                    if len(bin_ids) > length - 4:
                        done.append(open_bins.pop(place))
                    break
            else:
                open_bins.append(([end_of_text, *ids], [False, *counted]))
                if len(open_bins) > _OPEN:
                    fullest = max(range(len(open_bins)), key=lambda i: len(open_bins[i][0]))
                    done.append(open_bins.pop(fullest))
    done += open_bins
    tokens = np.full((len(done), length + 1), end_of_text, dtype=np.uint16)
    marks = np.zeros((len(done), length + 1), dtype=np.bool_)
    for row, (ids, counted) in enumerate(done):
        tokens[row, : len(ids)] = ids
        marks[row, : len(ids)] = counted
    return Sequences(tokens, marks)


def interleave(texts: Iterable[Document], exercises: Iterator[Document], share: float, seed: int) -> Iterator[Document]:
    """The texts in their order, with exercises between them so that they are about `share` of all characters."""
    draws = random.Random(seed)
    owed = 0.0
    for text in texts:
        yield text
        owed += len(text.content) * share / (1 - share)
        while owed > 0:
            exercise = next(exercises)
            owed -= len(exercise.content) * (0.5 + draws.random())
            yield exercise

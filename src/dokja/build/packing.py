"""Documents to training sequences: every sequence begins where a document, or a piece of a long one, begins.

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

from ..models.codec import Codec
from .document import Document

IGNORED = -100
_OPEN = 48  # sequences open at once; more packs tighter and costs time
_BATCH = 1024


@dataclass(frozen=True)
class Weighted:
    """Token ids of a document, and how much predicting each of them counts in training (0: not at all)."""

    ids: list[int]
    weights: list[int]

    @property
    def counted(self) -> list[bool]:
        """Which tokens count at all, as judging wants it."""
        return [weight > 0 for weight in self.weights]


def encode(codec: Codec, documents: Iterable[Document], *, answer_weight: int = 1,
           answers_only: bool = False) -> Iterator[Weighted]:
    """Token ids of each document. All of a text counts once; of an exercise the answer counts `answer_weight` times,
    since it is a few tokens and all that is asked for, and the question once. answers_only: of conversations and
    exercises nothing but answers counts, as in fine-tuning."""
    batch: list[Document] = []
    for document in documents:
        batch.append(document)
        if len(batch) == _BATCH:
            yield from _encode_batch(codec, batch, answer_weight, answers_only)
            batch = []
    yield from _encode_batch(codec, batch, answer_weight, answers_only)


def _encode_batch(codec: Codec, batch: Sequence[Document], answer_weight: int,
                  answers_only: bool) -> Iterator[Weighted]:
    pieces = [piece for document in batch for piece in ([document.text] if document.text
                                                        else [turn.content for turn in document.turns])]
    ids = iter(codec.encode_batch(pieces))
    for document in batch:
        if document.text:
            encoded = codec.running_text(next(ids))
            yield Weighted(encoded.ids, [1] * len(encoded.ids))
            continue
        turns = [(turn.role, next(ids)) for turn in document.turns]
        encoded = codec.conversation(turns, answers_only=document.exercise or answers_only)
        high, low = (answer_weight, 0 if answers_only else 1) if document.exercise else (1, 0)
        yield Weighted(encoded.ids, [high if counts else low for counts in encoded.counted])


@dataclass(frozen=True)
class Sequences:
    """Packed sequences: tokens [S, length + 1] and, for each, how much predicting it counts."""

    tokens: NDArray[np.uint16 | np.uint32]
    weights: NDArray[np.uint8]

    def save(self, path: Path) -> None:
        """One .npz file; complete or not there."""
        draft = path.with_name(path.name + ".draft")
        with open(draft, "wb") as file:
            np.savez(file, tokens=self.tokens, weights=self.weights)
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> Sequences:
        with np.load(path, allow_pickle=False) as data:
            return cls(data["tokens"], data["weights"])

    def batch(self, seed: int, start: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and their weights [size, length] of the sequences `start` ... of a seed's endless order.

        The order is a function of (seed, start) alone: where a run stands in its data is one number.
        """
        count = len(self.tokens)
        rows = []
        for index in range(start, start + size):
            epoch, place = divmod(index, count)
            rows.append(_permutation(seed, epoch, count)[place])
        return self.rows(rows)

    def rows(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """The same of the sequences with these numbers."""
        tokens = torch.from_numpy(self.tokens[rows].astype(np.int64))
        weights = torch.from_numpy(self.weights[rows].astype(np.float32))[:, 1:]
        return tokens[:, :-1], tokens[:, 1:].masked_fill(weights == 0, IGNORED), weights


_orders: dict[tuple[int, int, int], NDArray[np.int64]] = {}


def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    key = (seed, epoch, count)
    if key not in _orders:
        _orders.clear()
        _orders[key] = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(count)
    return _orders[key]


def pack(encoded: Iterable[Weighted], length: int, end_of_text: int, vocab: int, *,
         enough: int | None = None) -> Sequences:
    """Fill sequences of length + 1 tokens, each beginning with the end of text that stands before its first document.

    enough: stop once that many sequences are full; None packs everything.
    """
    done: list[tuple[list[int], list[int]]] = []
    open_bins: list[tuple[list[int], list[int]]] = []
    for document in encoded:
        if enough is not None and len(done) >= enough:
            break
        for at in range(0, len(document.ids), length):
            ids, weights = document.ids[at : at + length], document.weights[at : at + length]
            for place, (bin_ids, bin_weights) in enumerate(open_bins):
                if len(bin_ids) + len(ids) <= length + 1:
                    bin_ids += ids
                    bin_weights += weights
                    if len(bin_ids) > length - 4:
                        done.append(open_bins.pop(place))
                    break
            else:
                open_bins.append(([end_of_text, *ids], [0, *weights]))
                if len(open_bins) > _OPEN:
                    fullest = max(range(len(open_bins)), key=lambda i: len(open_bins[i][0]))
                    done.append(open_bins.pop(fullest))
    done += open_bins
    tokens = np.full((len(done), length + 1), end_of_text, dtype=np.uint16 if vocab <= 1 << 16 else np.uint32)
    marks = np.zeros((len(done), length + 1), dtype=np.uint8)
    for row, (ids, weights) in enumerate(done):
        tokens[row, : len(ids)] = ids
        marks[row, : len(ids)] = weights
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

"""How many bits a model needs for a text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F

from ..models.decoder import Decoder


class Tokens(Protocol):
    """A document as token ids; counted[i] says whether ids[i] is the text's own or ends it."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def counted(self) -> list[bool]: ...


@torch.inference_mode()
def document_bits(model: Decoder, documents: Sequence[Tokens], begin: int, *, batch_tokens: int = 4096) -> list[float]:
    """Bits of each document: -log2 p of its counted tokens, each given all tokens before it in its piece.

    A document stands alone: it begins after the token `begin`, as texts do in training. One that is longer than the
    context is read in pieces, each after the first starting from the last half of a context before it, so that every
    token but the earliest is predicted from at least half a context. Bits per byte is their sum over the sum of UTF-8
    bytes; it compares across tokenizers, since every tokenizer must spell the same bytes.
    """
    context = model.spec.context
    pieces: list[tuple[int, list[int], list[bool]]] = []
    for index, document in enumerate(documents):
        ids, counted = [begin, *document.ids], [False, *document.counted]
        at, scored_until = 0, 1
        while scored_until < len(ids):
            piece = ids[at : at + context + 1]
            fresh = [flag and at + i >= scored_until for i, flag in enumerate(counted[at : at + context + 1])]
            pieces.append((index, piece, fresh))
            scored_until = at + len(piece)
            at = scored_until - context // 2 - 1
    bits = [0.0] * len(documents)
    pieces.sort(key=lambda piece: len(piece[1]))
    start = 0
    while start < len(pieces):
        # Shortest first, so a batch is as many pieces as fit when padded to its last one.
        size = 1
        while start + size < len(pieces) and (size + 1) * len(pieces[start + size][1]) <= batch_tokens:
            size += 1
        chunk = pieces[start : start + size]
        longest = len(chunk[-1][1])
        ids_BT = torch.full((size, longest), begin)
        counts_BT = torch.zeros(size, longest, dtype=torch.bool)
        for row, (_, piece, fresh) in enumerate(chunk):
            ids_BT[row, : len(piece)] = torch.tensor(piece)
            counts_BT[row, : len(piece)] = torch.tensor(fresh)
        logits = model(ids_BT[:, :-1]).flatten(0, 1).float()
        nats = F.cross_entropy(logits, ids_BT[:, 1:].flatten(), reduction="none").view(size, -1)
        sums = (nats * counts_BT[:, 1:]).double().sum(1) / math.log(2)
        for (index, _, _), value in zip(chunk, sums.tolist(), strict=True):
            bits[index] += value
        start += size
    return bits

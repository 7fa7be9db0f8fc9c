"""Many documents as one row of tokens without padding: none sees another, and what several begin with is computed once.

Everything but attention treats each token for itself, so tokens of many documents can stand in one row. Attention alone
gathers each document's queries, keys and values, as a cache does in serving (`cache.py`), and is the same kernel
on them. Where answers share their prompt, the prompt's tokens stand in the row once and are gathered for each answer;
gradients add up in them. (The idea: Liu et al. 2025, "Prefix Grouper", arXiv 2506.05433.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from . import ops
from .cache import latent_attention
from .indexer import Index
from .spec import LatentAttention

_MULTIPLE = 8  # of places: what the native kernels' tiles hold


@dataclass(frozen=True)
class Places:
    """The tokens of documents, each at a place of one row; a cache to the layers, with nothing in it from before.

    ids, position: [1, N], what stands at each place and how far it is into its document. buckets: documents of similar
    length together, [D, L]: the places of each, the rest filled with its last. back: for each place [N] where it is in
    the buckets laid end to end.
    """

    ids: Tensor
    position: Tensor
    buckets: tuple[Tensor, ...]
    back: Tensor

    @property
    def length(self) -> int:
        return max(bucket.shape[1] for bucket in self.buckets)

    @property
    def size(self) -> int:
        """How many places there are, padding included."""
        return self.ids.shape[1]

    def attend(self, q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, position_BT: Tensor, *, window: int | None,
               scale: float, sinks_H: Tensor | None = None) -> Tensor:
        """Attention of each place within its document, [1, N, H, D]."""
        found = [ops.attention(*(_taken(x, bucket) for x in (q_BTHD, k_BTKD, v_BTKD)), window=window, scale=scale,
                               sinks_H=sinks_H) for bucket in self.buckets]
        return self._put_back(found)

    def attend_latent(self, q_BTHD: Tensor, latent_BTR: Tensor, k_rope_BTP: Tensor, kv_up: nn.Linear,
                      position_BT: Tensor, *, mixer: LatentAttention, scale: float,
                      index: Index | None = None) -> Tensor:
        """The same for latent attention."""
        found = []
        for bucket in self.buckets:
            q, latent, k_rope = (_taken(x, bucket) for x in (q_BTHD, latent_BTR, k_rope_BTP))
            some = None if index is None else replace(
                index, q_BTHD=_taken(index.q_BTHD, bucket), k_BSD=_taken(index.k_BSD, bucket),
                weight_BTH=_taken(index.weight_BTH, bucket))
            found.append(latent_attention(q, latent, k_rope, kv_up, None, mixer=mixer, scale=scale, index=some))
        return self._put_back(found)

    def _put_back(self, found: Sequence[Tensor]) -> Tensor:
        return torch.cat([one.flatten(0, 1) for one in found]).index_select(0, self.back)[None]


def _taken(x_1N: Tensor, bucket_DL: Tensor) -> Tensor:
    return x_1N[0].index_select(0, bucket_DL.flatten()).unflatten(0, bucket_DL.shape)


def shared(ids_BT: Tensor, length_B: Sequence[int]) -> tuple[Places, Tensor]:
    """Each row's first `length` tokens as a document, equal beginnings once; and each token's place [B, T], 0 where a
    row has ended."""
    known: dict[tuple[int, int], int] = {}
    ids: list[int] = []
    position: list[int] = []
    place_BT = torch.zeros(ids_BT.shape, dtype=torch.long)
    rows, last = ids_BT.tolist(), -1
    documents = []
    for row, (tokens, length) in enumerate(zip(rows, length_B, strict=True)):
        before, path = last, []
        for at, token in enumerate(tokens[:length]):
            place = known.setdefault((before, token), len(ids))
            if place == len(ids):
                ids.append(token)
                position.append(at)
            path.append(place)
            before = place
        place_BT[row, :length] = torch.tensor(path, dtype=torch.long)
        documents.append(path)
    return _places(ids, position, documents, ids_BT.device, _MULTIPLE), place_BT.to(ids_BT.device)


def separate(ids_BT: Tensor, end_of_text: int) -> Places:
    """Packed sequences, as `packing.pack` makes them, with each document for itself: from the end of text that stands
    before it to its own last token. Places are those of the flattened rows."""
    starts = ids_BT == end_of_text
    starts[:, 0] = True
    flat = starts.flatten().nonzero()[:, 0].tolist()
    ends = [*flat[1:], ids_BT.numel()]
    documents = [list(range(start, end)) for start, end in zip(flat, ends, strict=True)]
    position = [at for start, end in zip(flat, ends, strict=True) for at in range(end - start)]
    return _places(ids_BT.flatten().tolist(), position, documents, ids_BT.device)


def _places(ids: list[int], position: list[int], documents: Sequence[Sequence[int]], device: torch.device,
            multiple: int = 1) -> Places:
    by_size: dict[int, list[Sequence[int]]] = {}
    for document in documents:
        if document:
            by_size.setdefault((len(document) - 1).bit_length(), []).append(document)
    padding = -len(ids) % multiple
    back = [0] * (len(ids) + padding)
    buckets, offset = [], 0
    for _, some in sorted(by_size.items()):
        longest = max(map(len, some))
        for document in some:
            for at, place in enumerate(document):
                back[place] = offset + at
            offset += longest
        rows = [[*document, *[document[-1]] * (longest - len(document))] for document in some]
        buckets.append(torch.tensor(rows, device=device))

    def row(values: list[int]) -> Tensor:
        return torch.tensor([values + [0] * padding], device=device)

    return Places(row(ids), row(position), tuple(buckets), torch.tensor(back, device=device))

"""The paged cache as mixers see it, for a step of many sequences' tokens in one row [1, N], and attention over pages.

Bitwise batch invariance: what a query gets must not depend on which tokens share its step, on the chunk that its
prompt was cut into, nor on where its pages lie. So a query's arithmetic is a function of its own position alone: the
plain path computes queries in blocks of QUERIES positions counted from 0 (those of a block that are not in this step
are zeros), each over the same range of keys, in tensors of the same shape.

Shape letters as in `models/ops.py`; N tokens of a step, R rows of the page tables, M pages of a row, P = PAGE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from ...models.indexer import Index
from ...models.spec import LatentAttention
from .. import native
from ..weights import Weights
from .pages import PAGE, Pages

QUERIES = 16


@dataclass(frozen=True)
class Span:
    """Tokens begin..end of a step: consecutive positions of one row, in one block of queries that starts at `block`."""

    begin: int
    end: int
    row: int
    block: int
    offset: int


@dataclass(frozen=True)
class Places:
    """Where the tokens of a step stand: their rows and positions, int64 [N]. A row's tokens are consecutive."""

    row_N: Tensor
    position_N: Tensor

    @staticmethod
    def of(rows: Sequence[int], positions: Sequence[int]) -> Places:
        return Places(torch.tensor(rows), torch.tensor(positions))

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        spans: list[Span] = []
        for i, (row, position) in enumerate(zip(self.row_N.tolist(), self.position_N.tolist(), strict=True)):
            block = position // QUERIES * QUERIES
            if spans and spans[-1].row == row and spans[-1].block == block:
                last = spans.pop()
                spans.append(Span(last.begin, i + 1, row, block, last.offset))
            else:
                spans.append(Span(i, i + 1, row, block, position - block))
        return tuple(spans)


@dataclass(frozen=True)
class PagedIndex:
    """An indexer's queries [N, heads, dim] and weights [N, heads], and its keys in pages [pages, P, 1, dim]."""

    q_NHD: Tensor
    weight_NH: Tensor
    k_pages: Tensor
    top: int


def paged_attention(q_NHD: Tensor, k_pages: Tensor, v_pages: Tensor, table_RM: Tensor, at: Places, *,
                    window: int | None, scale: float, sinks_H: Tensor | None = None,
                    index: PagedIndex | None = None) -> Tensor:
    """What the queries of a step get from the positions up to their own, [N, H, V]; keys and values are in already.

    k_pages: [pages, P, K, D]; v_pages: [pages, P, K, V], perhaps a view of k_pages; both may be strided outside their
    last dimension. table_RM: int32, the page of positions m * P ... of each row, -1 where no query looks. window,
    scale, sinks_H: as in `ops.attention`. index: attend only to the `top` positions that it chooses.
    """
    if index is None and q_NHD.dtype is torch.float32 and native.library() is not None:
        return native.paged_attention(q_NHD, k_pages, v_pages, table_RM, at.row_N, at.position_N, window=window,
                                      scale=scale, sinks_H=sinks_H)
    heads, kv_heads = q_NHD.shape[1], k_pages.shape[2]
    groups = heads // kv_heads
    out = q_NHD.new_empty(q_NHD.shape[0], heads, v_pages.shape[3])
    for span in at.spans:
        low = 0 if window is None else max(0, span.block - window + 1)
        query = torch.arange(span.block, span.block + QUERIES)[:, None]
        key = torch.arange(low, span.block + QUERIES)
        seen = key <= query
        if window is not None:
            seen &= key > query - window
        if index is not None:
            seen &= _chosen(index, table_RM, span, low, seen)
        q = _block(q_NHD, span).unflatten(1, (kv_heads, groups)).permute(1, 2, 0, 3).flatten(1, 2)
        k = _gather(k_pages, table_RM, span, low).permute(1, 2, 0)
        scores = (torch.bmm(q, k) * scale).unflatten(1, (groups, QUERIES)).masked_fill(~seen, float("-inf"))
        if sinks_H is not None:
            sink = sinks_H.view(kv_heads, groups, 1, 1).expand(-1, -1, QUERIES, 1)
            scores = torch.cat((sink.to(scores.dtype), scores), dim=-1)
        shares = scores.softmax(-1)[..., -len(key) :].flatten(1, 2)
        mixed = torch.bmm(shares, _gather(v_pages, table_RM, span, low).transpose(0, 1))
        mixed = mixed.unflatten(1, (groups, QUERIES)).permute(2, 0, 1, 3).flatten(1, 2)
        out[span.begin : span.end] = mixed[span.offset : span.offset + span.end - span.begin]
    return out


class HeadLinear:
    """Each head's vector times its own matrix [H, D, E]; bitwise the same for a token in any step."""

    def __init__(self, weight_HDE: Tensor) -> None:
        self.shape = weight_HDE.shape[0], weight_HDE.shape[2]
        packed = native.library() is not None
        self.packed = [Weights(one.T, None, "fp32") for one in weight_HDE] if packed else []
        self.plain = None if packed else weight_HDE.contiguous()

    def __call__(self, x_NHD: Tensor, at: Places) -> Tensor:
        """[N, H, E]."""
        out = x_NHD.new_empty(len(x_NHD), *self.shape)
        if self.plain is None:
            step, x, y = x_NHD.stride(), x_NHD.data_ptr(), out.data_ptr()
            for head, weights in enumerate(self.packed):
                native.call("linear", weights.matrix, x + 4 * head * step[1], step[0], len(x_NHD),
                            y + 4 * head * self.shape[1], out.stride(0))
            return out
        for span in at.spans:
            product = torch.bmm(_block(x_NHD, span).transpose(0, 1), self.plain).transpose(0, 1)
            out[span.begin : span.end] = product[span.offset : span.offset + span.end - span.begin]
        return out


def _block(x_N: Tensor, span: Span) -> Tensor:
    """The rows of a span at their places in a block of QUERIES, zeros elsewhere."""
    block = x_N.new_zeros(QUERIES, *x_N.shape[1:])
    block[span.offset : span.offset + span.end - span.begin] = x_N[span.begin : span.end]
    return block


def _gather(pages: Tensor, table_RM: Tensor, span: Span, low: int) -> Tensor:
    """Entries of positions from `low` to the end of the span's block, [S, K, D], zeros after its last token."""
    last = span.block + span.offset + span.end - span.begin
    held = pages[table_RM[span.row, low // PAGE : (last - 1) // PAGE + 1].long()].flatten(0, 1)
    out = pages.new_zeros(span.block + QUERIES - low, *pages.shape[2:])  # always a copy: alignment can change a product
    out[: last - low] = held[low % PAGE : low % PAGE + last - low]
    return out


def _chosen(index: PagedIndex, table_RM: Tensor, span: Span, low: int, seen: Tensor) -> Tensor:
    """True for the positions chosen for each query of a block, [QUERIES, S] (the formula is in `spec.Indexer`)."""
    if seen.shape[1] <= index.top:
        return seen
    keys = _gather(index.k_pages, table_RM, span, low)[:, 0].T.float()
    q = _block(index.q_NHD, span).transpose(0, 1).float()
    weight = _block(index.weight_NH, span).T.float()
    score = (torch.bmm(q, keys.expand(len(q), -1, -1)).relu() * weight[..., None]).sum(0)
    best = score.masked_fill(~seen, float("-inf")).topk(index.top, dim=-1, sorted=False).indices
    return torch.zeros_like(seen).scatter_(-1, best, True)


class PagedLayer:
    """The pages of one layer (`models.cache.MixerCache`), for the step that `PagedCache.place` announced."""

    def __init__(self, shared: PagedCache, kind: int, tensors: tuple[Tensor, ...]) -> None:
        self.shared, self.kind, self.tensors = shared, kind, tensors
        self.absorbed: tuple[HeadLinear, HeadLinear] | None = None

    @property
    def length(self) -> int:
        return self.shared.context

    def _write(self, *entries_N: Tensor) -> None:
        for pages, entry in zip(self.tensors, entries_N, strict=True):
            pages.view(-1, *pages.shape[2:])[self.shared.slots(self.kind)] = entry

    def attend(self, q_BTHD: Tensor, k_BTKD: Tensor, v_BTKD: Tensor, position_BT: Tensor, *, window: int | None,
               scale: float, sinks_H: Tensor | None = None) -> Tensor:
        self._write(k_BTKD[0], v_BTKD[0])
        k_pages, v_pages = self.tensors
        return paged_attention(q_BTHD[0], k_pages, v_pages, self.shared.tables[self.kind], self.shared.at,
                               window=window, scale=scale, sinks_H=sinks_H)[None]

    def attend_latent(self, q_BTHD: Tensor, latent_BTR: Tensor, k_rope_BTP: Tensor, kv_up: nn.Linear,
                      position_BT: Tensor, *, mixer: LatentAttention, scale: float,
                      index: Index | None = None) -> Tensor:
        """Over the latents themselves, as one key/value head (DeepSeek-V2, section 2.1.2): the query takes in what
        would make keys, the output what would make values."""
        at, table = self.shared.at, self.shared.tables[self.kind]
        joined = torch.cat((latent_BTR, k_rope_BTP), dim=-1)[0, :, None]
        self._write(joined, *(() if index is None else (index.k_BSD[0, :, None],)))
        if self.absorbed is None:
            up = kv_up.weight.unflatten(0, (mixer.heads, -1))  # [H, nope + v, R]
            self.absorbed = HeadLinear(up[:, : mixer.nope_dim]), HeadLinear(up[:, mixer.nope_dim :].transpose(1, 2))
        into, out_of = self.absorbed
        nope, rope = q_BTHD[0].split([mixer.nope_dim, mixer.rope_dim], dim=-1)
        q = torch.cat((into(nope, at), rope), dim=-1)
        pages = self.tensors[0]
        paged = None if index is None else PagedIndex(index.q_BTHD[0], index.weight_BTH[0], self.tensors[1], index.top)
        mixed = paged_attention(q, pages, pages[..., : mixer.kv_rank], table, at, window=mixer.window, scale=scale,
                                index=paged)
        return out_of(mixed, at)[None]


class PagedCache:
    """The pages of all layers: one tensor [pages, P, ...] for each shape of each layer, in float32.

    layers: what `Decoder.hidden` takes, and after the trunk's layers those of MTP.
    """

    def __init__(self, pages: Pages, context: int) -> None:
        self.context = context
        self.tables = [torch.from_numpy(table) for table in pages.tables]
        self.at = Places.of([], [])
        self._slots: dict[int, Tensor] = {}
        layers: dict[int, PagedLayer] = {}
        for i, (kind, pool) in enumerate(zip(pages.kinds, pages.pools, strict=True)):
            for layer in kind.layers:
                layers[layer] = PagedLayer(self, i, tuple(_zeros(pool.pages, PAGE, *shape) for shape in kind.shapes))
        self.layers = [layers[number] for number in sorted(layers)]

    def place(self, at: Places) -> None:
        """Announce the tokens of the next step, for which pages are held."""
        self.at, self._slots = at, {}

    def slots(self, kind: int) -> Tensor:
        """Where the entries of the announced tokens lie among those of all pages of a kind, [N]."""
        if kind not in self._slots:
            page_N = self.tables[kind][self.at.row_N, self.at.position_N // PAGE].long()
            self._slots[kind] = page_N * PAGE + self.at.position_N % PAGE
        return self._slots[kind]


def _zeros(*shape: int) -> Tensor:
    """Zeros that take no memory before they are written, aligned for vector loads."""
    room = np.zeros(4 * prod(shape) + 64, dtype=np.uint8)  # calloc; torch.zeros would write them all
    begin = -room.ctypes.data % 64
    return torch.from_numpy(room[begin : begin + 4 * prod(shape)].view(np.float32)).view(shape)

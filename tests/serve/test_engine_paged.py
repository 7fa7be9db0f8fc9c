"""Attention over pages against attention over whole sequences."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor

from dokja.models import ops
from dokja.serve import native
from dokja.serve.engine.paged import HeadLinear, PagedCache, Places, paged_attention
from dokja.serve.engine.pages import PAGE, Kind, Pages

CONTEXT = 200


@pytest.fixture(autouse=True, params=["plain", "native"])
def _kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "plain":
        monkeypatch.setattr(native, "library", lambda: None)
    elif native.library() is None:
        pytest.skip("no C++ compiler, or DOKJA_NATIVE=0")


def scattered(entries: dict[int, Tensor], rows: int) -> tuple[Tensor, Tensor]:
    """Pages in random order that hold each row's entries [S, ...], and their table."""
    counts = {row: -(-len(held) // PAGE) for row, held in entries.items()}
    order = torch.randperm(sum(counts.values()) + 3, generator=torch.Generator().manual_seed(0)).tolist()
    some = next(iter(entries.values()))
    pages = torch.full((len(order), PAGE, *some.shape[1:]), float("nan"))  # what nobody may look at
    table = torch.full((rows, CONTEXT // PAGE + 1), -1, dtype=torch.int32)
    for row, held in entries.items():
        for page in range(counts[row]):
            table[row, page] = order.pop()
            part = held[page * PAGE : (page + 1) * PAGE]
            pages[table[row, page], : len(part)] = part
    return pages, table


@pytest.mark.parametrize("window", [None, 1, 16, 37])
@pytest.mark.parametrize(("heads", "kv_heads", "sinks"), [(4, 4, False), (6, 2, False), (4, 1, True)])
def test_every_query_gets_what_the_whole_sequence_gives_it(window: int | None, heads: int, kv_heads: int,
                                                          sinks: bool) -> None:
    """Chunks and single tokens of rows of many lengths in one step, on pages in any order."""
    torch.manual_seed(0)
    lengths = {0: 1, 1: 33, 3: 150, 4: 16}
    begins = {0: 0, 1: 20, 3: 149, 4: 3}
    q, k, v = ({row: torch.randn(length, count, 8) for row, length in lengths.items()}
               for count in (heads, kv_heads, kv_heads))
    sink = torch.randn(heads) if sinks else None
    k_pages, table = scattered(k, 5)
    v_pages, _ = scattered(v, 5)
    rows = [row for row in lengths for _ in range(begins[row], lengths[row])]
    positions = [position for row in lengths for position in range(begins[row], lengths[row])]
    got = paged_attention(torch.cat([q[row][begins[row] :] for row in lengths]), k_pages, v_pages, table,
                          Places.of(rows, positions), window=window, scale=0.3, sinks_H=sink)
    expected = [ops.attention(q[row][None], k[row][None], v[row][None], window=window, scale=0.3,
                              sinks_H=sink)[0, begins[row] :] for row in lengths]
    torch.testing.assert_close(got, torch.cat(expected), rtol=1e-5, atol=1e-5)


def test_a_query_keeps_its_bits_in_any_chunk_and_on_any_page() -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(CONTEXT, heads, 24) for heads in (6, 2, 2))
    results = []
    for chunk, row in [(CONTEXT, 0), (1, 2), (7, 1), (64, 3)]:
        k_pages, table = scattered({row: k}, 4)
        v_pages, _ = scattered({row: v}, 4)
        parts = [paged_attention(q[begin : begin + chunk], k_pages, v_pages, table,
                                 Places.of([row] * len(q[begin : begin + chunk]),
                                           list(range(begin, min(begin + chunk, CONTEXT)))), window=70, scale=0.2)
                 for begin in range(0, CONTEXT, chunk)]
        results.append(torch.cat(parts))
    assert all(torch.equal(results[0], result) for result in results)


def test_a_heads_matrix_is_its_own() -> None:
    x, weight = torch.randn(40, 3, 12)[..., :8], torch.randn(3, 8, 5)
    at = Places.of([0] * 30 + [2] * 10, [*range(5, 35), *range(10)])
    linear = HeadLinear(weight)
    got = linear(x, at)
    torch.testing.assert_close(got, torch.einsum("nhd,hde->nhe", x, weight), rtol=1e-5, atol=1e-5)
    alone = linear(x[33:34], Places.of([2], [3]))
    assert torch.equal(alone[0], got[33])


@pytest.mark.timed
def test_a_window_costs_at_32k_what_it_costs_at_1k() -> None:
    """Eight rows that decode in a layer of 128 positions."""
    context, near, far = 32_768, range(8), range(8, 16)
    pages = Pages([Kind(128, ((2, 64), (2, 64)), (0,))], [16 * 12], 16, context)
    for row in (*near, *far):
        for position in range(PAGE, (1024 if row in near else context - PAGE) + 1, PAGE):
            pages.trim(row, position - PAGE)
            assert pages.reserve(row, position)
    cache = PagedCache(pages, context)
    q, k = torch.randn(1, 8, 8, 64), torch.randn(1, 8, 2, 64)
    best = {near: 1.0, far: 1.0}
    for _ in range(30):
        for rows, position in ((near, 1023), (far, context - PAGE - 1)):
            begin = time.perf_counter()
            cache.place(Places.of(list(rows), [position] * 8))
            cache.layers[0].attend(q, k, k, cache.at.position_N[None], window=128, scale=1.0)
            best[rows] = min(best[rows], time.perf_counter() - begin)
    assert best[far] <= 1.3 * best[near]

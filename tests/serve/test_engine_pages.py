"""Bookkeeping of pages: what each kind of attention holds, what prefixes are found again. No tensor is made."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dokja.models.cost import cache_numbers, cache_values
from dokja.models.families import FAMILIES
from dokja.serve.engine.pages import PAGE, Kind, Pages, extend_keys, kinds_of
from dokja.serve.engine.sampler import Counts
from dokja.serve.engine.scheduler import Scheduler, Sequence
from dokja.serve.engine.sizing import Limits, page_totals
from dokja.serve.engine.types import Request, SamplingParams

LONG = 32_768


@pytest.mark.parametrize("name", FAMILIES)
def test_a_page_holds_what_the_spec_says(name: str) -> None:
    spec = FAMILIES[name].spec
    for mtp in (False, True):
        kinds, layers = kinds_of(spec, mtp=mtp), (*spec.layers, *(spec.mtp if mtp else ()))
        assert sorted(layer for kind in kinds for layer in kind.layers) == list(range(len(layers)))
        assert sum(kind.page_values for kind in kinds) == PAGE * sum(cache_values(layer.mixer) for layer in layers)


@pytest.mark.parametrize("name", ["k-exaone", "exaone-4", "vaetki"])
def test_official_models_hold_what_their_specs_say_at_32k(name: str) -> None:
    """Prefilled in chunks, then decoded past 32K; also with prefixes kept for others."""
    spec = FAMILIES[name].spec
    kinds = kinds_of(spec)
    assert {kind.window is None for kind in kinds} == {True, False}
    limits = Limits(context=LONG + 64, tokens=LONG + 64, rows=2, budget=512)
    pages = Pages(kinds, page_totals(kinds, limits), limits.rows, limits.context)
    keys: list[bytes] = []
    extend_keys(keys, range(LONG), "")
    for computed in [*range(512, LONG + 1, 512), *range(LONG + 1, LONG + 50)]:
        assert pages.reserve(0, computed)
        pages.publish(0, keys, min(computed, LONG))
        pages.trim(0, computed)
        if computed >= LONG:
            assert pages.values == pytest.approx(cache_numbers(spec, computed), rel=0.03)
    pages.release(0)
    assert pages.values == 0
    assert pages.free == pages.total


def hybrid(window: int = 40) -> list[Kind]:
    return [Kind(None, ((1, 4),), (0,)), Kind(window, ((1, 4),), (1,))]


def test_a_row_that_begins_alike_shares_pages_of_every_kind() -> None:
    pages = Pages(hybrid(), [20, 20], 3, 256)
    tokens = list(range(200))
    keys: list[bytes] = []
    extend_keys(keys, tokens, "")
    pages.reserve(0, 100)
    pages.publish(0, keys, 100)
    pages.trim(0, 100)
    free = pages.free
    assert pages.attach(1, keys) == 96
    assert pages.free == free  # nothing was taken
    assert (pages.tables[0][1] == pages.tables[0][0])[:6].all()
    held = pages.tables[1][1] >= 0
    assert held.tolist()[:7] == [False] * 3 + [True] * 3 + [False]  # a query at 96 sees 57 and later: pages 3 to 5
    pages.release(0)
    pages.release(1)
    assert pages.free == pages.total


def test_a_hit_is_shortened_to_where_every_kind_can_serve() -> None:
    """Of two prefixes, both whole behind global layers, only pages in sight of what ran on are kept behind windows."""
    pages = Pages(hybrid(), [20, 4], 3, 256)
    keys: list[bytes] = []
    extend_keys(keys, range(112), "")
    for computed in range(16, 113, 16):  # page by page, the window's pool being small
        assert pages.reserve(0, computed)
        pages.publish(0, keys, computed)
        pages.trim(0, computed)
    assert pages.attach(1, keys[:6]) == 96
    pages.release(1)
    # Pages 0 and 1 of the window's kind were given to others, so a prefix of 32 or 48 tokens cannot be seen back.
    assert pages.attach(1, keys[:3]) == 0
    pages.release(1)
    assert pages.attach(1, [*keys[:6], b"another"]) == 96


def test_keys_name_all_tokens_before_them_and_their_salt() -> None:
    def last(tokens: list[int], salt: str = "") -> bytes:
        keys: list[bytes] = []
        extend_keys(keys, tokens, salt)
        return keys[-1]

    tokens = list(range(48))
    assert last(tokens) == last([*tokens, 7])  # an unfinished page has no key
    assert last(tokens) != last([1, *tokens[1:]])
    assert last(tokens) != last(tokens, "adapter")


def test_the_longest_unused_prefix_gives_way_and_its_end_before_its_beginning() -> None:
    pages = Pages([Kind(None, ((1, 4),), (0,))], [6], 3, 256)
    old: list[bytes] = []
    new: list[bytes] = []
    extend_keys(old, range(48), "old")
    extend_keys(new, range(48), "new")
    for keys in (old, new):
        pages.reserve(0, 48)
        pages.publish(0, keys, 48)
        pages.release(0)
    pages.reserve(0, 16)
    assert pages.attach(1, old) == 32
    assert pages.attach(2, new) == 48


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_page_is_lost_or_held_twice(data: st.DataObject) -> None:
    """Random growth, sharing and ends: every page is free, kept or held, by exactly those rows that list it."""
    pages = Pages(hybrid(data.draw(st.integers(1, 50))), [24, 12], 4, 128)
    texts = [[0] * 128, [0] * 40 + [1] * 88]
    text: dict[int, int] = {}
    at: dict[int, int] = {}
    for _ in range(data.draw(st.integers(1, 40))):
        row = data.draw(st.integers(0, 3))
        if row not in at:
            text[row] = data.draw(st.integers(0, 1))
            keys: list[bytes] = []
            extend_keys(keys, texts[text[row]], "")
            at[row] = pages.attach(row, keys[: data.draw(st.integers(0, 7))])
        elif data.draw(st.booleans()):
            upto = min(128, at[row] + data.draw(st.integers(1, 40)))
            if pages.reserve(row, upto):
                at[row] = upto
                keys = []
                extend_keys(keys, texts[text[row]][:upto], "")
                pages.publish(row, keys, upto)
                pages.trim(row, upto)
        else:
            pages.release(row)
            del at[row]
        for kind, table, pool in zip(pages.kinds, pages.tables, pages.pools, strict=True):
            held = {page for page in table.flatten().tolist() if page >= 0}
            assert len(held) + pool.available == pool.pages
            for own, position in at.items():
                seen = range(0 if kind.window is None else max(0, position - kind.window + 1), position)
                assert all(table[own, p // PAGE] >= 0 for p in seen)
    for row in at:
        pages.release(row)
    assert pages.free == pages.total


def test_a_shared_prefix_takes_room_once() -> None:
    """Eight requests of 112 tokens, alike in 96, in pages for three such requests that share nothing."""
    pages = Pages([Kind(None, ((1, 4),), (0,))], [21], 8, 256)
    scheduler = Scheduler(pages, rows=8, budget=112)
    for i in range(8):
        tokens = [*range(96), *[i] * 16]
        request = Request(f"r{i}", tuple(tokens), SamplingParams(max_tokens=1))
        scheduler.add(Sequence(i, request, tokens, Counts(tokens)))
    running = []
    for _ in range(2):
        works = scheduler.plan()
        scheduler.advance(works)
        running.append(len(scheduler.running))
    assert running == [1, 8]
    assert pages.free == 21 - 7 - 7

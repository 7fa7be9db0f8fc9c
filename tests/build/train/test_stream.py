"""Sequences from shards: every one once an epoch, sources in their shares, a place is found from its number alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dokja.build.train.stream import StageMix, TokenStream, permuted
from dokja.errors import DokjaError


def shards(first: int, *lengths: int) -> list[np.ndarray]:
    """Shards whose tokens count up, so that a sequence says where it was cut."""
    starts = np.cumsum([0, *lengths[:-1]]) + first
    return [np.arange(start, start + length, dtype=np.uint32) for start, length in zip(starts, lengths, strict=True)]


@given(st.integers(1, 300), st.integers(0, 2**62), st.integers(0, 5))
def test_a_permutation_has_every_place_once(count: int, seed: int, epoch: int) -> None:
    assert sorted(permuted(i, count, seed, "x", epoch) for i in range(count)) == list(range(count))


def test_permutations_look_random() -> None:
    """Neighbours are far apart, seeds and epochs differ, and no place stays more often than chance has it."""
    count = 1000
    order = [permuted(i, count, 1, "a", 0) for i in range(count)]
    assert abs(np.corrcoef(order, range(count))[0, 1]) < 0.1
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.1
    assert sum(i == place for i, place in enumerate(order)) < 8
    assert order != [permuted(i, count, 1, "a", 1) for i in range(count)]
    assert order != [permuted(i, count, 2, "a", 0) for i in range(count)]


def test_an_epoch_reads_every_sequence_of_every_shard_once() -> None:
    stream = TokenStream({"law": shards(0, 41, 25, 60)}, [StageMix(None, {"law": 1.0})], 8)
    begins = sorted(int(stream.sequence(7, place)[0]) for place in range(5 + 3 + 7))
    assert begins == [*range(0, 40, 8), *range(41, 65, 8), *range(66, 122, 8)]
    second = sorted(int(stream.sequence(7, place)[0]) for place in range(15, 30))
    assert second == begins
    assert [stream.sequence(7, place)[0] for place in range(15)] != [stream.sequence(7, place)[0]
                                                                     for place in range(15, 30)]


def test_targets_are_the_next_tokens() -> None:
    stream = TokenStream({"law": shards(0, 100)}, [StageMix(None, {"law": 1.0})], 8)
    ids, targets, weights = stream.batch(1, 3, 4)
    assert ids.shape == targets.shape == weights.shape == (4, 8)
    assert (targets == ids + 1).all()
    assert (weights == 1).all()


def test_shares_hold_in_every_block_and_evenly_within() -> None:
    stream = TokenStream({"a": shards(0, 900), "b": shards(0, 900), "c": shards(0, 900)},
                         [StageMix(None, {"a": 0.5, "b": 0.3, "c": 0.2})], 8)
    names = [stream.locate(place)[0] for place in range(2048)]
    assert Counter(names[:1024]) == Counter(names[1024:])
    assert Counter(names[:1024])["a"] == 512
    for begin in range(0, 2000, 40):
        assert abs(Counter(names[begin : begin + 40])["b"] - 12) <= 2


def test_stages_follow_each_other_and_no_source_is_read_twice_at_their_borders() -> None:
    stream = TokenStream({"a": shards(0, 4000), "b": shards(10_000, 4000)},
                         [StageMix(100, {"a": 1.0}), StageMix(100, {"a": 0.5, "b": 0.5}),
                          StageMix(None, {"b": 1.0})], 8)
    located = [stream.locate(place) for place in range(400)]
    assert {name for name, _ in located[:100]} == {"a"}
    assert {name for name, _ in located[200:]} == {"b"}
    for name in "ab":
        assert [index for source, index in located if source == name] == list(range(sum(s == name for s, _ in located)))


def test_what_cannot_be_read_is_said() -> None:
    with pytest.raises(DokjaError, match="the source law has no 9 tokens in a row"):
        TokenStream({"law": shards(0, 8)}, [StageMix(None, {"law": 1.0})], 8)
    with pytest.raises(DokjaError, match="only the last stage"):
        TokenStream({"law": shards(0, 80)}, [StageMix(None, {"law": 1.0})] * 2, 8)

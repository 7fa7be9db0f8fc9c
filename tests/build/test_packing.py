"""Packing loses nothing, doubles nothing, and counts what should count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count as count_from
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dokja.build.document import Document, Turn
from dokja.build.packing import IGNORED, Sequences, Weighted, encode, interleave, pack
from dokja.build.tokenizer import train_tokenizer
from dokja.models.codec import Codec
from dokja.models.families import family

END, LENGTH = 0, 24
# Documents end with the end of text, as `Codec` makes them; ids of 1 ... 9.
DOCUMENT = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 5)), max_size=80).map(
    lambda pairs: Weighted([*(token for token, _ in pairs), END], [*(weight for _, weight in pairs), 1]))


@settings(deadline=None, max_examples=150)
@given(st.lists(DOCUMENT, min_size=1, max_size=130))
def test_every_token_is_packed_once_with_its_weight(documents: list[Weighted]) -> None:
    """The multiset of (token, weight) is the given one; all else is padding, ends of text that do not count."""
    packed = pack(documents, LENGTH, END, 10)
    assert packed.tokens.shape == packed.weights.shape == (len(packed.tokens), LENGTH + 1)
    wanted = Counter(pair for document in documents for pair in zip(document.ids, document.weights, strict=True))
    found = Counter(zip(packed.tokens.ravel().tolist(), packed.weights.ravel().tolist(), strict=True))
    assert not wanted - found
    assert set(found - wanted) == {(END, 0)}


@settings(deadline=None, max_examples=150)
@given(st.lists(DOCUMENT, min_size=1, max_size=130))
def test_every_sequence_begins_with_the_end_of_text_which_nobody_predicts(documents: list[Weighted]) -> None:
    packed = pack(documents, LENGTH, END, 10)
    assert (packed.tokens[:, 0] == END).all()
    assert not packed.weights[:, 0].any()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=100))
def test_documents_stay_in_one_piece_unless_longer_than_a_sequence(lengths: list[int]) -> None:
    """Each document repeats a token of its own. Whatever stands in a sequence follows an end of text."""
    documents = [Weighted([i] * (length - 1) + [END], [1] * length) for i, length in enumerate(lengths, start=1)]
    packed = pack(documents, LENGTH, END, len(lengths) + 1)
    for i, length in enumerate(lengths, start=1):
        pieces = []
        for row in packed.tokens:
            places = np.flatnonzero(row == i)
            if len(places):
                pieces.append(len(places))
                assert places[-1] - places[0] + 1 == len(places)
                assert row[places[0] - 1] == END
        expected = [min(LENGTH, length - 1 - at) for at in range(0, length - 1, LENGTH)]  # its end is not of its token
        assert sorted(pieces) == sorted(expected)


def test_little_is_padding() -> None:
    draws = np.random.Generator(np.random.PCG64(0))
    documents = [Weighted([1] * int(n) + [END], [1] * (int(n) + 1)) for n in draws.integers(5, 60, size=2000)]
    packed = pack(documents, 256, END, 10)
    assert sum(len(document.ids) for document in documents) > 0.97 * packed.tokens.size


def test_packing_stops_when_it_has_enough() -> None:
    read: list[int] = []

    def documents() -> Iterator[Weighted]:
        for i in range(1000):
            read.append(i)
            yield Weighted([1] * 11 + [END], [1] * 12)

    packed = pack(documents(), LENGTH, END, 10, enough=20)
    assert len(packed.tokens) >= 20
    assert len(read) < 100
    assert len(pack([Weighted([1, END], [1, 1])], LENGTH, END, 10, enough=20).tokens) == 1


def test_a_vocabulary_too_large_for_two_bytes_takes_four() -> None:
    ids = [1 << 16, 5, END]
    packed = pack([Weighted(ids, [1] * 3)], LENGTH, END, (1 << 16) + 1)
    assert packed.tokens[0, : len(ids) + 1].tolist() == [END, *ids]
    assert pack([], LENGTH, END, 1 << 16).tokens.dtype == np.uint16


def sequences(rows: int) -> Sequences:
    """Row i holds the token i + 1 throughout; the weights of places are 0, 1, 2, 0, 1, 2, ..."""
    tokens = np.repeat(np.arange(1, rows + 1, dtype=np.uint16)[:, None], LENGTH + 1, axis=1)
    return Sequences(tokens, np.tile((np.arange(LENGTH + 1) % 3).astype(np.uint8), (rows, 1)))


def rows_of(data: Sequences, seed: int, start: int, size: int) -> list[int]:
    return data.batch(seed, start, size)[0][:, 0].tolist()


@given(st.integers(0, 2**62), st.integers(1, 30))
def test_an_epoch_is_every_sequence_once_in_an_order_of_its_own(seed: int, rows: int) -> None:
    data = sequences(rows)
    epochs = [rows_of(data, seed, epoch * rows, rows) for epoch in range(3)]
    assert all(sorted(epoch) == list(range(1, rows + 1)) for epoch in epochs)
    if rows > 15:
        assert epochs[0] != epochs[1] != epochs[2]
        assert rows_of(data, seed + 1, 0, rows) != epochs[0]


@given(st.integers(0, 99), st.integers(0, 40), st.integers(1, 20))
def test_the_order_is_a_function_of_seed_and_start(seed: int, start: int, size: int) -> None:
    """Batches may be asked for in any order and size, over the ends of epochs."""
    data = sequences(7)
    one_by_one = [rows_of(data, seed, at, 1)[0] for at in reversed(range(start, start + size))][::-1]
    assert rows_of(data, seed, start, size) == one_by_one


def test_targets_are_the_next_tokens_with_their_weights() -> None:
    tokens = np.arange(2 * (LENGTH + 1), dtype=np.uint16).reshape(2, -1)
    inputs, targets, weights = Sequences(tokens, (tokens % 3).astype(np.uint8)).batch(0, 0, 2)
    assert inputs.shape == targets.shape == weights.shape == (2, LENGTH)
    following = inputs + 1
    assert (weights == following % 3).all()
    assert (targets == following.masked_fill(weights == 0, IGNORED)).all()


def test_sequences_survive_their_file(tmp_path: Path) -> None:
    data = sequences(5)
    data.save(tmp_path / "sequences.npz")
    back = Sequences.load(tmp_path / "sequences.npz")
    assert (back.tokens == data.tokens).all()
    assert (back.weights == data.weights).all()
    assert [path.name for path in tmp_path.iterdir()] == ["sequences.npz"]


DOCUMENTS = [
    Document("korean/story", text="옛날에 나무꾼이 살았습니다."),
    Document("exercise/sum", turns=(Turn("user", "3 더하기 4는?"), Turn("assistant", "7입니다."),
                                    Turn("user", "5 빼기 2는?"), Turn("assistant", "3입니다.")),
             exercise=True),
    Document("korean/conversation", turns=(Turn("user", "안녕?"), Turn("assistant", "네, 안녕하세요."))),
]


@pytest.fixture(scope="module")
def codec() -> Codec:
    return train_tokenizer(DOCUMENTS * 20, 400, family("k-exaone").chat, max_bytes=10**6)


def text_by_weight(codec: Codec, document: Document, answer_weight: int = 1) -> dict[int, str]:
    """What a document says at each weight, markers included."""
    encoded = next(encode(codec, [document], answer_weight=answer_weight))
    return {weight: codec.tokenizer.decode([index for index, its in zip(encoded.ids, encoded.weights, strict=True)
                                            if its == weight], skip_special_tokens=False)
            for weight in sorted(set(encoded.weights))}


def test_of_running_text_everything_counts_once(codec: Codec) -> None:
    assert text_by_weight(codec, DOCUMENTS[0], 5) == {1: "옛날에 나무꾼이 살았습니다.<|endoftext|>"}


def test_in_exercises_the_answers_count_more_and_nothing_else_does(codec: Codec) -> None:
    assert text_by_weight(codec, DOCUMENTS[1], 5) == {
        1: "<|user|>\n3 더하기 4는?<|endofturn|>\n<|assistant|>\n\n"
           "<|user|>\n5 빼기 2는?<|endofturn|>\n<|assistant|>\n\n<|endoftext|>",
        5: "7입니다.<|endofturn|>3입니다.<|endofturn|>",
    }


def test_in_conversations_all_that_is_said_counts_and_no_marker_before_it(codec: Codec) -> None:
    assert text_by_weight(codec, DOCUMENTS[2], 5) == {
        0: "<|user|>\n\n<|assistant|>\n\n<|endoftext|>",
        1: "안녕?<|endofturn|>네, 안녕하세요.<|endofturn|>",
    }


def test_a_document_is_written_as_its_family_writes_it(codec: Codec) -> None:
    assert codec.tokenizer.decode(next(encode(codec, [DOCUMENTS[1]])).ids, skip_special_tokens=False) == (
        "<|user|>\n3 더하기 4는?<|endofturn|>\n<|assistant|>\n7입니다.<|endofturn|>\n"
        "<|user|>\n5 빼기 2는?<|endofturn|>\n<|assistant|>\n3입니다.<|endofturn|>\n<|endoftext|>")


def test_encoding_in_batches_changes_nothing(codec: Codec) -> None:
    many = [DOCUMENTS[i % 3] for i in range(2500)]
    assert list(encode(codec, many)) == [next(encode(codec, [DOCUMENTS[i % 3]])) for i in range(3)] * 833 + [
        next(encode(codec, [DOCUMENTS[0]]))]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6])
def test_exercises_are_about_their_share_of_the_characters(share: float) -> None:
    texts = [Document("korean/story", text="가" * (50 + 37 * i % 400)) for i in range(600)]

    def exercises() -> list[Document]:
        return [Document(f"exercise/{i}", text="나" * (10 + i % 25)) for i in range(40_000)]

    mixed = list(interleave(texts, iter(exercises()), share, seed=1))
    assert [document for document in mixed if document.source == "korean/story"] == texts
    assert [document for document in mixed if document.source != "korean/story"] == exercises()[: len(mixed) - 600]
    drawn = sum(len(document.text) for document in mixed if document.source != "korean/story")
    assert drawn / sum(len(document.text) for document in mixed) == pytest.approx(share, rel=0.05)
    assert mixed == list(interleave(texts, iter(exercises()), share, seed=1))
    assert mixed != list(interleave(texts, iter(exercises()), share, seed=2))


def test_exercises_stand_between_the_texts_not_at_the_end() -> None:
    texts = [Document("korean/story", text="가" * 100) for _ in range(100)]
    exercises = (Document("exercise/x", text=f"{i:020d}") for i in count_from())
    mixed = list(interleave(texts, exercises, 0.5, seed=0))
    half = sum(document.source == "exercise/x" for document in mixed[: len(mixed) // 2])
    assert half == pytest.approx(sum(document.source == "exercise/x" for document in mixed) / 2, rel=0.1)

"""The tokenizer is a function of its text, spells any text, and keeps digits and lone jamo apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dokja.build.document import Document
from dokja.build.tokenizer import train_tokenizer
from dokja.models.codec import Codec
from dokja.models.families import family

CHAT = family("solar-open").chat
TEXTS = ["2024년 3월 15일에 12345원을 냈습니다.", "ㄱㄴㄷ ㅏㅑㅓ ㅋㅋㅋㅋ", "나는 학교에 갑니다. 학교에서 만납니다.",
         "hello world, hello Korea 100%"]


def documents() -> Iterator[Document]:
    return (Document("test", text=text) for _ in range(50) for text in TEXTS)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return train_tokenizer(documents(), 420, CHAT, max_bytes=10**6)


def test_the_same_text_gives_the_same_tokenizer(codec: Codec) -> None:
    again = train_tokenizer(documents(), 420, CHAT, max_bytes=10**6)
    assert again.tokenizer.to_str() == codec.tokenizer.to_str()


def test_the_vocabulary_holds_bytes_markers_and_words_and_no_more_than_asked(codec: Codec) -> None:
    assert 256 + 1 + len(CHAT.special) < codec.vocab <= 420
    assert len(codec.encode("학교에")) < len("학교에".encode())


def test_only_the_first_bytes_are_read() -> None:
    read: list[int] = []

    def counting() -> Iterator[Document]:
        for i in range(1000):
            read.append(i)
            yield Document("test", text="가나다라마바사아자차")  # 30 bytes

    train_tokenizer(counting(), 300, CHAT, max_bytes=300)
    assert len(read) == 11


def test_the_markers_of_a_short_conversation_cost_less_than_what_is_said_in_it(codec: Codec) -> None:
    # Spelled out, user and assistant made twenty tokens around the eight of "47 읽기": such teams learnt half as much.
    assert len(codec.prompt([("user", "")])) <= 1 + 3 + 1 + 3
    for name in ("ax-k1", "hyperclova-x-seed-think", "k-exaone", "vaetki"):
        other = train_tokenizer(documents(), 420, family(name).chat, max_bytes=10**6)
        assert len(other.prompt([("user", "")])) <= 9


def test_characters_can_be_learnt_without_words_of_them() -> None:
    codec = train_tokenizer(documents(), 440, CHAT, max_bytes=10**6, spelled=["ㅁㅗ 뿌뿌"] * 500)
    assert len(codec.encode("ㅁㅗ")) == 2
    assert len(codec.encode("뿌")) == 1
    assert len(codec.encode("뿌뿌")) == 2


def spelled(codec: Codec, text: str) -> list[str]:
    return [codec.tokenizer.decode([index], skip_special_tokens=False) for index in codec.encode(text)]


def test_digits_and_lone_jamo_stand_alone(codec: Codec) -> None:
    assert spelled(codec, "12345") == list("12345")
    assert spelled(codec, " 2024년")[1:5] == list("2024")
    assert spelled(codec, "ㅋㅋㅋ") == list("ㅋㅋㅋ")
    merged = {codec.tokenizer.decode([index]) for index in range(codec.vocab)}
    assert not [word for word in merged if len(word) > 1 and any(c.isdigit() or "ㄱ" <= c <= "ㆎ" for c in word)]


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40))
@example(text="😀👨‍👩‍👧 각 각 \u200d \x00\x7f ﷽ 漢字 \U0010ffff")
def test_any_text_is_spelled_in_bytes_if_need_be(codec: Codec, text: str) -> None:
    ids = codec.encode(text)
    assert codec.decode(ids) == text
    assert len(ids) <= len(text.encode())

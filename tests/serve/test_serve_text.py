"""Incremental decoding and stop strings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dokja.models.model import Model
from dokja.serve.text import StopStrings, TextStream

KOREAN = "꽃이 피었습니다. 값진 뷁! 😀 読 abc"


def by_byte(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


def pieces(ids: list[int], decode=by_byte) -> list[str]:
    stream = TextStream(decode)
    return [stream.push(token) for token in ids]


def test_a_syllable_over_three_tokens_comes_whole():
    assert pieces(list("책을".encode())) == ["", "", "책", "", "", "을"]


@given(st.text(max_size=30))
def test_text_comes_out_as_it_went_in(text: str):
    assert "".join(pieces(list(text.encode()))) == text.rstrip("\ufffd")


@given(st.lists(st.integers(0, 255), max_size=30))
def test_any_bytes_give_a_beginning_of_the_whole_decoding(ids: list[int]):
    # At most one character is still held back at the end.
    whole, given_out = by_byte(ids), "".join(pieces(ids))
    assert whole.startswith(given_out)
    assert whole[len(given_out):] in ("", "\ufffd")


def test_wrong_bytes_are_not_held_back_for_ever():
    assert "".join(pieces([0xFF] * 5 + [0x61])) == "\ufffd" * 5 + "a"


def test_with_a_real_tokenizer(loaded: Model):
    ids = loaded.codec.encode(KOREAN)
    out = pieces(ids, loaded.codec.decode)
    assert "".join(out) == KOREAN
    assert len(ids) > len(KOREAN.split())
    assert not any("\ufffd" in piece for piece in out)


def test_stop_string_over_several_pieces():
    stop = StopStrings(["끝."])
    assert stop.push("이야기의 끝") == ("이야기의 ", False)
    assert stop.push("은 아니다. 끝") == ("끝은 아니다. ", False)
    assert stop.push(".더") == ("", True)


def test_the_first_stop_string_wins():
    assert StopStrings(["b", "ab"]).push("xab") == ("x", True)


@given(st.lists(st.text("ab", min_size=1, max_size=3), max_size=8), st.lists(st.text("ab", min_size=1, max_size=3),
                                                                           max_size=2))
def test_stop_strings_agree_with_a_search_in_the_whole_text(parts: list[str], stops: list[str]):
    stream, out, over = StopStrings(stops), "", False
    for part in parts:
        new, over = stream.push(part)
        out += new
        if over:
            break
    if not over:
        out += stream.flush()
    whole = "".join(parts)
    # The text may be cut a little later than at the very first stop string, when a longer one began before it.
    if not any(stop in whole for stop in stops):
        assert (out, over) == (whole, False)
    else:
        assert over
        assert whole.startswith(out)
        assert not any(stop in out for stop in stops)


def test_no_stop_strings_hold_nothing_back():
    assert StopStrings([]).push("가") == ("가", False)

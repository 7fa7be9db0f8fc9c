"""Unicode of a document: Hangul stays whole, what was broken is repaired, what was misread is told."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dokja.build.corpus.clean import clean, mojibake

TEXT = "독자 여러분, 안녕하세요 ㅋㅋ ㅠㅠ. 값 ㄱ, ㄴ은 그대로 둡니다."
OLD = "\u1112\u119e\u11ab글"  # ᄒᆞᆫ글, which has no composed form


def test_clean_text_is_not_touched() -> None:
    for text in (TEXT, "def f(x):\n    return x\n\nf(1)", "漢字와 カタカナ, 中文。", "한 줄", OLD, "👩‍🚀 이모지"):
        assert clean(text) == (text, ())


def test_syllables_that_were_taken_apart_are_composed() -> None:
    taken_apart = unicodedata.normalize("NFD", TEXT)
    assert len(taken_apart) > len(TEXT)
    assert clean(taken_apart) == (TEXT, ("composed",))


@pytest.mark.parametrize(("broken", "whole"), [
    ("\u110f\u110f\u110f 웃겨", "ㅋㅋㅋ 웃겨"),  # conjoining jamo where letters were meant
    ("\u1172\u1172", "ㅠㅠ"),
    ("각\u11a8", "각ㄱ"),
    ("ﾤﾡ ﾻﾻ", "ㄴㄱ ㅋㅋ"),  # half-width letters
    ("ﾾￂﾤﾡￚﾩ", "한글"),  # and where they spell syllables
    ("ﾻﾻﾻ ￜￜ", "ㅋㅋㅋ ㅣㅣ"),
    ("ＡＢＣ１２３！ 한국", "ABC123! 한국"),
    ("ｶﾞｷﾞ ｱ", "ガギ ア"),
    ("中文，ＡＢ！", "中文，AB！"),  # punctuation of Chinese is full-width
    ("\ufeff첫\u200b째 줄\r\n둘째\u3000줄 \xa0끝\u2028셋째\x00", "첫째 줄\n둘째 줄  끝\n셋째"),
    ("  들여쓰기\t \n\n\n\n끝  \n", "  들여쓰기\n\n끝"),
])
def test_what_was_broken_is_repaired(broken: str, whole: str) -> None:
    assert clean(broken)[0] == whole


def test_old_hangul_is_kept_beside_what_is_repaired() -> None:
    assert clean(OLD + "\u110f\u110f")[0] == OLD + "ㅋㅋ"


HARD = "가각힣ㄱㅏㅋ \n\tａ！ｶﾞﾡￂ\u1100\u1161\u11a8\u119e\u200b\u3000\r漢"


@settings(max_examples=300, deadline=None)
@given(st.text(st.one_of(st.sampled_from(HARD), st.characters(exclude_categories=["Cs"])), max_size=40))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once, _ = clean(text)
    assert clean(once) == (once, ())
    assert unicodedata.is_normalized("NFC", once)


def test_text_in_the_wrong_encoding_is_told() -> None:
    for misread in (TEXT.encode().decode("latin-1"), TEXT.encode().decode("cp1252", "replace"),
                    "한국어 문서입니다".encode("cp949").decode("latin-1"), TEXT.encode().decode("cp949", "replace"),
                    TEXT.encode("cp949").decode("utf-8", "replace"), "占쏙옙占쏙옙 문서"):
        assert mojibake(misread)


def test_other_languages_are_not_taken_for_the_wrong_encoding() -> None:
    for text in (TEXT, "Élève à l'école, où ça? Ünïcödé ÀÉÈÇ Größe naïve", "Việt Nam đất nước", "Привет, мир", OLD,
                 "한 글자만 깨진 긴 글입니다. " * 100 + "\ufffd", "25°C ± 2 µm, ×3"):
        assert not mojibake(text)

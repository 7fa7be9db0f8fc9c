"""Hangul arithmetic: syllables and their letters, particles that agree with the word before them, numbers read aloud.

Source: The Unicode Standard, section 3.12 (conjoining jamo behaviour): a precomposed syllable is
0xAC00 + (lead * 21 + vowel) * 28 + final.
"""

from __future__ import annotations

LEADS = "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ"
VOWELS = "ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ"
FINALS = ("", *"ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")

_FIRST, _LAST = 0xAC00, 0xD7A3
# How the last digit, read aloud in Sino-Korean, ends: 영일이삼사오육칠팔구, and 십 백 천 만 for round numbers.
_DIGIT_FINAL = dict(zip("0123456789", ("ㅇ", "ㄹ", "", "ㅁ", "", "", "ㄱ", "ㄹ", "ㄹ", ""), strict=True))


def is_syllable(char: str) -> bool:
    """True for one precomposed Hangul syllable, 가 to 힣."""
    return len(char) == 1 and _FIRST <= ord(char) <= _LAST


def compose(lead: str, vowel: str, final: str = "") -> str:
    """The syllable of three compatibility jamo: compose("ㅎ", "ㅏ", "ㄴ") == "한"."""
    return chr(_FIRST + (LEADS.index(lead) * 21 + VOWELS.index(vowel)) * 28 + FINALS.index(final))


def decompose(syllable: str) -> tuple[str, str, str]:
    """The lead, vowel and final ("" when there is none) of one syllable."""
    if not is_syllable(syllable):
        raise ValueError(f"{syllable!r} is not one Hangul syllable")
    index = ord(syllable) - _FIRST
    return LEADS[index // 588], VOWELS[index % 588 // 28], FINALS[index % 28]


def final_of(word: str) -> str:
    """The final consonant in which a word ends when read aloud; "" for an open syllable.

    Digits are read in Sino-Korean, round numbers by their place (10 십, 100 백, 1000 천, 10000 만).
    """
    last = word[-1:]
    if is_syllable(last):
        return decompose(last)[2]
    if last.isdigit() and last.isascii():
        zeros = len(word) - len(word.rstrip("0"))
        if last == "0" and word.rstrip("0")[-1:].isdigit():
            return {1: "ㅂ", 2: "ㄱ", 3: "ㄴ"}.get(zeros, "ㄴ" if zeros < 8 else "ㄱ")
        return _DIGIT_FINAL[last]
    raise ValueError(f"{word!r} does not end in a Hangul syllable or a digit, so its final is unknown")


def particle(word: str, pair: str) -> str:
    """The form of a particle that follows `word`; `pair` is "은/는", "이/가", "을/를", "과/와", "으로/로", "아/야",
    "이라/라" and so on: the form after a closed syllable, a slash, the form after an open one.

    으로/로 and what begins with it takes the open form after ㄹ as well (서울로).
    """
    closed, opened = pair.split("/")
    final = final_of(word)
    if closed.startswith("으로"):
        return opened if final in ("", "ㄹ") else closed
    return closed if final else opened


def with_particle(word: str, pair: str) -> str:
    """The word and its particle: with_particle("책", "은/는") == "책은"."""
    return word + particle(word, pair)


_DIGITS = ("", "일", "이", "삼", "사", "오", "육", "칠", "팔", "구")
_PLACES = ("", "십", "백", "천")
_MYRIADS = ("", "만", "억", "조")
_NATIVE_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
_NATIVE_ONES = ("", "하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉")
_COUNTING = {"하나": "한", "둘": "두", "셋": "세", "넷": "네", "스물": "스무"}


def sino(number: int) -> str:
    """A number read in Sino-Korean without spaces: 325 is 삼백이십오, 10000 is 만. 0 to 10**16 - 1."""
    if not 0 <= number < 10**16:
        raise ValueError(f"{number} is outside 0 to 10**16 - 1")
    if number == 0:
        return "영"
    parts: list[str] = []
    for group, myriad in enumerate(_MYRIADS):
        block = number // 10 ** (4 * group) % 10_000
        if not block:
            continue
        read = ""
        for place in (3, 2, 1, 0):
            digit = block // 10**place % 10
            if digit:
                read += ("" if digit == 1 and place else _DIGITS[digit]) + _PLACES[place]
        parts.append(("" if read == "일" and group == 1 else read) + myriad)
    return "".join(reversed(parts))


def native(number: int) -> str:
    """A number read in native Korean, 1 to 99: 21 is 스물하나."""
    if not 1 <= number <= 99:
        raise ValueError(f"{number} is outside 1 to 99, which native Korean numerals cover")
    return _NATIVE_TENS[number // 10] + _NATIVE_ONES[number % 10]


def counting(number: int) -> str:
    """The native numeral before a counter, 1 to 99: 21 is 스물한 (개), 20 is 스무 (개)."""
    tens, ones = _NATIVE_TENS[number // 10], _NATIVE_ONES[number % 10]
    if not 1 <= number <= 99:
        raise ValueError(f"{number} is outside 1 to 99, which native Korean numerals cover")
    return tens + _COUNTING.get(ones, ones) if ones else _COUNTING.get(tens, tens)

"""Particles, letters and numerals against slow oracles that share no code with the generator."""

from __future__ import annotations

import re
import unicodedata
from itertools import islice

import pytest

from dokja.build.exercises import SKILLS, Exercise, exercises
from dokja.build.exercises.words import NAMES, NOUNS

DIGITS = dict(zip("0123456789", "영일이삼사오육칠팔구", strict=True))
LETTERS = dict(
    zip(
        "bcdfghjklmnpqrstvwxyz",
        ("비", "시", "디", "프", "지", "치", "이", "이", "엘", "엠", "엔", *"피큐알스티이유스이트"),
        strict=True,
    )
) | dict(zip("aeiou", "이이이오유", strict=True))
UNITS = {"km": "터", "m": "터", "cm": "터", "mm": "터", "kg": "램", "g": "램", "t": "톤", "L": "터", "mL": "터"}
# Compatibility letters and the conjoining ones of which NFD makes a syllable.
LEADS = dict(zip("ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ", map(chr, range(0x1100, 0x1113)), strict=True))
VOWELS = dict(zip(map(chr, range(0x314F, 0x3164)), map(chr, range(0x1161, 0x1176)), strict=True))
FINALS = dict(
    zip("ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ", map(chr, range(0x11A8, 0x11C3)), strict=True)
)
FINAL_NAMES = {value: key for key, value in FINALS.items()}


def drawn(skill: str, count: int = 5000) -> list[Exercise]:
    return list(islice(exercises(skill, "train", 11), count))


def heard(word: str, spelling: bool = False) -> str:
    """The last syllable of a word, number, quantity or unit, or of a letter when `spelling`, as it is read aloud."""
    word = word.rstrip("'")
    unit = re.fullmatch(r".*\d(km|m|cm|mm|kg|g|t|L|mL)", word)
    if unit:
        return UNITS[unit[1]]
    if word in UNITS and not spelling:
        return UNITS[word]
    if word[-1].isdigit():
        tail = re.search(r"[1-9](0*)$", word)
        return ["", "십", "백", "천", "만"][min(4, len(tail[1]))] or DIGITS[word[-1]] if tail else "영"
    if word[-1] in LETTERS:
        return LETTERS[word[-1]]
    if "ㄱ" <= word[-1] <= "ㅎ":
        return "을" if word[-1] == "ㄹ" else "은"
    if word[-1] in VOWELS:
        return "아"
    return word[-1]


def agrees(word: str, particle: str, spelling: bool = False) -> bool:
    decomposed = unicodedata.normalize("NFD", heard(word, spelling))
    final = decomposed[2] if len(decomposed) == 3 else ""
    if particle in ("은", "이", "을", "과", "이에요", "아"):
        return bool(final)
    if particle in ("는", "가", "를", "와", "예요", "야"):
        return not final
    return (particle == "으로") == (final not in ("", FINALS["ㄹ"]))


@pytest.mark.parametrize(
    ("word", "particle", "right"),
    [
        ("책", "은", True),
        ("책", "는", False),
        ("서울", "로", True),
        ("서울", "으로", False),
        ("10", "은", True),
        ("20000", "은", True),
        ("3kg", "은", True),
        ("3m", "는", True),
        ("'r", "이", True),
        ("ㅏ", "는", True),
        ("ㄴ", "으로", True),
    ],
)
def test_the_oracle_itself(word: str, particle: str, right: bool) -> None:
    assert agrees(word, particle) is right


@pytest.mark.parametrize("skill", list(SKILLS))
def test_particles_in_questions_agree_with_the_word_before(skill: str) -> None:
    known = set(NAMES) | set(NOUNS)
    checked = 0
    for item in drawn(skill):
        if item.form.startswith("drill"):
            continue
        text = item.prompt
        found = re.findall(r"(\S+?)(으로|은|는|이|가|을|를|과|와|로)(?=[\s,.?]|$)", text)
        for stem, particle in found:
            bare = stem.strip("'")
            sure = bare in known or stem.endswith("'") or bare[-1].isdigit() or bare[-1] in UNITS or bare in LETTERS
            sure = sure or bool(re.search(r"\d[가-힣]{1,3}$", bare)) or bare[-1] in VOWELS or bare[-1] in FINALS
            if sure and not (skill == "particles" and "(" in stem):
                assert agrees(bare, particle, skill == "letters"), (text, bare, particle)
                checked += 1
    assert checked > 200


def test_particles_agree_by_decomposition() -> None:
    forms = set()
    for item in drawn("particles"):
        word, pair = item.key.split(":")[1:]
        closed, opened = pair.split("/")
        right = closed if agrees(word, closed) else opened
        assert agrees(word, right)
        forms.add((item.form, pair, right))
        if item.form == "drill":
            assert (item.prompt, item.answer) == (f"{word}+{pair}", right)
        elif item.form == "choose":
            assert item.answer == right
            assert sorted(item.choices) == sorted((closed, opened))
        elif item.form == "attach":
            assert item.answer == word + right
        else:
            slot = f"{word}({pair})"
            assert slot in item.prompt
            assert item.answer == item.prompt.split(": ", 1)[1].replace(slot, word + right)
    assert len(forms) == 3 * 7 * 2 + 5 * 2


def jamo(word: str) -> str:
    """The compatibility letters of a word by its canonical decomposition."""
    names = {value: key for table in (LEADS, VOWELS) for key, value in table.items()} | FINAL_NAMES
    return "".join(names[char] for char in unicodedata.normalize("NFD", word))


def test_letters_of_syllables_by_canonical_decomposition() -> None:
    forms = set()
    for item in drawn("jamo"):
        forms.add(item.form)
        quoted = re.search(r"'([가-힣]+)'", item.prompt)
        whole = unicodedata.normalize("NFD", quoted[1]) if quoted else ""
        letters = "".join(re.findall(r"[ㄱ-ㅣ]", item.prompt))
        if item.form == "drill decompose":
            assert item.answer == jamo(item.prompt.removesuffix(" 풀기"))
        elif item.form in ("compose", "compose word", "drill compose"):
            assert letters == jamo(item.answer)
        elif item.form in ("decompose", "decompose word"):
            assert quoted
            assert item.answer == jamo(quoted[1])
        elif item.form == "remove":
            assert item.answer == unicodedata.normalize("NFC", whole[:2])
        elif item.form == "change":
            assert item.answer == unicodedata.normalize("NFC", whole[:2] + FINALS[letters])
        else:
            part = {"첫소리 자음": 0, "모음": 1, "받침": 2}[item.form]
            assert quoted
            assert item.answer == (jamo(quoted[1])[part : part + 1] or "없음")
    assert len(forms) == 11


TENS = ["", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔"]
ONES = ["", "하나", "둘", "셋", "넷", "다섯", "여섯", "일곱", "여덟", "아홉"]
BOUND = {"하나": "한", "둘": "두", "셋": "세", "넷": "네"}


def value_of(text: str) -> int:
    """A Sino-Korean numeral's value, read from left to right."""
    total = block = digit = 0
    for char in text:
        if char == "만":
            total, block, digit = ((block + digit) or 1) * 10_000, 0, 0
        elif char in "십백천":
            block, digit = block + (digit or 1) * {"십": 10, "백": 100, "천": 1000}[char], 0
        else:
            digit = "영일이삼사오육칠팔구".index(char)
    return total + block + digit


def native_of(number: int, counted: bool) -> str:
    ones = ONES[number % 10]
    if counted:
        return "스무" if number == 20 else TENS[number // 10] + BOUND.get(ones, ones)
    return TENS[number // 10] + ones


def test_numbers_by_a_slow_reader() -> None:
    forms = set()
    for item in drawn("numbers"):
        forms.add(item.form)
        kind, argument = item.key.split(":")[1:]
        number = int(re.match(r"\d+", argument)[0])  # type: ignore[index]
        if item.form in ("read", "drill read"):
            assert str(number) in item.prompt
            assert value_of(item.answer) == number
            # 일 stands before 십, 백, 천 and a leading 만 in no number of this size.
            assert not re.search("일[십백천]|^일만", item.answer)
        elif item.form == "drill write":
            assert value_of(item.prompt.removesuffix(" 숫자로")) == int(item.answer) == number
        elif item.form == "write":
            read = re.findall(r"[일이삼사오육칠팔구십백천만]+(?='| →)", item.prompt)
            assert [value_of(word) for word in read] == [number]
            assert item.answer == str(number)
        elif item.form == "read native":
            assert item.answer == native_of(number, counted=False)
        elif item.form == "write native":
            assert native_of(number, counted=False) in item.prompt
            assert item.answer == str(number)
        else:
            counter = argument.removeprefix(str(number))
            read = f"{native_of(number, counted=True)} {counter}"
            answer, asked = (read, f"{number}{counter}") if kind == "count" else (f"{number}{counter}", read)
            assert asked in item.prompt
            assert item.answer == answer
    assert len(forms) == 9

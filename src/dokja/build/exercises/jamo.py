"""Hangul letters: putting a syllable together, taking it apart, exchanging one letter."""

from __future__ import annotations

from random import Random

from dokja.build.hangul import compose, decompose, is_syllable

from .core import Exercise
from .words import NOUNS, letter_particle

_EASY_LEADS = frozenset("ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ")
_EASY_VOWELS = frozenset("ㅏㅑㅓㅕㅗㅛㅜㅠㅡㅣㅐㅔ")
_EASY_FINALS = frozenset(("", *"ㄱㄴㄷㄹㅁㅂㅅㅇ"))


def _in_use(char: str) -> bool:
    # EUC-KR spells the 2,350 syllables of KS X 1001, those in use, in two bytes and all others in eight.
    return len(char.encode("euc_kr")) == 2


SYLLABLES: tuple[str, ...] = tuple(char for char in map(chr, range(0xAC00, 0xD7A4)) if _in_use(char))
_LETTERS = {char: decompose(char) for char in SYLLABLES}


def _is_easy(char: str) -> bool:
    lead, vowel, final = _LETTERS[char]
    return lead in _EASY_LEADS and vowel in _EASY_VOWELS and final in _EASY_FINALS


# The finals with which each lead and vowel make a syllable in use.
_FINALS_OF: dict[tuple[str, str], list[str]] = {}
for _char, (_lead, _vowel, _final) in _LETTERS.items():
    if _final:
        _FINALS_OF.setdefault((_lead, _vowel), []).append(_final)

_EASY = tuple(char for char in SYLLABLES if _is_easy(char))
_EASY_OPEN = tuple(char for char in _EASY if not _LETTERS[char][2])
_EASY_CLOSED = tuple(char for char in _EASY if _LETTERS[char][2])
# Syllables to which a final can be put, or whose final can be exchanged.
_EXTENSIBLE = tuple(char for char in _EASY_OPEN if _LETTERS[char][:2] in _FINALS_OF)
_EXCHANGEABLE = tuple(char for char in _EASY_CLOSED if len(_FINALS_OF[_LETTERS[char][:2]]) > 1)
_HARD = tuple(char for char in SYLLABLES if not _is_easy(char))
_CLOSED = tuple(char for char in SYLLABLES if _LETTERS[char][2])
# The syllables of the drills: few enough for each to recur in many words.
_PLAIN_OPEN = tuple(compose(lead, vowel) for lead in "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ" for vowel in "ㅏㅓㅗㅜㅡㅣ")
_PLAIN_CLOSED = tuple(
    compose(lead, vowel, final) for lead in "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅎ" for vowel in "ㅏㅓㅗㅜㅣ" for final in "ㄴㄹㅁㅇ"
)
_WORDS = tuple(noun for noun in NOUNS if 2 <= len(noun) <= 3 and all(map(is_syllable, noun)))

_COMPOSE = (
    "{listed}{of} 모아 쓰면?",
    "{listed}{of} 합치면 무슨 글자입니까?",
    "{summed} = ?",
    "자모 {listed}{of} 한 글자로 쓰세요.",
)
_DECOMPOSE = (
    "'{c}'의 자모를 풀어 쓰세요.",
    "'{c}'의 자음과 모음을 차례로 쓰면?",
    "글자 '{c}'의 자모는?",
    "'{c}'의 자모를 나누어 쓰세요.",
)
_PART = (
    "'{c}'의 {part}은 무엇입니까?",
    "글자 '{c}'의 {part}은?",
    "'{c}'에서 {part}을 찾아 쓰세요.",
)
_PARTS = ("첫소리 자음", "모음", "받침")
_REMOVE = ("'{c}'에서 받침을 빼면?", "'{c}'의 받침을 없애면 무슨 글자입니까?", "받침 없이 쓰면 '{c}'은 무엇이 됩니까?")
_EXCHANGE = (
    "'{c}'의 받침을 {f}{to} 바꾸면?",
    "'{c}'에서 받침만 {f}{to} 바꾼 글자는?",
    "받침을 {f}{to} 바꾸면 '{c}'은 무엇이 됩니까?",
)
_ADD = ("'{c}'에 받침 {f}{of} 붙이면?", "'{c}'에 {f} 받침을 더하면 무슨 글자입니까?", "'{c}' 아래에 {f}{of} 쓰면?")
_COMPOSE_WORD = ("자모 {listed}{of} 낱말로 모아 쓰면?", "{listed}{of} 모으면 무슨 낱말입니까?", "{listed} → 낱말은?")
_DECOMPOSE_WORD = (
    "'{c}'의 자모를 모두 풀어 쓰세요.",
    "낱말 '{c}'의 자모를 차례로 쓰면?",
    "'{c}'의 자모를 나누어 쓰세요.",
)


def _syllable(rng: Random) -> tuple[str, int]:
    """A syllable and its level: mostly simple letters, a fifth of them with no final."""
    draw = rng.random()
    if draw < 0.6:
        return rng.choice(_EASY_OPEN if rng.random() < 0.2 else _EASY_CLOSED), 1
    return rng.choice(_HARD), 2


def _compose(rng: Random) -> Exercise:
    char, level = _syllable(rng)
    letters = [letter for letter in _LETTERS[char] if letter]
    prompt = rng.choice(_COMPOSE).format(
        listed=", ".join(letters), summed=" + ".join(letters), of=letter_particle(letters[-1], "을/를")
    )
    return Exercise("jamo", prompt, char, f"jamo:compose:{char}", "compose", level)


def _decompose(rng: Random) -> Exercise:
    char, level = _syllable(rng)
    answer = "".join(_LETTERS[char])
    prompt = rng.choice(_DECOMPOSE).format(c=char)
    return Exercise("jamo", prompt, answer, f"jamo:decompose:{char}", "decompose", level, also=_spelled(answer))


def _part(rng: Random) -> Exercise:
    char, level = _syllable(rng)
    place = rng.randrange(3)
    part = _PARTS[place]
    prompt = rng.choice(_PART).format(c=char, part=part)
    answer = _LETTERS[char][place] or "없음"
    also = ("없습니다", "없다") if answer == "없음" else ()
    return Exercise("jamo", prompt, answer, f"jamo:part{place}:{char}", part, level, also=also)


def _change(rng: Random) -> Exercise:
    """Take the final away, exchange it, or add one."""
    kind = rng.randrange(3)
    if kind == 0:
        char = rng.choice(_CLOSED)
        lead, vowel, _ = _LETTERS[char]
        prompt = rng.choice(_REMOVE).format(c=char)
        return Exercise("jamo", prompt, compose(lead, vowel), f"jamo:remove:{char}", "remove", 2)
    char = rng.choice(_EXCHANGEABLE if kind == 1 else _EXTENSIBLE)
    lead, vowel, old = _LETTERS[char]
    final = old
    while final == old:
        final = rng.choice(_FINALS_OF[lead, vowel])
    answer = compose(lead, vowel, final)
    wordings = _EXCHANGE if kind == 1 else _ADD
    to, of = letter_particle(final, "으로/로"), letter_particle(final, "을/를")
    prompt = rng.choice(wordings).format(c=char, f=final, to=to, of=of)
    return Exercise("jamo", prompt, answer, f"jamo:change:{char}:{final}", "change", 2)


def _word(rng: Random) -> Exercise:
    """A whole word, from the list of nouns or made up of two simple syllables."""
    word = rng.choice(_WORDS) if rng.random() < 0.5 else rng.choice(_EASY) + rng.choice(_EASY)
    letters = [letter for char in word for letter in decompose(char) if letter]
    if rng.random() < 0.5:
        prompt = rng.choice(_COMPOSE_WORD).format(listed="".join(letters), of=letter_particle(letters[-1], "을/를"))
        return Exercise("jamo", prompt, word, f"jamo:compose:{word}", "compose word", 3)
    answer = "".join(letters)
    prompt = rng.choice(_DECOMPOSE_WORD).format(c=word)
    return Exercise("jamo", prompt, answer, f"jamo:decompose:{word}", "decompose word", 3, also=_spelled(answer))


def _spelled(letters: str) -> tuple[str, ...]:
    return (",".join(letters), "+".join(letters))


def make(rng: Random) -> Exercise:
    """Compose, take apart, name one part, change the final, or do a whole word."""
    draw = rng.random()
    if draw < 0.25:
        return _compose(rng)
    if draw < 0.5:
        return _decompose(rng)
    if draw < 0.7:
        return _part(rng)
    if draw < 0.85:
        return _change(rng)
    return _word(rng)


def drill(rng: Random) -> Exercise:
    """ㄴㅏㅁㅜ 모으기 -> 나무, and 나무 풀기 -> ㄴㅏㅁㅜ: two syllables, mostly open ones."""
    easy = rng.random() < 0.8
    word = rng.choice(_PLAIN_OPEN) + rng.choice(_PLAIN_OPEN if easy else _PLAIN_CLOSED)
    letters = "".join(letter for char in word for letter in decompose(char))
    level = 1 if easy else 2
    if rng.random() < 0.5:
        return Exercise("jamo", f"{letters} 모으기", word, f"jamo:compose:{word}", "drill compose", level)
    key, also = f"jamo:decompose:{word}", _spelled(letters)
    return Exercise("jamo", f"{word} 풀기", letters, key, "drill decompose", level, also=also)

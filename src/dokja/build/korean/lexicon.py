"""The word lists beside this file, read once on first use: nouns by meaning, predicates with their company, names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from dokja.build.hangul import final_of
from dokja.build.korean.conjugate import Predicate


@dataclass(frozen=True, slots=True)
class Frame:
    """A predicate and its company: the particle of its complement, nouns for it, where it is done."""

    predicate: Predicate
    particle: str
    nouns: tuple[str, ...]
    tags: tuple[str, ...]


def rows(name: str) -> Iterator[list[str]]:
    """The rows of a data file as lists of columns; empty lines and lines that begin with # are left out."""
    for line in files(__package__).joinpath(name).read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield [column.strip() for column in line.split("\t")]


def words(column: str) -> list[str]:
    """The comma-separated words of a column."""
    return [word.strip() for word in column.split(",") if word.strip()]


@cache
def nouns() -> dict[str, tuple[str, ...]]:
    """Noun class to its nouns."""
    return {row[0]: tuple(words(row[2])) for row in rows("nouns.tsv")}


@cache
def counters() -> dict[str, str]:
    """Noun class to the counter of its nouns (마리, 권, 개)."""
    return {row[0]: row[1] for row in rows("nouns.tsv")}


@cache
def noun_choice(spec: str) -> tuple[str, ...]:
    """Nouns of a spec: classes as #fruit, single nouns as they are, joined by commas or +."""
    found: list[str] = []
    for part in words(spec.replace("+", ",")):
        found.extend(nouns()[part[1:]] if part.startswith("#") else [part])
    return tuple(found)


def _frames(name: str, adjective: bool) -> dict[str, Frame]:
    table: dict[str, Frame] = {}
    for row in rows(name):
        word, irregular, particle, spec, tags = (row + [""] * 5)[:5]
        if word in table:
            raise ValueError(f"{name}: {word} is listed twice")
        table[word] = Frame(Predicate(word, adjective, irregular), particle, noun_choice(spec), tuple(tags.split()))
    return table


@cache
def verbs() -> dict[str, Frame]:
    """Verbs with the particle and nouns of their complement and the places or uses they are tagged for."""
    return _frames("verbs.tsv", adjective=False)


@cache
def adjectives() -> dict[str, Frame]:
    """Adjectives with the subjects they describe."""
    return _frames("adjectives.tsv", adjective=True)


@cache
def adverbs() -> dict[str, tuple[str, ...]]:
    """Adverb class to its adverbs."""
    return {row[0]: tuple(words(row[1])) for row in rows("adverbs.tsv")}


@cache
def names() -> dict[str, tuple[str, ...]]:
    """given and family names."""
    return {row[0]: tuple(words(row[1])) for row in rows("names.tsv")}


@cache
def places() -> dict[str, tuple[str, ...]]:
    """Place class (city, district, mountain, ...) to its names."""
    return {row[0]: tuple(words(row[1])) for row in rows("places.tsv")}


# Finals and syllables after which a stem may be irregular: such a word must be in the lists.
_DOUBTFUL = frozenset(("ㅂ", "ㄷ", "ㅅ", "ㅎ"))
_REGULAR = ("뵙다", "않다", "놓다", "넣다", "얻다", "맡다")


@cache
def predicate(word: str) -> Predicate:
    """The predicate of a dictionary form, which may have words before it (집에 가다).

    A word that is not listed conjugates as the listed verb it ends in (내밀다 as 밀다), or as a regular verb;
    KeyError where it may be irregular, so that no form is a guess.
    """
    last = word.rsplit(" ", 1)[-1]
    if last in verbs():
        return Predicate(word, False, verbs()[last].predicate.irregular)
    if last in adjectives():
        return Predicate(word, True, adjectives()[last].predicate.irregular)
    if last == "아니다" or last.endswith(("있다", "없다", "싶다")):
        return Predicate(word, adjective=True)
    if last.endswith("하다"):
        return Predicate(word, irregular="여")
    for start in range(1, len(last) - 1):
        if last[start:] in verbs():
            return Predicate(word, False, verbs()[last[start:]].predicate.irregular)
    if not last.endswith(_REGULAR) and (final_of(last[:-1]) in _DOUBTFUL or last.endswith("르다")):
        raise KeyError(f"{word!r} is in neither verbs.tsv nor adjectives.tsv and may be irregular")
    return Predicate(word)

"""The word lists beside this file, read once on first use: nouns by meaning, predicates with their company, names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

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


# Endings of compound predicates that conjugate as their last part does: 도와주다 as 주다, 예뻐지다 as 지다.
_LAST_PARTS = (
    "하다", "되다", "주다", "지다", "나다", "가다", "오다", "보다", "내다", "이다", "거리다", "놓다", "두다", "리다",
    "치다", "기다", "히다", "들다", "우다", "시키다", "서다", "먹다", "시다", "않다", "말다", "뜨다", "띄다", "쉬다",
    "얻다", "섞다", "적다", "맡다", "남다", "넣다", "꺼내다", "뵙다", "건네다", "맞다", "놀라다", "떼다", "짜다",
    "죽다", "쉬다", "다니다", "차다", "막다", "뛰다", "비치다", "헤매다", "맺다", "돋다", "갚다", "채다", "끊다",
)  # fmt: skip


@cache
def predicate(word: str) -> Predicate:
    """The predicate of a dictionary form, which may have words before it (집에 가다); KeyError when it is unknown."""
    last = word.rsplit(" ", 1)[-1]
    for table, adjective in ((verbs(), False), (adjectives(), True)):
        if last in table:
            return Predicate(word, adjective, table[last].predicate.irregular)
    if last in ("있다", "없다", "싶다", "아니다"):
        return Predicate(word, adjective=True)
    if last.endswith(("있다", "없다", "싶다")):
        return Predicate(word, adjective=True)
    if last.endswith("하다"):
        return Predicate(word, irregular="여")
    for part in _LAST_PARTS:
        if last.endswith(part):
            return Predicate(word)
    raise KeyError(f"{word!r} is in neither verbs.tsv nor adjectives.tsv")

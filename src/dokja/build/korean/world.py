"""Slots of a frame: how each is drawn (people, things, numbers, places, activities) without contradiction in one text.

A slot line is `keys = spec`. Specs:

    @name            a person: {a} in the narration, {a.n} the bare name, {a.v} called (민지야), {a.f} with family name
    @city @district @neighborhood @mountain @water @beach @shopname   a place
    @act home        an activity at a kind of place: {v} the verb, {v.o} its complement with the particle ("" if none)
    @scene           scenery: {s} the subject, {s.v} the verb said of it
    @adj             a description: {d} the adjective, {d.o} its subject
    @rows animals    one row of animals.tsv, a column to a key
    @mainland        a city that one reaches over land
    @kind            a noun {o} of a common class, {o.k} the class in words, {o.list} it among nouns of other classes
    @predicate       a verb or adjective {v} in a short sentence: {v.o} its subject or complement with the particle
    @weekday @month @season ...   one of SERIES
    #fruit+berry     a noun of these classes; {o.c} is its counter
    3..9  500..3000/100   a number, with a step
    calc n * c       arithmetic on number slots, left to right
    a; b; c          one of the texts (templates are allowed); with several keys, parts are split by " : "
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import TypeVar

from dokja.build.hangul import final_of, with_particle
from dokja.build.korean import lexicon
from dokja.build.korean.template import PARTICLES, Context, template

T = TypeVar("T")
Draw = Callable[[Context, Random], None]

SERIES: dict[str, tuple[str, ...]] = {
    "weekday": ("월요일", "화요일", "수요일", "목요일", "금요일", "토요일", "일요일"),
    "workday": ("월요일", "화요일", "수요일", "목요일", "금요일"),
    "season": ("봄", "여름", "가을", "겨울"),
    "hour": ("오전 아홉 시", "오전 열 시", "오전 열한 시", "오후 한 시", "오후 두 시", "오후 세 시", "오후 네 시",
             "오후 다섯 시", "저녁 여섯 시", "저녁 일곱 시"),
    "kinship": ("할머니", "할아버지", "어머니", "아버지", "이모", "삼촌", "고모"),
    "sibling": ("동생", "언니", "누나", "형", "오빠"),
    "manner": ("천천히", "열심히", "즐겁게", "조용히", "부지런히", "꼼꼼히", "정성껏", "느긋하게", "여유롭게", "신나게",
               "차분히", "마음껏", "함께", "꾸준히"),
    "degree": ("매우", "아주", "무척", "참", "정말", "꽤", "제법", "굉장히", "유난히"),
}  # fmt: skip
_PLACE_CLASSES = ("city", "district", "neighborhood", "mountain", "water", "beach", "shopname")


def pick(rng: Random, items: Sequence[T]) -> T:
    """One of the items; the fast half of Random.choice."""
    return items[int(rng.random() * len(items))]


@cache
def activities(tag: str) -> tuple[lexicon.Frame, ...]:
    """The verbs of what people do in a kind of place."""
    return tuple(frame for frame in lexicon.verbs().values() if tag in frame.tags)


@cache
def _scenes() -> tuple[tuple[str, str], ...]:
    return tuple((noun, frame.predicate.word) for frame in activities("scene") for noun in frame.nouns)


@cache
def _adjective_pairs() -> tuple[tuple[str, str], ...]:
    return tuple(
        (noun, frame.predicate.word) for frame in lexicon.adjectives().values() for noun in frame.nouns if noun
    )


def set_person(ctx: Context, key: str, name: str, family: str) -> None:
    """Fill a person's keys; narration says 지훈이 where the text is a familiar one (ctx["_familiar"])."""
    closed = bool(final_of(name))
    ctx[key] = name + "이" if closed and ctx["_familiar"] else name
    ctx[key + ".n"] = name
    ctx[key + ".v"] = name + ("아" if closed else "야")
    ctx[key + ".f"] = family + name


def _name(key: str) -> Draw:
    def draw(ctx: Context, rng: Random) -> None:
        given, family = lexicon.names()["given"], lexicon.names()["family"]
        name = pick(rng, given)
        while name in ctx["_used"]:
            name = pick(rng, given)
        ctx["_used"].add(name)
        # The first twelve families cover most Koreans, so most people here bear them too.
        full = family[: 12 if rng.random() < 0.7 else len(family)]
        set_person(ctx, key, name, pick(rng, full))

    return draw


def _activity(key: str, tag: str) -> Draw:
    def draw(ctx: Context, rng: Random) -> None:
        choices = activities(tag)
        frame = pick(rng, choices)
        while frame.predicate.word in ctx["_used"]:
            frame = pick(rng, choices)
        ctx["_used"].add(frame.predicate.word)
        ctx[key] = frame.predicate.word
        noun = pick(rng, frame.nouns) if frame.nouns else ""
        ctx[key + ".n"] = noun
        if not noun:
            ctx[key + ".o"] = ""
        elif frame.particle in PARTICLES:
            ctx[key + ".o"] = with_particle(noun, PARTICLES[frame.particle]) + " "
        else:
            ctx[key + ".o"] = noun + frame.particle + " "

    return draw


def _pair(key: str, second: str, pairs: Callable[[], tuple[tuple[str, str], ...]], first: str) -> Draw:
    def draw(ctx: Context, rng: Random) -> None:
        noun, word = pick(rng, pairs())
        ctx[key + first], ctx[key + second] = noun, word

    return draw


def _noun(key: str, spec: str) -> Draw:
    classes = spec.lstrip("#").split("+")
    counter_of = {word: lexicon.counters()[name] for name in classes for word in lexicon.nouns()[name]}
    items = tuple(counter_of)

    def draw(ctx: Context, rng: Random) -> None:
        word = pick(rng, items)
        while word in ctx["_used"]:
            word = pick(rng, items)
        ctx["_used"].add(word)
        ctx[key], ctx[key + ".c"] = word, counter_of[word]

    return draw


def _number(key: str, spec: str) -> Draw:
    low, high = spec.split("/")[0].split("..")
    step = int(spec.split("/")[1]) if "/" in spec else 1
    first, count = int(low), (int(high) - int(low)) // step + 1

    def draw(ctx: Context, rng: Random) -> None:
        ctx[key] = first + step * int(rng.random() * count)

    return draw


def _calc(key: str, spec: str) -> Draw:
    tokens = spec.split()

    def value(token: str, ctx: Context) -> int:
        return int(token) if token.isdigit() else int(ctx[token])

    def draw(ctx: Context, rng: Random) -> None:
        total = value(tokens[0], ctx)
        for operator, token in zip(tokens[1::2], tokens[2::2], strict=True):
            other = value(token, ctx)
            total = total + other if operator == "+" else total - other if operator == "-" else total * other
        ctx[key] = total

    return draw


def _texts(keys: list[str], spec: str) -> Draw:
    options = [[template(part.strip()) for part in option.split(" : ")] for option in spec.split(";") if option.strip()]
    if any(len(option) != len(keys) for option in options):
        raise ValueError(f"slot {' '.join(keys)}: every option of {spec!r} needs {len(keys)} parts")

    def draw(ctx: Context, rng: Random) -> None:
        for key, part in zip(keys, pick(rng, options), strict=True):
            ctx[key] = part(ctx, rng)

    return draw


def _noun_kind(key: str) -> Draw:
    classes = table("classes")

    def draw(ctx: Context, rng: Random) -> None:
        chosen, label, family = pick(rng, classes)
        # The other three come from other families, so that only one noun answers the question.
        others: list[str] = []
        taken = {family}
        while len(others) < 3:
            name, _, of = pick(rng, classes)
            if of not in taken:
                taken.add(of)
                others.append(pick(rng, lexicon.nouns()[name]))
        ctx[key], ctx[key + ".k"] = pick(rng, lexicon.nouns()[chosen]), label
        listed = [ctx[key], *others]
        rng.shuffle(listed)
        ctx[key + ".list"] = ", ".join(listed)

    return draw


def _predicate(key: str) -> Draw:
    """A word of verbs.tsv or adjectives.tsv that has nouns to go with."""
    frames = [
        frame
        for frame in (*lexicon.adjectives().values(), *lexicon.verbs().values())
        if frame.nouns and frame.particle in PARTICLES
    ]

    def draw(ctx: Context, rng: Random) -> None:
        frame = pick(rng, frames)
        ctx[key] = frame.predicate.word
        noun = pick(rng, frame.nouns)
        ctx[key + ".o"] = with_particle(noun, PARTICLES[frame.particle])
        ctx[key + ".k"] = "모양이나 느낌을 나타내는 말" if frame.predicate.adjective else "움직임을 나타내는 말"

    return draw


@cache
def table(name: str) -> tuple[tuple[str, ...], ...]:
    """The rows of a table of facts."""
    return tuple(tuple(row) for row in lexicon.rows(name + ".tsv"))


def _rows(keys: list[str], name: str) -> Draw:
    facts = table(name)
    for row in facts:
        if len(row) != len(keys):
            raise ValueError(f"{name}.tsv: the row of {row[0]} has {len(row)} columns where {len(keys)} are named")

    def draw(ctx: Context, rng: Random) -> None:
        row = pick(rng, facts)
        while row[0] in ctx["_used"]:
            row = pick(rng, facts)
        ctx["_used"].add(row[0])
        for key, value in zip(keys, row, strict=True):
            ctx[key] = value

    return draw


def _series(key: str, items: tuple[str, ...]) -> Draw:
    def draw(ctx: Context, rng: Random) -> None:
        word = pick(rng, items)
        while word in ctx["_used"]:
            word = pick(rng, items)
        ctx["_used"].add(word)
        ctx[key] = word

    return draw


def slot(line: str) -> Draw:
    """Compile one slot line; ValueError or KeyError where it is malformed."""
    left, _, spec = (part.strip() for part in line.partition("="))
    keys = left.split()
    key = keys[0]
    if spec.startswith("@"):
        kind, _, argument = spec[1:].partition(" ")
        if kind == "name":
            return _name(key)
        if kind == "act":
            return _activity(key, argument)
        if kind == "rows":
            return _rows(keys, argument)
        if kind == "scene":
            return _pair(key, ".v", _scenes, "")
        if kind == "adj":
            return _pair(key, "", _adjective_pairs, ".o")
        if kind == "mainland":
            islands = ("울릉", "제주", "서귀포")
            return _series(key, tuple(city for city in lexicon.places()["city"] if city not in islands))
        if kind == "kind":
            return _noun_kind(key)
        if kind == "predicate":
            return _predicate(key)
        if kind in _PLACE_CLASSES:
            return _series(key, lexicon.places()[kind])
        return _series(key, SERIES[kind])
    if spec.startswith("#"):
        return _noun(key, spec)
    if spec.startswith("calc "):
        return _calc(key, spec[5:])
    if ".." in spec and spec.split("..")[0].isdigit():
        return _number(key, spec)
    return _texts(keys, spec)

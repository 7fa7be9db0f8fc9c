"""Sentence templates: text with slots, particles, conjugated predicates and choices, compiled once and rendered often.

{a}           the slot's value
{a:은}        with the particle that agrees (은/는 이/가 을/를 과/와 으로/로 ...)
{'a:이라는}   the value in quotation marks
{n~개}        a number with its counter (세 개 or 3개, one way per document); {n~개:을} adds a particle
{v^P} {가다^P}  a predicate from a slot, or written out, in an ending or a code of `conjugate.FINAL_ENDINGS`
{x=N} {책=N}  a noun with 이다, likewise
[a|b|c]       one of them; may hold slots and further choices
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from random import Random
from typing import Any

from dokja.build.hangul import counting, particle, sino
from dokja.build.korean.conjugate import FINAL_ENDINGS, conjugate, copula
from dokja.build.korean.lexicon import predicate

Context = dict[str, Any]
Op = Callable[[Context, Random], str]
Template = Callable[[Context, Random], str]

PARTICLES = {
    "은": "은/는", "이": "이/가", "을": "을/를", "과": "과/와", "으로": "으로/로", "아": "아/야", "이나": "이나/나",
    "이랑": "이랑/랑", "이라고": "이라고/라고", "이라는": "이라는/라는", "이라면": "이라면/라면",
    "으로는": "으로는/로는",
    "이라도": "이라도/라도", "으로도": "으로도/로도", "이든": "이든/든", "과는": "과는/와는", "이란": "이란/란",
    "으로부터": "으로부터/로부터", "과의": "과의/와의", "으로서": "으로서/로서", "과도": "과도/와도",
}  # fmt: skip
# Counters that take Sino-Korean numerals; every other counter takes native ones.
SINO_COUNTERS = frozenset(
    (
        "원", "분", "층", "월", "일", "년", "학년", "반", "호", "주", "미터", "킬로미터", "도", "킬로그램", "그램",
        "인분", "센티미터", "리터", "퍼센트", "쪽", "초", "회", "개월", "동", "등",
    )
)  # fmt: skip


@lru_cache(maxsize=65536)
def attach(word: str, key: str) -> str:
    """The word with the particle of PARTICLES that agrees with it; a closing quotation mark is not read."""
    return word + particle(word.rstrip("'"), PARTICLES[key])


@lru_cache(maxsize=65536)
def quantity(number: int, counter: str, words: bool) -> str:
    """A number and its counter: 세 개, 삼천 원 (words) or 3개, 3,000원 (figures)."""
    if counter in SINO_COUNTERS:
        # Years, months, minutes and money of odd size are hard to read in words.
        if words and counter in ("원", "층", "월", "주", "인분") and number % 100 in (0, *range(1, 13)):
            return _join(_spaced(number), counter)
        return f"{number:,}{counter}" if counter == "원" else f"{number}{counter}"
    if words and number <= 20:
        return counting(number) + " " + counter
    return f"{number}{counter}"


def _spaced(number: int) -> str:
    """Read in Sino-Korean with a space after the ten thousands (만 삼천), as the spelling rules ask (article 44)."""
    high, low = divmod(number, 10_000)
    return f"{sino(high * 10_000)} {sino(low)}" if high and low else sino(number)


def _join(numeral: str, counter: str) -> str:
    if counter == "월":
        # 유월 and 시월 lose their finals.
        return {"육": "유", "십": "시"}.get(numeral, numeral) + counter
    return numeral + " " + counter


def _value(body: str) -> Op:
    """A slot's value, or with ~ its number with a counter ($ where the counter is in a slot: {n~$o.c})."""
    name, tilde, counter = body.partition("~")
    if name[0] == "'":
        quoted = name[1:]
        return lambda ctx, rng: f"'{ctx[quoted]}'"
    if not tilde:
        return lambda ctx, rng: str(ctx[name])
    if counter.startswith("$"):
        key = counter[1:]
        return lambda ctx, rng: quantity(ctx[name], ctx[key], ctx["_words"])
    return lambda ctx, rng: quantity(ctx[name], counter, ctx["_words"])


def _slot(expression: str) -> Op:
    """One {...}: compiled to a function of the context."""
    body, _, part = expression.partition(":")
    if part and part not in PARTICLES:
        raise ValueError(f"unknown particle {part!r} in {{{expression}}}")
    if "^" in body:
        return _predicate_op(*body.split("^"))
    if "=" in body:
        return _copula_op(*body.split("="))
    value = _value(body)
    if part:
        return lambda ctx, rng: attach(value(ctx, rng), part)
    return value


def _codes(ending: str) -> dict[str, str] | None:
    if ending not in FINAL_ENDINGS["plain"]:
        return None
    return {style: table[ending] for style, table in FINAL_ENDINGS.items()}


def _predicate_op(word: str, ending: str) -> Op:
    codes = _codes(ending)
    if word[0].isascii():
        if codes:
            return lambda ctx, rng: conjugate(predicate(ctx[word]), codes[ctx["_style"]])
        return lambda ctx, rng: conjugate(predicate(ctx[word]), ending)
    known = predicate(word)
    if codes:
        forms = {style: conjugate(known, form) for style, form in codes.items()}
        return lambda ctx, rng: forms[ctx["_style"]]
    fixed = conjugate(known, ending)
    return lambda ctx, rng: fixed


def _copula_op(word: str, ending: str) -> Op:
    codes = _codes(ending)
    if word[0].isascii():
        value = _value(word)
        if codes:
            return lambda ctx, rng: copula(value(ctx, rng), codes[ctx["_style"]])
        return lambda ctx, rng: copula(value(ctx, rng), ending)
    if codes:
        forms = {style: copula(word, form) for style, form in codes.items()}
        return lambda ctx, rng: forms[ctx["_style"]]
    fixed = copula(word, ending)
    return lambda ctx, rng: fixed


def _parse(text: str, at: int, nested: bool) -> tuple[list[list[str | Op]], int]:
    """Alternatives from `at` to the closing bracket (or the end), each a list of text and operations."""
    alternatives: list[list[str | Op]] = [[]]
    plain = ""

    def flush() -> None:
        nonlocal plain
        if plain:
            alternatives[-1].append(plain)
            plain = ""

    while at < len(text):
        char = text[at]
        if char == "{":
            end = text.index("}", at)
            flush()
            alternatives[-1].append(_slot(text[at + 1 : end]))
            at = end + 1
        elif char == "[":
            flush()
            inner, at = _parse(text, at + 1, True)
            alternatives[-1].append(_choice(inner))
        elif char == "]" and nested:
            flush()
            return alternatives, at + 1
        elif char == "|" and nested:
            flush()
            alternatives.append([])
            at += 1
        else:
            plain += char
            at += 1
    if nested:
        raise ValueError(f"unclosed [ in template {text!r}")
    flush()
    return alternatives, at


def _choice(alternatives: list[list[str | Op]]) -> Op:
    rendered = [_sequence(parts) for parts in alternatives]
    count = len(rendered)
    return lambda ctx, rng: rendered[int(rng.random() * count)](ctx, rng)


def _sequence(parts: list[str | Op]) -> Op:
    if not parts:
        return lambda ctx, rng: ""
    if len(parts) == 1:
        only = parts[0]
        if isinstance(only, str):
            return lambda ctx, rng: only
        return only

    def run(ctx: Context, rng: Random) -> str:
        return "".join([part if isinstance(part, str) else part(ctx, rng) for part in parts])

    return run


@cache
def template(text: str) -> Template:
    """Compile a template; ValueError or KeyError where it is malformed or uses a word that the lexicon lacks."""
    alternatives, _ = _parse(text.replace("//", "\n"), 0, False)
    return _sequence(alternatives[0])

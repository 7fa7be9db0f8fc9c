"""Units: metres and centimetres, hours and minutes, coins, dozens."""

from __future__ import annotations

from random import Random

from dokja.build.hangul import particle

from .core import Exercise
from .words import unit_particle

# Large unit, small unit, how many small ones make a large one, and the largest count that the questions use.
_UNITS = (
    ("m", "cm", 100, 99),
    ("km", "m", 1000, 99),
    ("cm", "mm", 10, 99),
    ("kg", "g", 1000, 99),
    ("t", "kg", 1000, 50),
    ("L", "mL", 1000, 50),
    ("시간", "분", 60, 12),
    ("분", "초", 60, 12),
    ("일", "시간", 24, 10),
    ("주", "일", 7, 20),
)
_DECIMAL = tuple(row for row in _UNITS if row[2] in (10, 100, 1000))
_MIXED = tuple(row for row in _UNITS if row[0] not in ("일", "주", "t"))
# What is counted in bundles: the thing, the bundle, its size, the piece.
_BUNDLES = (
    ("연필", "다스", 12, "자루"),
    ("양말", "켤레", 2, "짝"),
    ("신발", "켤레", 2, "짝"),
    ("달걀", "판", 30, "개"),
    ("고등어", "손", 2, "마리"),
    ("오징어", "축", 20, "마리"),
    ("굴비", "두름", 20, "마리"),
    ("김", "톳", 100, "장"),
    ("마늘", "접", 100, "개"),
    ("바늘", "쌈", 24, "개"),
)
_COINS = (10, 50, 100, 500)
_NOTES = (1000, 5000, 10000)

_CONVERT = (
    "{q}{topic} {ask}입니까?",
    "{q}{of} {u}{to} 나타내면?",
    "{q} = ? {u}{to} 답하세요.",
    "{q}{of} {u}{to} 바꾸면 {ask}입니까?",
)
_SPLIT = (
    "{q}{topic} 몇 {v} 몇 {u}입니까?",
    "{q}{of} 몇 {v} 몇 {u}{to} 나타내면?",
    "{q}{of} {v}{with_} {u}{to} 나누어 쓰면?",
)
_BUNDLE = (
    "{x} {n}{b}{topic} 몇 {p}입니까?",
    "{x} {n}{b}{sub} 있으면 모두 몇 {p}입니까?",
    "{x} 한 {b}{topic1} {size}{p}입니다. {n}{b}{topic} 몇 {p}입니까?",
)
_UNBUNDLE = (
    "{x} {n}{p}{topic} 몇 {b}입니까?",
    "{x} {n}{p}{of} 묶으면 몇 {b}입니까?",
    "{x} 한 {b}{topic1} {size}{p}입니다. {n}{p}{topic} 몇 {b}입니까?",
)
_SUM = (
    "{c}원짜리 {kind} {n}{k}{topic} 얼마입니까?",
    "{c}원짜리 {kind}{sub_kind} {n}{k} 있으면 모두 얼마입니까?",
    "{c}원짜리 {kind} {n}{k}{of} 모으면 얼마입니까?",
)
_HOW_MANY = (
    "{s}원은 {c}원짜리 {kind} 몇 {k}입니까?",
    "{s}원을 {c}원짜리 {kind}{to} 바꾸면 몇 {k}입니까?",
    "{c}원짜리 {kind} 몇 {k}{sub} 모이면 {s}원입니까?",
)
_COMPARE = {
    "m": ("더 긴 것은? {x}, {y}", "{x} 길이와 {y} 길이 중 더 긴 것은?"),
    "g": ("더 무거운 것은? {x}, {y}", "{x} 무게와 {y} 무게 중 더 무거운 것은?"),
    "L": ("더 많은 것은? {x}, {y}", "{x} 들이와 {y} 들이 중 더 많은 것은?"),
    "분": ("더 긴 시간은? {x}, {y}", "{x} 동안과 {y} 동안 중 더 긴 것은?"),
}


def _exercise(
    prompt: str, answer: str, key: str, form: str, level: int, choices: tuple[str, str] | tuple[()] = ()
) -> Exercise:
    return Exercise("units", prompt, answer, f"units:{key}", form, level, choices)


def _ask(rng: Random, quantity: str, last: str, wanted: str) -> str:
    return rng.choice(_CONVERT).format(
        q=quantity,
        u=wanted,
        ask="며칠" if wanted == "일" else f"몇 {wanted}",
        topic=unit_particle(last, "은/는"),
        of=unit_particle(last, "을/를"),
        to=unit_particle(wanted, "으로/로"),
    )


def _convert(rng: Random) -> Exercise:
    large, small, size, most = rng.choice(_UNITS)
    count = rng.randrange(1, most + 1)
    level = 1 if count <= 10 or size in (10, 100, 1000) else 2
    if rng.random() < 0.55:
        prompt = _ask(rng, f"{count}{large}", large, small)
        return _exercise(prompt, f"{count * size}{small}", f"{count}{large}>{small}", "to small", level)
    prompt = _ask(rng, f"{count * size}{small}", small, large)
    return _exercise(prompt, f"{count}{large}", f"{count * size}{small}>{large}", "to large", level)


def _mixed(rng: Random) -> Exercise:
    large, small, size, most = rng.choice(_MIXED)
    count = rng.randrange(1, min(most, 20) if size > 60 else 10)
    # Round remainders where the step is a thousand: 2km 350m rather than 2km 347m.
    rest = 10 * rng.randrange(1, size // 10) if size == 1000 else rng.randrange(1, size)
    mixed, flat = f"{count}{large} {rest}{small}", f"{count * size + rest}{small}"
    level = 2 if size in (10, 100) or count < 4 else 3
    if rng.random() < 0.5:
        return _exercise(_ask(rng, mixed, small, small), flat, f"{mixed}>{small}", "mixed to small", level)
    prompt = rng.choice(_SPLIT).format(
        q=flat,
        v=large,
        u=small,
        topic=unit_particle(small, "은/는"),
        of=unit_particle(small, "을/를"),
        to=unit_particle(small, "으로/로"),
        with_=unit_particle(large, "과/와"),
    )
    return _exercise(prompt, mixed, f"{flat}>{large}{small}", "small to mixed", level)


def _bundle(rng: Random) -> Exercise:
    thing, bundle, size, piece = rng.choice(_BUNDLES)
    count = rng.randrange(2, 31 if size in (2, 100) else 16)
    apart = rng.random() < 0.6
    unit, number = (bundle, count) if apart else (piece, count * size)
    prompt = rng.choice(_BUNDLE if apart else _UNBUNDLE).format(
        x=thing,
        b=bundle,
        p=piece,
        n=number,
        size=size,
        topic=particle(unit, "은/는"),
        topic1=particle(bundle, "은/는"),
        sub=particle(unit, "이/가"),
        of=particle(unit, "을/를"),
    )
    level = 1 if size in (2, 100) or count <= 5 else 2
    if apart:
        return _exercise(prompt, f"{count * size}{piece}", f"{thing}:{count}{bundle}>{piece}", "bundle", level)
    return _exercise(prompt, f"{count}{bundle}", f"{thing}:{count * size}{piece}>{bundle}", "unbundle", level)


def _money(rng: Random) -> Exercise:
    coin = rng.random() < 0.6
    value = rng.choice(_COINS if coin else _NOTES)
    count = rng.randrange(2, 41 if coin else 21)
    kind, counter = ("동전", "개") if coin else ("지폐", "장")
    add = rng.random() < 0.5
    prompt = rng.choice(_SUM if add else _HOW_MANY).format(
        c=value,
        s=value * count,
        n=count,
        k=counter,
        kind=kind,
        sub_kind=particle(kind, "이/가"),
        to=particle(kind, "으로/로"),
        topic=particle(counter, "은/는"),
        of=particle(counter, "을/를"),
        sub=particle(counter, "이/가"),
    )
    level = 1 if count <= 10 else 2
    if add:
        return _exercise(prompt, f"{value * count}원", f"{value}원*{count}", "money", level)
    return _exercise(prompt, f"{count}{counter}", f"{value * count}원/{value}", "coins", level)


def _compare(rng: Random) -> Exercise:
    """Which of two quantities in different units is more; either is as likely to be, and to come first."""
    large, small, size, most = rng.choice(_MIXED)
    count = rng.randrange(1, min(most, 10) + 1)
    step = max(1, size // 50)
    other = count * size + step * rng.randrange(1, max(2, min(50, count * size // step))) * rng.choice((-1, 1))
    x, y = f"{count}{large}", f"{other}{small}"
    answer = x if count * size > other else y
    if rng.random() < 0.5:
        x, y = y, x
    family = "분" if small in ("분", "초") else "L" if large == "L" else "g" if large == "kg" else "m"
    prompt = rng.choice(_COMPARE[family]).format(x=x, y=y)
    return _exercise(prompt, answer, f"compare:{min(x, y)}:{max(x, y)}", "compare", 2, (x, y))


def make(rng: Random) -> Exercise:
    """Convert a quantity, split or join a mixed one, unpack bundles, change money, or compare two quantities."""
    draw = rng.random()
    if draw < 0.4:
        return _convert(rng)
    if draw < 0.58:
        return _mixed(rng)
    if draw < 0.7:
        return _bundle(rng)
    if draw < 0.88:
        return _money(rng)
    return _compare(rng)


def drill(rng: Random) -> Exercise:
    """5m=?cm -> 500, 500cm=?m -> 5, 5m 20cm=?cm -> 520; the answer may name its unit."""
    large, small, size, most = rng.choice(_DECIMAL if rng.random() < 0.85 else _UNITS)
    count = rng.randrange(1, (most if size in (10, 100, 1000) else min(most, 9)) + 1)
    draw = rng.random()
    if draw < 0.3 and size in (10, 100, 1000):
        # As many digits as the step has zeros, so that the answer is the two numbers in a row.
        rest = rng.randrange(1, 10) * (100 if size == 1000 else 1) if size != 100 else rng.randrange(10, 100)
        mixed, answer = f"{count}{large} {rest}{small}", str(count * size + rest)
        return _drilled(f"{mixed}=?{small}", answer, small, f"{mixed}>{small}", "drill mixed")
    if draw < 0.7:
        return _drilled(
            f"{count}{large}=?{small}", str(count * size), small, f"{count}{large}>{small}", "drill to small"
        )
    flat = f"{count * size}{small}"
    return _drilled(f"{flat}=?{large}", str(count), large, f"{flat}>{large}", "drill to large")


def _drilled(prompt: str, answer: str, unit: str, key: str, form: str) -> Exercise:
    return Exercise("units", prompt, answer, f"units:{key}", form, 1, also=(answer + unit,))

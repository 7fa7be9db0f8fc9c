"""Arithmetic in one or two steps, as a sum in words or as a short story.

A story's people and things are wording: the key is the sum, so the story "7 and 5" and the bare "7 + 5" are one
problem and fall in one split.
"""

from __future__ import annotations

from random import Random

from dokja.build.hangul import particle

from .core import Exercise
from .words import NAMES

# What can be held, given and bought, by its counter.
_COUNTERS = {
    "개": "사과 사탕 구슬 귤 빵 달걀 단추 과자 인형 풍선",
    "자루": "연필 색연필 볼펜",
    "권": "책 공책 수첩",
    "장": "색종이 우표 딱지 카드",
    "송이": "장미 꽃 튤립",
}
_GOODS = tuple((thing, counter) for counter, things in _COUNTERS.items() for thing in things.split())
_PLUS = (
    "{a} 더하기 {b}{topic} 얼마입니까?",
    "{a} + {b} = ?",
    "{who}에게 {x}{sub} {a}{c} 있습니다. {b}{c}{of} 더 받으면 모두 몇 {c}입니까?",
    "{x} {a}{c}에 {b}{c}{of} 더하면 몇 {c}입니까?",
)
_PLUS_SMALL = (
    *_PLUS,
    "버스에 {a}명이 있습니다. {b}명이 더 타면 모두 몇 명입니까?",
    "연못에 오리가 {a}마리 있습니다. {b}마리가 더 오면 몇 마리입니까?",
)
_MINUS = (
    "{a} 빼기 {b}{topic} 얼마입니까?",
    "{a} - {b} = ?",
    "{who}에게 {x}{sub} {a}{c} 있습니다. {b}{c}{of} 주면 몇 {c} 남습니까?",
    "{x} {a}{c}에서 {b}{c}{of} 빼면 몇 {c}입니까?",
)
_MINUS_SMALL = (
    *_MINUS,
    "버스에 {a}명이 있습니다. {b}명이 내리면 몇 명 남습니까?",
    "나무에 새가 {a}마리 있습니다. {b}마리가 날아가면 몇 마리 남습니까?",
)
_TIMES = (
    "{a} 곱하기 {b}{topic} 얼마입니까?",
    "{a} × {b} = ?",
    "{x}{sub} 한 상자에 {a}{c}씩 {b}상자 있습니다. 모두 몇 {c}입니까?",
    "{x}{of_x} {a}{c}씩 {b}명에게 주려면 몇 {c}{sub_c} 필요합니까?",
)
_DIVIDED = (
    "{a} 나누기 {b}{topic} 얼마입니까?",
    "{a} ÷ {b} = ?",
    "{x} {a}{c}{of} {b}명이 똑같이 나누면 한 명이 몇 {c}씩 갖습니까?",
    "{x} {a}{c}{of} {b}상자에 똑같이 담으면 한 상자에 몇 {c}입니까?",
)
_PLUS_MINUS = (
    "{a} + {b} - {d} = ?",
    "{who}에게 {x}{sub} {a}{c} 있습니다. {b}{c}{of} 받고 {d}{c}{of} 주면 몇 {c}입니까?",
    "버스에 {a}명이 있습니다. {b}명이 타고 {d}명이 내리면 몇 명입니까?",
)
_MINUS_PLUS = (
    "{a} - {b} + {d} = ?",
    "{who}에게 {x}{sub} {a}{c} 있습니다. {b}{c}{of} 주고 {d}{c}{of} 받으면 몇 {c}입니까?",
    "버스에 {a}명이 있습니다. {b}명이 내리고 {d}명이 타면 몇 명입니까?",
)
_MINUS_MINUS = (
    "{a} - {b} - {d} = ?",
    "{who}에게 {x}{sub} {a}{c} 있습니다. {b}{c}{of} 먼저 주고 {d}{c}{of} 더 주면 몇 {c} 남습니까?",
    "나무에 새가 {a}마리 있습니다. {b}마리가 가고 또 {d}마리가 가면 몇 마리 남습니까?",
)
_TIMES_PLUS = (
    "{a} × {b} + {d} = ?",
    "{x}{sub} {a}{c}씩 {b}상자, 따로 {d}{c} 있습니다. 모두 몇 {c}입니까?",
)
_TIMES_MINUS = (
    "{a} × {b} - {d} = ?",
    "{x}{sub} {a}{c}씩 {b}상자 있습니다. {d}{c}{of} 주면 몇 {c} 남습니까?",
)
_PRICE = (
    "{a}원짜리 {x} {b}{c}{topic_c} 얼마입니까?",
    "{x} 한 {c}에 {a}원입니다. {b}{c}{of} 사면 얼마입니까?",
)
_CHANGE = (
    "{a}원을 내고 {b}원짜리 {x}{of_x} 샀습니다. 거스름돈은 얼마입니까?",
    "{a}원에서 {b}원을 쓰면 얼마가 남습니까?",
)


def _tell(rng: Random, wordings: tuple[str, ...], answer: int, a: int, b: int, d: int = 0) -> tuple[str, str]:
    """A wording filled in, and the answer with the unit that it asks for."""
    wording = rng.choice(wordings)
    if "{x}" not in wording:
        prompt = wording.format(a=a, b=b, d=d, topic=particle(str(b), "은/는") if "{topic}" in wording else "")
        unit = "마리" if "마리" in wording else "명" if "명" in wording else "원" if "원" in wording else ""
        return prompt, f"{answer}{unit}"
    thing, counter = rng.choice(_GOODS)
    who = rng.choice(NAMES)
    prompt = wording.format(
        a=a,
        b=b,
        d=d,
        x=thing,
        c=counter,
        who=who,
        sub=particle(thing, "이/가"),
        of_x=particle(thing, "을/를"),
        of=particle(counter, "을/를"),
        sub_c=particle(counter, "이/가"),
        topic_c=particle(counter, "은/는"),
    )
    return prompt, f"{answer}{counter}"


def _exercise(told: tuple[str, str], key: str, form: str, level: int) -> Exercise:
    return Exercise("arithmetic", told[0], told[1], f"arithmetic:{key}", form, level)


def _plus(rng: Random, small: bool) -> Exercise:
    if small:
        a, b = rng.randrange(2, 50), rng.randrange(1, 13)
        if rng.random() < 0.3:
            a, b = b, a
    else:
        a, b = rng.randrange(10, 90), rng.randrange(10, 90)
    told = _tell(rng, _PLUS_SMALL if small else _PLUS, a + b, a, b)
    return _exercise(told, f"{min(a, b)}+{max(a, b)}", "plus", 1 if small else 2)


def _minus(rng: Random, small: bool) -> Exercise:
    a = rng.randrange(3, 50) if small else rng.randrange(20, 100)
    b = rng.randrange(1, min(a, 13)) if small else rng.randrange(10, a)
    return _exercise(_tell(rng, _MINUS_SMALL if small else _MINUS, a - b, a, b), f"{a}-{b}", "minus", 1 if small else 2)


def _times(rng: Random) -> Exercise:
    a, b = rng.randrange(2, 20), rng.randrange(2, 10)
    level = 1 if a < 6 and b < 6 else 2
    return _exercise(_tell(rng, _TIMES, a * b, a, b), f"{min(a, b)}*{max(a, b)}", "times", level)


def _divided(rng: Random) -> Exercise:
    b, quotient = rng.randrange(2, 10), rng.randrange(2, 20)
    a = b * quotient
    level = 1 if quotient < 6 and b < 6 else 2
    return _exercise(_tell(rng, _DIVIDED, quotient, a, b), f"{a}/{b}", "divided", level)


def _two_steps(rng: Random) -> Exercise:
    kind = rng.randrange(5)
    if kind < 3:
        a, b = rng.randrange(5, 31), rng.randrange(1, 16)
        if kind == 0:
            d = rng.randrange(1, a + b)
            return _exercise(_tell(rng, _PLUS_MINUS, a + b - d, a, b, d), f"{a}+{b}-{d}", "two steps", 2)
        b = min(b, a - 2)
        if kind == 1:
            d = rng.randrange(1, 16)
            return _exercise(_tell(rng, _MINUS_PLUS, a - b + d, a, b, d), f"{a}-{b}+{d}", "two steps", 2)
        d = rng.randrange(1, a - b)
        return _exercise(_tell(rng, _MINUS_MINUS, a - b - d, a, b, d), f"{a}-{b}-{d}", "two steps", 2)
    a, b = rng.randrange(2, 10), rng.randrange(2, 10)
    if kind == 3:
        d = rng.randrange(1, 21)
        return _exercise(_tell(rng, _TIMES_PLUS, a * b + d, a, b, d), f"{a}*{b}+{d}", "two steps", 3)
    d = rng.randrange(1, a * b)
    return _exercise(_tell(rng, _TIMES_MINUS, a * b - d, a, b, d), f"{a}*{b}-{d}", "two steps", 3)


def _money(rng: Random) -> Exercise:
    if rng.random() < 0.5:
        a, b = 50 * rng.randrange(1, 21), rng.randrange(2, 10)
        prompt, _ = _tell(rng, _PRICE, a * b, a, b)
        return _exercise((prompt, f"{a * b}원"), f"{b}*{a}", "money", 2)
    a = rng.choice((500, 1000, 2000, 3000, 5000, 10000))
    b = 50 * rng.randrange(1, a // 50)
    prompt, _ = _tell(rng, _CHANGE, a - b, a, b)
    return _exercise((prompt, f"{a - b}원"), f"{a}-{b}", "money", 2)


def make(rng: Random) -> Exercise:
    """A sum of one step (mostly below 60), of two steps, or with money."""
    draw = rng.random()
    if draw < 0.45:
        return _plus(rng, small=True) if draw < 0.23 else _minus(rng, small=True)
    if draw < 0.57:
        return _plus(rng, small=False) if draw < 0.51 else _minus(rng, small=False)
    if draw < 0.76:
        return _times(rng) if draw < 0.67 else _divided(rng)
    if draw < 0.92:
        return _two_steps(rng)
    return _money(rng)


def drill(rng: Random) -> Exercise:
    """352+1 -> 353, 34+5 -> 39, 38-6 -> 32, 7+5 -> 12, 6×3 -> 18, 20×4 -> 80.

    Two in three are one or two more or less than a number, with nothing to carry: the first step of counting on.
    """
    draw = rng.random()
    if draw < 0.88:
        plus = draw < 0.5
        a, b, level = rng.randrange(2, 10), rng.randrange(1, 10), 1
        kind = rng.random()
        if kind < 0.76:
            b = rng.randrange(1, 3)
            while True:
                a = rng.randrange(10, 100 if rng.random() < 0.5 else 1000)
                if (a % 10 + b < 10) if plus else (b <= a % 10):
                    break
        elif kind < 0.92:
            # Mostly nothing to carry or to borrow.
            level = 1 if rng.random() < 0.8 else 2
            while True:
                a, b = rng.randrange(10, 100), rng.randrange(1, 10)
                if ((a % 10 + b < 10) if plus else (b <= a % 10)) == (level == 1):
                    break
        if plus:
            return _exercise((f"{a}+{b}", str(a + b)), f"{min(a, b)}+{max(a, b)}", "drill plus", level)
        if a <= b:
            a += 10
        return _exercise((f"{a}-{b}", str(a - b)), f"{a}-{b}", "drill minus", level)
    a, b = rng.randrange(2, 10), rng.randrange(2, 10)
    if rng.random() < 0.5:
        a *= 10
    return _exercise((f"{a}×{b}", str(a * b)), f"{min(a, b)}*{max(a, b)}", "drill times", 1)

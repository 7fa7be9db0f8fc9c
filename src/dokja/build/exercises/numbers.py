"""Reading numbers: 삼백이십오 ↔ 325, and native numerals for counting: 스물한 마리 ↔ 21마리."""

from __future__ import annotations

from random import Random

from dokja.build.hangul import counting, native, particle, sino

from .core import Exercise

_READ = (
    "{n}{of} 한글로 쓰면?",
    "{n}{topic} 어떻게 읽습니까?",
    "숫자 {n}{of} 소리 나는 대로 한글로 쓰세요.",
    "{n}{of} 읽으면?",
)
_WRITE = (
    "'{r}'{of} 숫자로 쓰면?",
    "'{r}'{topic} 숫자로 얼마입니까?",
    "{r} → 숫자로 쓰세요.",
    "한글로 쓴 수 '{r}'{of} 숫자로 바꾸면?",
)
_READ_NATIVE = (
    "{n}{of} '하나, 둘, 셋'처럼 읽으면?",
    "{n}{of} 순우리말로 읽으면?",
    "'하나'부터 세면 {n}번째 수는 무엇입니까?",
)
_READ_COUNT = (
    "'{n}{c}'{of} 순우리말로 읽으면?",
    "'{n}{c}'{topic} 순우리말로 어떻게 읽습니까?",
    "'{n}{c}'{of} '한 {c}, 두 {c}'처럼 읽으면?",
)
_WRITE_COUNT = (
    "'{r}'{topic} 몇 {c}입니까? 숫자로 쓰세요.",
    "'{r}'{of} 숫자로 쓰면?",
)
COUNTERS = ("개", "명", "마리", "권", "살", "장", "자루", "송이", "그루", "대", "병", "잔", "켤레", "채", "벌")


def _sized(rng: Random) -> tuple[int, int]:
    """A number and its level, mostly of two or three digits; every fourth has a zero inside or at its end."""
    draw = rng.random()
    if draw < 0.3:
        return rng.randrange(10, 100), 1
    if draw < 0.8:
        number = rng.randrange(100, 1000)
        return (number // 10 * 10 if rng.random() < 0.15 else number), 1 if draw < 0.5 else 2
    if draw < 0.93:
        return rng.randrange(1000, 10_000), 3
    return rng.randrange(10_000, 100_000), 3


def _read(rng: Random) -> Exercise:
    number, level = _sized(rng)
    word = str(number)
    prompt = rng.choice(_READ).format(n=word, of=particle(word, "을/를"), topic=particle(word, "은/는"))
    answer = sino(number)
    also = ("일" + answer,) if answer.startswith("만") else ()
    return Exercise("numbers", prompt, answer, f"numbers:read:{number}", "read", level, also=also)


def _write(rng: Random) -> Exercise:
    number, level = _sized(rng)
    word = sino(number)
    prompt = rng.choice(_WRITE).format(r=word, of=particle(word, "을/를"), topic=particle(word, "은/는"))
    return Exercise("numbers", prompt, str(number), f"numbers:write:{number}", "write", level)


def _native(rng: Random) -> Exercise:
    number = rng.randrange(1, 100)
    if rng.random() < 0.5:
        word = str(number)
        prompt = rng.choice(_READ_NATIVE).format(n=word, of=particle(word, "을/를"))
        return Exercise("numbers", prompt, native(number), f"numbers:native:{number}", "read native", 1)
    word = native(number)
    prompt = rng.choice(_WRITE).format(r=word, of=particle(word, "을/를"), topic=particle(word, "은/는"))
    return Exercise("numbers", prompt, str(number), f"numbers:write native:{number}", "write native", 1)


def _count(rng: Random) -> Exercise:
    number, counter = rng.randrange(1, 100), rng.choice(COUNTERS)
    read = f"{counting(number)} {counter}"
    of, topic = particle(counter, "을/를"), particle(counter, "은/는")
    level = 1 if number <= 30 else 2
    if rng.random() < 0.6:
        prompt = rng.choice(_READ_COUNT).format(n=number, c=counter, of=of, topic=topic)
        return Exercise("numbers", prompt, read, f"numbers:count:{number}{counter}", "read counted", level)
    prompt = rng.choice(_WRITE_COUNT).format(r=read, c=counter, of=of, topic=topic)
    key, answer = f"numbers:write count:{number}{counter}", f"{number}{counter}"
    return Exercise("numbers", prompt, answer, key, "write counted", level, also=(str(number),))


def make(rng: Random) -> Exercise:
    """Read a number aloud or write it in digits, Sino-Korean or native."""
    draw = rng.random()
    if draw < 0.35:
        return _read(rng)
    if draw < 0.7:
        return _write(rng)
    if draw < 0.8:
        return _native(rng)
    return _count(rng)


def drill(rng: Random) -> Exercise:
    """47 읽기 -> 사십칠, 사십칠 숫자로 -> 47, 21개 읽기 -> 스물한 개."""
    draw = rng.random()
    if draw < 0.3:
        number, counter = rng.randrange(1, 100), rng.choice(COUNTERS[:6])
        read, key = f"{counting(number)} {counter}", f"numbers:count:{number}{counter}"
        return Exercise("numbers", f"{number}{counter} 읽기", read, key, "drill counted", 1)
    number = rng.randrange(10, 100) if rng.random() < 0.6 else rng.randrange(100, 1000)
    if draw < 0.65:
        return Exercise("numbers", f"{number} 읽기", sino(number), f"numbers:read:{number}", "drill read", 1)
    return Exercise("numbers", f"{sino(number)} 숫자로", str(number), f"numbers:write:{number}", "drill write", 1)

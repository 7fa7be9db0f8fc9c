"""Ordering: the largest number, numbers in order, and who is tallest by what is said of each or of two at a time."""

from __future__ import annotations

from itertools import pairwise, permutations
from random import Random

from dokja.build.hangul import particle

from .core import Exercise
from .words import NAMES, NOUNS

_PICK = {
    "largest": ("{l} 중 가장 큰 수는?", "가장 큰 수를 고르세요: {l}", "{l} 가운데 제일 큰 수는 무엇입니까?"),
    "smallest": ("{l} 중 가장 작은 수는?", "가장 작은 수를 고르세요: {l}", "{l} 가운데 제일 작은 수는 무엇입니까?"),
    "middle": ("{l} 중 두 번째로 큰 수는?", "두 번째로 큰 수를 고르세요: {l}", "{l} 가운데 둘째로 큰 수는?"),
}  # fmt: skip
_PICK_OF_TWO = {
    "largest": ("{l} 중 더 큰 수는?", "더 큰 수를 고르세요: {l}", "{l} 가운데 큰 수는 무엇입니까?"),
    "smallest": ("{l} 중 더 작은 수는?", "더 작은 수를 고르세요: {l}", "{l} 가운데 작은 수는 무엇입니까?"),
}
_SORT = (
    ("{l}{of} 작은 수부터 쓰세요.", "작은 수부터 차례로 쓰면? {l}", "{l}{of} 작은 것부터 늘어놓으면?"),
    ("{l}{of} 큰 수부터 쓰세요.", "큰 수부터 차례로 쓰면? {l}", "{l}{of} 큰 것부터 늘어놓으면?"),
)
_ALPHABET = (
    ("사전에 먼저 나오는 낱말은? {l}", "가나다순으로 앞에 오는 낱말은? {l}", "{l} 중 사전에서 앞에 있는 낱말은?"),
    (
        "사전에 가장 늦게 나오는 낱말은? {l}",
        "가나다순으로 맨 뒤에 오는 낱말은? {l}",
        "{l} 중 사전에서 맨 뒤에 있는 낱말은?",
    ),
)


class _Quality:
    """Something people can be ranked by: how its two ends are said, and how a measure of it reads."""

    def __init__(self, more: str, less: str, most: str, least: str, unit: str, low: int, high: int) -> None:
        self.more, self.less = more, less
        self.most, self.least = most, least
        self.unit, self.low, self.high = unit, low, high


# more/less are stems to which 고 and 습니다 are put: "키가 크고", "키가 큽니다" are both spelt out.
_QUALITIES = (
    _Quality("키가 크고|키가 큽니다", "키가 작고|키가 작습니다", "키가 {} 큰", "키가 {} 작은", "cm", 110, 190),
    _Quality(
        "나이가 많고|나이가 많습니다", "나이가 적고|나이가 적습니다", "나이가 {} 많은", "나이가 {} 적은", "살", 3, 90
    ),
    _Quality("무겁고|무겁습니다", "가볍고|가볍습니다", "{} 무거운", "{} 가벼운", "kg", 20, 90),
    _Quality("빠르고|빠릅니다", "느리고|느립니다", "{} 빠른", "{} 느린", "", 0, 0),
    _Quality("힘이 세고|힘이 셉니다", "힘이 약하고|힘이 약합니다", "힘이 {} 센", "힘이 {} 약한", "", 0, 0),
)
_MEASURED = tuple(quality for quality in _QUALITIES if quality.unit)
_WHO = ("{q} 사람은 누구입니까?", "{q} 사람의 이름은?", "{q} 사람은?")


def _numbers(rng: Random, count: int) -> tuple[list[int], int]:
    """Different numbers, and the level: small ones, or ones of two or three digits, often close to one another."""
    draw = rng.random()
    if draw < 0.45:
        low, high, level = 1, 100, 1
    elif draw < 0.8:
        low, level = rng.randrange(100, 900), 2
        high = low + 100
    else:
        low, high, level = 1000, 10_000, 3
    chosen: list[int] = []
    while len(chosen) < count:
        number = rng.randrange(low, high)
        if number not in chosen:
            chosen.append(number)
    return chosen, level


def _pick(rng: Random) -> Exercise:
    count = 2 if rng.random() < 0.1 else 3
    numbers, level = _numbers(rng, count)
    ranked = sorted(numbers)
    if count == 2:
        kind = "largest" if rng.random() < 0.5 else "smallest"
        wordings = _PICK_OF_TWO[kind]
    else:
        draw = rng.random()
        kind = "largest" if draw < 0.4 else "smallest" if draw < 0.8 else "middle"
        wordings = _PICK[kind]
    answer = {"largest": ranked[-1], "smallest": ranked[0], "middle": ranked[1]}[kind]
    listed = [str(number) for number in numbers]
    key = f"ordering:{kind}:{':'.join(map(str, ranked))}"
    prompt = rng.choice(wordings).format(l=", ".join(listed))
    return Exercise("ordering", prompt, str(answer), key, f"pick of {count}", level, tuple(listed))


def _sort(rng: Random) -> Exercise:
    numbers, level = _numbers(rng, 3)
    down = rng.random() < 0.4
    ranked = sorted(numbers, reverse=down)
    listed = [str(number) for number in numbers]
    prompt = rng.choice(_SORT[down]).format(l=", ".join(listed), of=particle(listed[-1], "을/를"))
    key = f"ordering:sort:{'down' if down else 'up'}:{':'.join(map(str, sorted(numbers)))}"
    answer = ", ".join(map(str, ranked))
    choices = tuple(", ".join(order) for order in permutations(listed))
    return Exercise("ordering", prompt, answer, key, "sort", max(2, level), choices)


def _alphabet(rng: Random) -> Exercise:
    count = 2 if rng.random() < 0.3 else 3
    words = rng.sample(NOUNS, count)
    last = count == 3 and rng.random() < 0.5
    if count == 3 and not last:
        prompt = rng.choice(("사전에 가장 먼저 나오는 낱말은? {l}", "가나다순으로 맨 앞에 오는 낱말은? {l}"))
    else:
        prompt = rng.choice(_ALPHABET[last])
    answer = max(words) if last else min(words)
    key = f"ordering:alphabet:{'last' if last else 'first'}:{':'.join(sorted(words))}"
    prompt = prompt.format(l=", ".join(words))
    return Exercise("ordering", prompt, answer, key, f"alphabet of {count}", count - 1, tuple(words))


def _names(rng: Random, count: int) -> list[str]:
    names: list[str] = []
    while len(names) < count:
        name = rng.choice(NAMES)
        if name not in names:
            names.append(name)
    return names


def _measures(rng: Random) -> Exercise:
    """Who is tallest, oldest or heaviest, each one's measure being given."""
    quality = rng.choice(_MEASURED)
    count = 2 if rng.random() < 0.2 else 3
    names = _names(rng, count)
    values: list[int] = []
    while len(values) < count:
        value = rng.randrange(quality.low, quality.high)
        if value not in values:
            values.append(value)
    most = rng.random() < 0.5
    best = max(values) if most else min(values)
    said = ", ".join(
        f"{name}{particle(name, '은/는')} {value}{quality.unit}" for name, value in zip(names, values, strict=True)
    )
    pattern = quality.most if most else quality.least
    asked = rng.choice(_WHO).format(q=pattern.format("더" if count == 2 else "가장"))
    key = f"ordering:measures:{'most' if most else 'least'}:" + ":".join(
        f"{name}{value}{quality.unit}" for name, value in sorted(zip(names, values, strict=True))
    )
    answer = names[values.index(best)]
    return Exercise("ordering", f"{said}입니다. {asked}", answer, key, f"measures of {count}", 1, tuple(names))


def _chain(rng: Random) -> Exercise:
    """Who comes first or last by one comparison, or by two that share a person; said from either end, in any order."""
    quality = rng.choice(_QUALITIES)
    count = 2 if rng.random() < 0.35 else 3
    ranked = _names(rng, count)
    pairs = list(pairwise(ranked))
    if rng.random() < 0.5:
        pairs.reverse()
    parts: list[str] = []
    mentioned: list[str] = []
    for place, (above, below) in enumerate(pairs):
        up = rng.random() < 0.6
        first, second = (above, below) if up else (below, above)
        joined, final = (quality.more if up else quality.less).split("|")
        end = final if place == len(pairs) - 1 else joined
        parts.append(f"{first}{particle(first, '은/는')} {second}보다 {end}")
        mentioned += [name for name in (first, second) if name not in mentioned]
    wanted = rng.randrange(count)
    if count == 3 and wanted == 1:
        asked = rng.choice(_WHO).format(q=quality.most.format("두 번째로"))
    else:
        pattern = quality.most if wanted == 0 else quality.least
        asked = rng.choice(_WHO).format(q=pattern.format("더" if count == 2 else "가장"))
    key = f"ordering:chain:{wanted}:{quality.unit or quality.most}:{'>'.join(ranked)}"
    prompt = f"{', '.join(parts)}. {asked}"
    answer = ranked[wanted]
    return Exercise("ordering", prompt, answer, key, f"chain of {count}", count if count == 3 else 1, tuple(mentioned))


def make(rng: Random) -> Exercise:
    """Pick or sort numbers, look words up in dictionary order, or rank people."""
    draw = rng.random()
    if draw < 0.3:
        return _pick(rng)
    if draw < 0.42:
        return _sort(rng)
    if draw < 0.57:
        return _alphabet(rng)
    if draw < 0.78:
        return _measures(rng)
    return _chain(rng)


def drill(rng: Random) -> Exercise:
    """작은 순 7,3,5 -> 3,5,7, of one digit or two."""
    highest = 9 if rng.random() < 0.5 else 99
    numbers = rng.sample(range(1, highest + 1), 3)
    down = rng.random() < 0.3
    listed = [str(number) for number in numbers]
    answer = ",".join(map(str, sorted(numbers, reverse=down)))
    key = f"ordering:sort:{'down' if down else 'up'}:{':'.join(map(str, sorted(numbers)))}"
    choices = tuple(",".join(order) for order in permutations(listed))
    return Exercise("ordering", f"{'큰' if down else '작은'} 순 {','.join(listed)}", answer, key, "drill", 1, choices)

"""Clock exercises: later, earlier, how long between, and the 24-hour clock."""

from __future__ import annotations

from random import Random

from .core import Exercise

_LATER = (
    "{t}에서 {d} 뒤는 {ask}입니까?",
    "지금은 {t}입니다. {d} 뒤는 {ask}입니까?",
    "{t}에 시작해 {d} 동안 하면 {ask}에 끝납니까?",
    "{t}에서 {d}이 지나면 {ask}입니까?",
)
_EARLIER = (
    "{t}에서 {d} 전은 {ask}입니까?",
    "지금은 {t}입니다. {d} 전은 {ask}{was}?",
    "{t}에 끝났습니다. {d} 걸렸다면 {ask}에 시작했습니까?",
    "{t}보다 {d} 이른 시각은 {ask}입니까?",
)
_BETWEEN = (
    "{t}부터 {u}까지는 몇 {unit}입니까?",
    "{t}에서 {u}까지 몇 {unit} 걸립니까?",
    "지금은 {t}입니다. {u}까지 몇 {unit} 남았습니까?",
    "{t}에 시작해 {u}에 끝났습니다. 몇 {unit} 걸렸습니까?",
)
_TO_24 = (
    "{t}을 24시간제로 쓰면 {ask}입니까?",
    "24시간제로 {t}은 {ask}입니까?",
    "{t}을 24시간제로 나타내세요.",
)
_FROM_24 = (
    "{t}은 오전이나 오후 {ask}입니까?",
    "{t}을 오전, 오후로 나타내면?",
    "24시간제로 {t}입니다. 오전이나 오후로 쓰면?",
)


def _say(hour: int, minute: int) -> str:
    return f"{hour}시 {minute}분" if minute else f"{hour}시"


def _other_ways(hour: int, minute: int, before: str = "") -> tuple[str, ...]:
    """Other right ways to say a time: 4시 정각, 4시 반, 16:05."""
    ways = [f"{before}{hour}:{minute:02}"]
    if not minute:
        ways += [f"{before}{hour}시 정각", f"{before}{hour}시 0분"]
    elif minute == 30:
        ways.append(f"{before}{hour}시 반")
    return tuple(ways)


def _span(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"{rest}분"
    return f"{hours}시간 {rest}분" if rest else f"{hours}시간"


def _hour12(minutes: int) -> int:
    return minutes // 60 % 12 or 12


def _draw(rng: Random) -> tuple[int, int, int]:
    """A time of the 12-hour clock in minutes, a span in minutes, and the level of adding the one to the other."""
    draw = rng.random()
    hour = rng.randrange(12) * 60
    if draw < 0.15:
        return hour, 60 * rng.randrange(1, 12), 1
    if draw < 0.5:
        # Within the hour, in fives.
        start = rng.randrange(11)
        return hour + 5 * start, 5 * rng.randrange(1, 12 - start), 1
    if draw < 0.8:
        return hour + 5 * rng.randrange(12), 5 * rng.randrange(2, 19), 2
    return hour + rng.randrange(60), rng.randrange(3, 181), 3


def _ask(minute: int, other: int) -> str:
    # Asks for minutes where a time in the question has any, not only where the answer has.
    return "몇 시 몇 분" if minute or other else "몇 시"


def _shift(rng: Random, later: bool) -> Exercise:
    start, span, level = _draw(rng)
    end = (start + span) % 720
    if not later:
        start, end = end, start
    t = _say(_hour12(start), start % 60)
    ask = _ask(start % 60, span % 60)
    was = "이었습니까" if ask.endswith("분") else "였습니까"
    prompt = rng.choice(_LATER if later else _EARLIER).format(t=t, d=_span(span), ask=ask, was=was)
    hour, minute = _hour12(end), end % 60
    form = "later" if later else "earlier"
    key = f"clock:{form}:{start}:{span}"
    return Exercise("clock", prompt, _say(hour, minute), key, form, level, also=_other_ways(hour, minute))


def _between(rng: Random) -> Exercise:
    start, span, level = _draw(rng)
    end = (start + span) % 720
    t, u = _say(_hour12(start), start % 60), _say(_hour12(end), end % 60)
    hours, rest = divmod(span, 60)
    unit = "시간" if not rest else "시간 몇 분" if hours else "분"
    prompt = rng.choice(_BETWEEN).format(t=t, u=u, unit=unit)
    also = (f"{span}분",) if hours else ()
    return Exercise("clock", prompt, _span(span), f"clock:between:{start}:{span}", "between", level, also=also)


def _day_clock(rng: Random) -> Exercise:
    """오후 3시 20분 ↔ 15시 20분. The hours 0 and 12 are left out: people disagree on 오전 12시."""
    half = "오전" if rng.random() < 0.25 else "오후"
    hour = rng.randrange(1, 12)
    draw = rng.random()
    minute, level = (0, 1) if draw < 0.2 else (5 * rng.randrange(12), 1) if draw < 0.6 else (rng.randrange(60), 2)
    hour24 = hour + 12 if half == "오후" else hour
    spoken, written = f"{half} {_say(hour, minute)}", _say(hour24, minute)
    ask = "몇 시 몇 분" if minute else "몇 시"
    if rng.random() < 0.6:
        key, also = f"clock:to24:{hour24}:{minute}", _other_ways(hour24, minute)
        return Exercise("clock", _fill(rng, _TO_24, spoken, ask), written, key, "to 24 hours", level, also=also)
    key, also = f"clock:from24:{hour24}:{minute}", _other_ways(hour, minute, half)
    return Exercise("clock", _fill(rng, _FROM_24, written, ask), spoken, key, "from 24 hours", level, also=also)


def _fill(rng: Random, wordings: tuple[str, ...], time: str, ask: str) -> str:
    prompt = rng.choice(wordings).format(t=time, ask=ask)
    # 시 is open and 분 closed, and a whole hour ends in 시.
    return prompt if time.endswith("분") else prompt.replace("시을", "시를").replace("시은", "시는")


def make(rng: Random) -> Exercise:
    """A time later or earlier, the span between two, or a change to or from the 24-hour clock."""
    draw = rng.random()
    if draw < 0.35:
        return _shift(rng, later=True)
    if draw < 0.6:
        return _shift(rng, later=False)
    if draw < 0.8:
        return _between(rng)
    return _day_clock(rng)


def drill(rng: Random) -> Exercise:
    """3시 20분+15분 -> 3시 35분, mostly within the hour, and 오후 3시 20분= -> 15시 20분."""
    if rng.random() < 0.4:
        half, hour = "오전" if rng.random() < 0.15 else "오후", rng.randrange(1, 12)
        minute = 0 if rng.random() < 0.3 else 5 * rng.randrange(1, 12)
        hour24 = hour + 12 if half == "오후" else hour
        prompt, key = f"{half} {_say(hour, minute)}=", f"clock:to24:{hour24}:{minute}"
        also = _other_ways(hour24, minute)
        return Exercise("clock", prompt, _say(hour24, minute), key, "drill 24 hours", 1, also=also)
    start, draw, level = rng.randrange(12) * 60, rng.random(), 1
    if draw < 0.25:
        span = 60 * rng.randrange(1, 7)
    elif draw < 0.8:
        # Within the hour, mostly in tens.
        step = 10 if rng.random() < 0.6 else 5
        minute = step * rng.randrange(60 // step - 1)
        start, span = start + minute, step * rng.randrange(1, (60 - minute) // step)
    else:
        start, span, level = start + 10 * rng.randrange(1, 6), 10 * rng.randrange(1, 6), 2
    end = (start + span) % 720
    hour, minute = _hour12(end), end % 60
    prompt, also = f"{_say(_hour12(start), start % 60)}+{_span(span)}", _other_ways(hour, minute)
    return Exercise("clock", prompt, _say(hour, minute), f"clock:later:{start}:{span}", "drill plus", level, also=also)

"""Calendar exercises: weekdays, dates and months later or earlier, days between, lengths of months."""

from __future__ import annotations

from calendar import isleap, monthrange
from datetime import date, timedelta
from random import Random

from .core import Exercise

WEEKDAYS = ("월요일", "화요일", "수요일", "목요일", "금요일", "토요일", "일요일")
# A year without 29 February stands for "some year" in questions that do not cross the end of February.
_PLAIN_YEAR = 2023

_WEEKDAY_LATER = (
    "오늘은 {w}입니다. {n}일 뒤는 무슨 요일입니까?",
    "{w}에서 {n}일 뒤는 무슨 요일입니까?",
    "{w}부터 {n}일이 지나면 무슨 요일입니까?",
)
_WEEKDAY_EARLIER = (
    "오늘은 {w}입니다. {n}일 전은 무슨 요일이었습니까?",
    "{w}에서 {n}일 전은 무슨 요일입니까?",
    "{w}보다 {n}일 앞선 날은 무슨 요일입니까?",
)
_WEEKDAY_OF_DATE = (
    "{d}이 {w}이면 {e}은 무슨 요일입니까?",
    "{d}은 {w}입니다. {e}은 무슨 요일입니까?",
    "{d}이 {w}인 해의 {e}은 무슨 요일입니까?",
)
_DATE_LATER = (
    "{d}에서 {n}일 뒤는 몇 월 며칠입니까?",
    "오늘은 {d}입니다. {n}일 뒤는 몇 월 며칠입니까?",
    "{d}부터 {n}일이 지나면 몇 월 며칠입니까?",
)
_DATE_EARLIER = (
    "{d}에서 {n}일 전은 몇 월 며칠입니까?",
    "오늘은 {d}입니다. {n}일 전은 몇 월 며칠이었습니까?",
    "{d}보다 {n}일 앞선 날은 몇 월 며칠입니까?",
)
_BETWEEN = (
    "{d}에서 며칠이 지나면 {e}입니까?",
    "오늘은 {d}, 생일은 {e}입니다. 며칠 남았습니까?",
    "{e}은 {d}에서 며칠 뒤입니까?",
)
_MONTH_LATER = (
    "{m}월에서 {n}개월 뒤는 몇 월입니까?",
    "지금은 {m}월입니다. {n}개월 뒤는 몇 월입니까?",
    "{m}월부터 {n}개월이 지나면 몇 월입니까?",
)
_MONTH_EARLIER = (
    "{m}월에서 {n}개월 전은 몇 월입니까?",
    "지금은 {m}월입니다. {n}개월 전은 몇 월이었습니까?",
    "{m}월보다 {n}개월 앞선 달은 몇 월입니까?",
)
_LENGTH = (
    "{y}년 {m}월은 며칠까지 있습니까?",
    "{y}년 {m}월은 모두 며칠입니까?",
    "{y}년 {m}월의 마지막 날은 며칠입니까?",
)


def _say(day: date) -> str:
    return f"{day.month}월 {day.day}일"


def _weekday(rng: Random) -> Exercise:
    start, later = rng.randrange(7), rng.random() < 0.65
    draw = rng.random()
    span, level = (rng.randrange(1, 15), 1) if draw < 0.6 else (rng.randrange(15, 61), 2)
    answer = WEEKDAYS[(start + (span if later else -span)) % 7]
    prompt = rng.choice(_WEEKDAY_LATER if later else _WEEKDAY_EARLIER).format(w=WEEKDAYS[start], n=span)
    return _of_weekday(prompt, answer, f"calendar:weekday:{start}:{span if later else -span}", level)


def _weekday_of_date(rng: Random) -> Exercise:
    """Two dates of one month, or of two months running."""
    month = rng.randrange(1, 13)
    length = monthrange(_PLAIN_YEAR, month)[1]
    first = date(_PLAIN_YEAR, month, rng.randrange(1, length))
    if rng.random() < 0.7 or month in (2, 12):
        second, level = date(_PLAIN_YEAR, month, rng.randrange(first.day + 1, length + 1)), 2
    else:
        second, level = date(_PLAIN_YEAR, month + 1, rng.randrange(1, 29)), 3
    start = rng.randrange(7)
    answer = WEEKDAYS[(start + (second - first).days) % 7]
    prompt = rng.choice(_WEEKDAY_OF_DATE).format(d=_say(first), e=_say(second), w=WEEKDAYS[start])
    return _of_weekday(prompt, answer, f"calendar:weekday:{first:%m%d}:{second:%m%d}:{start}", level)


def _of_weekday(prompt: str, answer: str, key: str, level: int) -> Exercise:
    return Exercise("calendar", prompt, answer, key, "weekday", level, also=(answer[0],))


def _span(rng: Random) -> tuple[date, date, int, str]:
    """Two days 1 to 40 days apart, the level, and the year to be said ("" where it makes no difference)."""
    month = rng.randrange(1, 13)
    if rng.random() < 0.5:
        length = monthrange(_PLAIN_YEAR, month)[1]
        first = rng.randrange(1, length)
        second = min(length, first + rng.randrange(1, 15))
        return date(_PLAIN_YEAR, month, first), date(_PLAIN_YEAR, month, second), 1, ""
    if rng.random() < 0.1:
        year = rng.randrange(1950, 2050)
        start = date(year, 2, rng.randrange(20, 29))
        return start, start + timedelta(rng.randrange(9, 20)), 3, f"{year}년 "
    while True:
        start = date(_PLAIN_YEAR, month, rng.randrange(1, monthrange(_PLAIN_YEAR, month)[1] + 1))
        end = start + timedelta(rng.randrange(1, 41))
        if end.month <= 2 or start.month > 2:
            return start, end, 2 if (end - start).days <= 20 else 3, ""
        month = rng.randrange(1, 13)


def _date(rng: Random) -> Exercise:
    first, second, level, year = _span(rng)
    later = rng.random() < 0.6
    start, end = (first, second) if later else (second, first)
    days = (second - first).days
    prompt = rng.choice(_DATE_LATER if later else _DATE_EARLIER).format(d=year + _say(start), n=days)
    key = f"calendar:date:{year}{start:%m%d}:{days if later else -days}"
    return Exercise("calendar", prompt, _say(end), key, "date", level)


def _between(rng: Random) -> Exercise:
    first, second, level, year = _span(rng)
    days = (second - first).days
    prompt = rng.choice(_BETWEEN).format(d=year + _say(first), e=_say(second))
    key = f"calendar:between:{year}{first:%m%d}:{second:%m%d}"
    return Exercise("calendar", prompt, f"{days}일", key, "between", level)


def _month(rng: Random) -> Exercise:
    month, later = rng.randrange(1, 13), rng.random() < 0.6
    span = rng.randrange(1, 12) if rng.random() < 0.8 else rng.randrange(12, 25)
    answer = (month - 1 + (span if later else -span)) % 12 + 1
    prompt = rng.choice(_MONTH_LATER if later else _MONTH_EARLIER).format(m=month, n=span)
    key = f"calendar:month:{month}:{span if later else -span}"
    return Exercise("calendar", prompt, f"{answer}월", key, "month", 1)


def _length(rng: Random) -> Exercise:
    """How many days a month has; February half the time, a leap one as often as not."""
    year, month = rng.randrange(1900, 2101), 2 if rng.random() < 0.5 else rng.randrange(1, 13)
    if month == 2 and not isleap(year) and rng.random() < 0.5:
        year = min(2096, year // 4 * 4)
    answer = f"{monthrange(year, month)[1]}일"
    prompt = rng.choice(_LENGTH).format(y=year, m=month)
    return Exercise("calendar", prompt, answer, f"calendar:length:{year}:{month}", "length", 1 if month != 2 else 2)


def make(rng: Random) -> Exercise:
    """A weekday, date or month some way off, the days between two dates, or the length of a month."""
    draw = rng.random()
    if draw < 0.25:
        return _weekday(rng)
    if draw < 0.35:
        return _weekday_of_date(rng)
    if draw < 0.65:
        return _date(rng)
    if draw < 0.8:
        return _between(rng)
    if draw < 0.92:
        return _month(rng)
    return _length(rng)


def drill(rng: Random) -> Exercise:
    """월요일+3일 -> 목요일, 3월 5일+1일 -> 3월 6일, 5월+2개월 -> 7월; mostly the next days, within the month."""
    draw = rng.random()
    if draw < 0.15:
        start, days = rng.randrange(7), rng.randrange(1, 8) if rng.random() < 0.7 else rng.randrange(8, 15)
        sign = "+" if rng.random() < 0.75 else "-"
        span = days if sign == "+" else -days
        answer = WEEKDAYS[(start + span) % 7]
        prompt, key = f"{WEEKDAYS[start]}{sign}{days}일", f"calendar:weekday:{start}:{span}"
        return Exercise("calendar", prompt, answer, key, "drill weekday", 1, also=(answer[0],))
    month = rng.randrange(1, 13)
    if draw < 0.88:
        days = rng.randrange(1, 3) if rng.random() < 0.8 else rng.randrange(3, 9)
        day = rng.randrange(1, 29 - days)
        key = f"calendar:date:{month:02}{day:02}:{days}"
        return Exercise("calendar", f"{month}월 {day}일+{days}일", f"{month}월 {day + days}일", key, "drill date", 1)
    months = rng.randrange(1, 7) if rng.random() < 0.7 else rng.randrange(7, 12)
    key, answer = f"calendar:month:{month}:{months}", f"{(month - 1 + months) % 12 + 1}월"
    return Exercise("calendar", f"{month}월+{months}개월", answer, key, "drill month", 1)

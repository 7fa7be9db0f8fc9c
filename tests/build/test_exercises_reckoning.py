"""Clock, calendar, arithmetic, letters, units and ordering: every answer worked out again from the question's text."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date, datetime, timedelta
from itertools import islice, permutations

import pytest

from dokja.build.exercises import Exercise, exercises

WEEK = "월화수목금토일"


def drawn(skill: str, count: int = 5000) -> list[Exercise]:
    return list(islice(exercises(skill, "train", 21), count))


def ints(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def times(text: str) -> list[datetime]:
    """All times of the day in a text; 오후 adds twelve hours."""
    found = re.findall(r"(오전|오후)? ?(\d+)시(?!간)(?: (\d+)분)?", text)
    return [datetime(2000, 1, 1, int(h) % 24 + (12 if half == "오후" else 0), int(m or 0)) for half, h, m in found]


def span(text: str) -> timedelta:
    hours, minutes = re.search(r"(\d+)시간", text), re.search(r"(?<!시 )\b(\d+)분", text)
    return timedelta(hours=int(hours[1]) if hours else 0, minutes=int(minutes[1]) if minutes else 0)


def test_clock_by_datetime() -> None:
    items = drawn("clock")
    forms = {"later", "earlier", "between", "to 24 hours", "from 24 hours", "drill plus", "drill 24 hours"}
    assert {item.form for item in items} == forms
    for item in items:
        start, *rest = times(item.prompt)
        if item.form in ("later", "earlier", "drill plus"):
            by = span(item.prompt)
            end = start - by if item.form == "earlier" else start + by
            assert by
            answer = times(item.answer)[0]
            assert ((end - answer).total_seconds() % (12 * 3600)) == 0
            assert 1 <= ints(item.answer)[0] <= 12
        elif item.form == "between":
            assert (start + span(item.answer) - rest[0]).total_seconds() % (12 * 3600) == 0
            assert timedelta() < span(item.answer) < timedelta(hours=12)
        else:
            assert times(item.answer) == [start]
            assert ("오" in item.answer) == (item.form == "from 24 hours")


def calendar_drill(text: str) -> str:
    """One day or month at a time."""
    start, steps = re.split("[+-]", text)
    ahead, count = "+" in text, ints(steps)[0]
    if "요일" in start:
        week = WEEK if ahead else WEEK[::-1]
        return week[(week.index(start[0]) + count) % 7] + "요일"
    if "개월" in steps:
        return f"{[*range(1, 13), *range(1, 13)][ints(start)[0] - 1 + count]}월"
    end = date(2022, *ints(start)) + timedelta(days=count)
    return f"{end.month}월 {end.day}일"


def calendar_answer(item: Exercise) -> str:
    text = item.prompt
    if item.form.startswith("drill"):
        return calendar_drill(text)
    year = re.search(r"(\d{4})년", text)
    dates = [date(int(year[1]) if year else 2022, int(m), int(d)) for m, d in re.findall(r"(\d+)월 (\d+)일", text)]
    weekday = re.search(r"([월화수목금토일])요일", text)
    count = re.search(r"(\d+)(일|개월)(?= 뒤| 전| 앞선|이 지나면)", text)
    steps = int(count[1]) if count else 0
    if count and re.search(" 전| 앞선", text):
        steps = -steps
    if item.form == "weekday":
        assert weekday
        days = (dates[1] - dates[0]).days if dates else steps
        return WEEK[(WEEK.index(weekday[1]) + days) % 7] + "요일"
    if item.form == "date":
        end = dates[0] + timedelta(days=steps)
        return f"{end.month}월 {end.day}일"
    if item.form == "between":
        days = (dates[1] - dates[0]).days
        if "며칠 뒤" in text and not year:
            days = -days
        elif "며칠 뒤" in text:
            # The later date comes first and has no year of its own, being in the same one.
            days = abs(days)
        return f"{days % 365 if not year else days}일"
    month = ints(text)[0] if item.form == "month" else ints(text)[1]
    if item.form == "month":
        for _ in range(abs(steps)):
            month = (month % 12 + 1) if steps > 0 else (month - 1 or 12)
        return f"{month}월"
    assert year
    following = date(int(year[1]) + month // 12, month % 12 + 1, 1)
    return f"{(following - timedelta(days=1)).day}일"


def test_calendar_by_datetime() -> None:
    items = drawn("calendar")
    drills = {"drill weekday", "drill date", "drill month"}
    assert {item.form for item in items} == {"weekday", "date", "between", "month", "length"} | drills
    for item in items:
        assert item.answer == calendar_answer(item), item.prompt


OPERATIONS = (
    (r"\+|더하기|더하면|더 받으면|더 타면|더 오면|받고|타고|받으면|타면|따로", "+"),
    (r" - |빼기|빼면|주면 몇|주고|내리면|내리고|날아가면|먼저 주|더 주|가고|가면|쓰면|거스름돈", "-"),
    (r"×|곱하기|씩|짜리|한 [가-힣]+에", "*"),
    (r"÷|나누기|나누면|똑같이", "/"),
)


def arithmetic_answer(text: str) -> set[int]:
    """All values that the numbers of a question give under the operations that its words name."""
    numbers = ints(text)
    if "명에게 주려면" in text:
        return {numbers[0] * numbers[1]}
    if "씩 갖습니까" in text or "똑같이" in text:
        return {numbers[0] // numbers[1]} if numbers[0] % numbers[1] == 0 else set()
    if "거스름돈" in text:
        return {numbers[0] - numbers[1]}
    marks = sorted(
        {(found.start(), sign) for pattern, sign in OPERATIONS for found in re.finditer(pattern, text)},
    )
    signs = [sign for _, sign in marks]
    results = set()
    for chosen in set(permutations(signs, len(numbers) - 1)):
        value = numbers[0]
        for sign, number in zip(chosen, numbers[1:], strict=True):
            value = {"+": value + number, "-": value - number, "*": value * number, "/": value // number}[sign]
        results.add(value)
    return results


def test_arithmetic_by_its_words_and_by_its_key() -> None:
    items = drawn("arithmetic")
    drills = {"drill plus", "drill minus", "drill times"}
    assert {item.form for item in items} == {"plus", "minus", "times", "divided", "two steps", "money"} | drills
    for item in items:
        answer = ints(item.answer)[0]
        assert answer > 0
        formula = item.key.split(":")[1]
        assert eval(formula.replace("/", "//")) == answer
        assert sorted(ints(formula)) == sorted(ints(item.prompt))
        if item.form in drills:
            assert eval(item.prompt.replace("×", "*")) == int(item.answer)
            continue
        assert answer in arithmetic_answer(item.prompt), item.prompt
        unit = item.answer.removeprefix(str(answer))
        assert not unit or unit in item.prompt


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("13 × 8 = ?", 104),
        ("버스에 26명이 있습니다. 13명이 타고 6명이 내리면 몇 명입니까?", 33),
        ("500원에서 400원을 쓰면 얼마가 남습니까?", 100),
        ("딱지 108장을 9상자에 똑같이 담으면 한 상자에 몇 장입니까?", 12),
    ],
)
def test_the_arithmetic_oracle_itself(text: str, right: int) -> None:
    assert right in arithmetic_answer(text)


def test_letters_by_counting_one_by_one() -> None:
    ordinals = dict(zip(["첫", "두", "세", "네", "다섯", "여섯", "일곱", "여덟"], range(8), strict=True))
    items = drawn("letters")
    drills = {"drill count", "drill backwards"}
    assert {item.form for item in items} == {"count", "nth", "length", "backwards"} | drills
    counts: Counter[str] = Counter()
    for item in items:
        if item.form in drills:
            word, _, asked_for = item.prompt.partition("의 " if item.form == "drill count" else " ")
            if item.form == "drill count":
                assert int(item.answer) == sum(char == asked_for[0] for char in word) > 0
                counts[f"{item.answer}번"] += 1
            else:
                assert list(item.answer) == list(reversed(word))
            continue
        word = item.prompt.split("'")[1]
        if item.form == "count":
            asked = re.search(r"' ?(?:에|에는|에서)? ?'?(\w)'?(?:이|가|은|는|을|를) ", item.prompt)
            asked = asked or re.search(r"'(?:에|에는|에서) '?(\w)'?(?:이|가|은|는|을|를) ", item.prompt)
            assert asked, item.prompt
            number = 0
            for char in word:
                number += char == asked[1]
            assert asked[1].upper() not in word or not asked[1].isascii()
            assert item.answer == f"{number}번", item.prompt
            counts[item.answer] += 1
        elif item.form == "nth":
            ordinal = re.search(r"(\w+) 번째", item.prompt)
            assert item.answer == word[ordinals[ordinal[1]] if ordinal else -1]
        elif item.form == "length":
            assert item.answer == f"{len(list(word))}개"
        else:
            assert list(item.answer) == list(reversed(word))
    assert max(counts.values()) < 0.35 * sum(counts.values())


BASE = {
    "km": 1_000_000, "m": 1000, "cm": 10, "mm": 1, "t": 1_000_000, "kg": 1000, "g": 1, "L": 1000, "mL": 1,
    "주": 604_800, "일": 86_400, "시간": 3600, "분": 60, "초": 1,
    "다스": 12, "켤레": 2, "판": 30, "손": 2, "축": 20, "두름": 20, "톳": 100, "접": 100, "쌈": 24,
    "자루": 1, "짝": 1, "개": 1, "마리": 1, "장": 1,
}  # fmt: skip
QUANTITY = re.compile(rf"(\d+)({'|'.join(sorted(BASE, key=len, reverse=True))})")


def amount(text: str) -> int:
    return sum(int(number) * BASE[unit] for number, unit in QUANTITY.findall(text))


def test_units_in_the_smallest_unit() -> None:
    items = drawn("units")
    assert len({item.form for item in items}) == 12
    for item in items:
        if item.form.startswith("drill"):
            quantity, unit = item.prompt.split("=?")
            assert int(item.answer) * BASE[unit] == amount(quantity) > 0
        elif item.form == "money":
            coin, count = ints(item.prompt)
            assert item.answer == f"{coin * count}원"
        elif item.form == "coins":
            total, coin = sorted(ints(item.prompt), reverse=True)
            assert item.answer in (f"{total // coin}개", f"{total // coin}장")
            assert total % coin == 0
        elif item.form == "compare":
            assert len(set(map(amount, item.choices))) == 2
            assert item.answer == max(item.choices, key=amount)
            assert all(choice in item.prompt for choice in item.choices)
        else:
            # A hint of the bundle's size ("한 톳은 100장입니다.") is no part of the quantity asked about.
            question = item.prompt.split("입니다. ")[-1]
            assert amount(question) == amount(item.answer) > 0, item.prompt
            assert item.answer not in item.prompt
    assert not any("몇 일" in item.prompt for item in drawn("calendar") + items)


MORE = re.compile(r"(\S+)[은는] (\S+)보다 (?:키가 |나이가 |힘이 )?(크|큽|많|무겁|빠르|빠릅|세|셉)")
LESS = re.compile(r"(\S+)[은는] (\S+)보다 (?:키가 |나이가 |힘이 )?(작|적|가볍|느리|느립|약)")


def ordering_answer(item: Exercise) -> str:
    text = item.prompt
    numbers = re.findall(r"\d+", text)
    if item.form.startswith("pick"):
        numbers.sort(key=int)
        return numbers[1] if "두 번째" in text or "둘째" in text else numbers[-1 if "큰 수" in text else 0]
    if item.form == "drill":
        return ",".join(sorted(numbers, key=int, reverse="큰" in text))
    if item.form == "sort":
        return ", ".join(sorted(numbers, key=int, reverse="큰" in text))
    if item.form.startswith("alphabet"):
        return sorted(item.choices)[-1 if "뒤" in text or "늦게" in text else 0]
    up = re.search("(큰|많은|무거운|빠른|센) 사람", text) is not None
    if item.form.startswith("measures"):
        values = {name: int(value) for name, value in re.findall(r"(\S+)[은는] (\d+)", text)}
        assert set(values) == set(item.choices)
        return (max if up else min)(values, key=lambda name: values[name])
    above = {(a, b) for a, b, _ in MORE.findall(text)} | {(b, a) for a, b, _ in LESS.findall(text)}
    people = {name for pair in above for name in pair}
    orders = [
        order for order in permutations(people) if all(order.index(high) < order.index(low) for high, low in above)
    ]
    assert len(orders) == 1, text
    return orders[0][1 if "두 번째" in text else 0 if up else -1]


def test_ordering_by_brute_force() -> None:
    items = drawn("ordering")
    assert len({item.form for item in items}) == 10
    for item in items:
        assert item.answer == ordering_answer(item), item.prompt
        assert all(choice in item.prompt for choice in item.choices) or item.form in ("sort", "drill")

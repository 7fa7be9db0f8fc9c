"""Redaction: every number of the fixture is masked, what only looks like one is not."""

from __future__ import annotations

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from personal import HARMLESS, card, cases, left_over, registration

from dokja.build.corpus.redact import luhn, redact, valid_birth, valid_registration

CASES = cases(0)


def test_the_fixture_is_large_and_of_every_kind() -> None:
    assert len(CASES) >= 200
    kinds = "주민등록번호 외국인등록번호 전화번호 계좌번호 전자우편 주소 여권번호 운전면허번호 카드번호"
    assert {case.kind for case in CASES} == set(kinds.split())
    assert all(case.secret in case.text for case in CASES)


@pytest.mark.parametrize("seed", range(4))
def test_all_personal_data_of_the_fixture_is_masked(seed: int) -> None:
    missed = []
    for case in cases(seed):
        masked, counts = redact(case.text)
        if left_over(case, masked) or not counts:
            missed.append((case.text, masked))
    assert missed == []


def test_what_stands_around_it_stays_and_the_kind_is_named() -> None:
    wrong = []
    for case in CASES:
        masked, counts = redact(case.text)
        if masked != case.text.replace(case.secret, f"[{case.kind}]") or counts != {case.kind: 1}:
            wrong.append((case.text, masked))
    # An opening bracket may belong to the number: 홍길동(02)123-4567.
    assert len(wrong) <= 0.01 * len(CASES), wrong


def test_many_in_one_text_are_all_masked_and_counted() -> None:
    text = "\n".join(case.text for case in CASES)
    masked, counts = redact(text)
    assert [case for case in CASES if left_over(case, masked)] == []
    assert sum(counts.values()) == len(CASES)
    assert list(counts) == sorted(counts)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_personal_data_stays(text: str) -> None:
    assert redact(text) == (text, {})


def test_checksums_are_those_of_the_published_rules() -> None:
    rng = random.Random(5)
    for _ in range(50):
        for foreigner in (False, True):
            number = registration(rng, foreigner=foreigner)
            assert valid_registration(number)
            assert not valid_registration(number[:12] + str((int(number[12]) + 1) % 10))
        assert luhn(card(rng))
    assert luhn("4111111111111111")  # the test number that card networks publish
    assert not luhn("4111111111111112")
    assert valid_birth("991231", "1")
    assert valid_birth("000229", "3")
    assert not valid_birth("000229", "9")
    assert not valid_birth("991301", "1")


def test_thirteen_digits_without_a_word_beside_them_need_the_checksum() -> None:
    number = registration(random.Random(3))
    wrong = number[:12] + str((int(number[12]) + 1) % 10)
    assert redact(f"명단에 {number} 있음")[1] == {"주민등록번호": 1}
    assert redact(f"시료 {wrong} 있음")[1] == {}
    assert redact(f"주민등록번호 {wrong} 있음")[1] == {"주민등록번호": 1}  # given since October 2020, it has none


@given(st.text(alphabet="0123456789-. ()+@가로길동은행계좌주소전화xX*:/\nab골뱅이공일", max_size=200))
def test_masking_is_stable_and_leaves_what_it_does_not_mask(text: str) -> None:
    masked, counts = redact(text)
    assert (masked == text) == (not counts)
    assert len(re.findall(r"\[(?:주민|외국|전화|계좌|전자|주소|여권|운전|카드)", masked)) == sum(counts.values())
    rest = re.split(r"\[[가-힣]+\]", masked)
    place = 0
    for part in rest:  # what is left stands in the text, in this order
        found = text.find(part, place)
        assert found >= 0
        place = found + len(part)


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        "1 ",
        "01-",
        "@",
        "a@",
        "a.",
        "(",
        "로1",
        "로 1-",
        "서울 ",
        "강남구 로",
        "주소 ",
        "*",
        "1*",
        "공일공",
        "가-힣 1.",
        "계좌 1 ",
    ],
)
def test_time_is_linear_in_hostile_text(unit: str) -> None:
    """Eight times the text takes about eight times as long; squared, it would take 64 times."""
    times = []
    for size in (10_000, 80_000):
        text = unit * (size // len(unit))
        start = time.perf_counter()
        redact(text)
        times.append(time.perf_counter() - start)
    assert times[1] < 25 * times[0] + 0.3

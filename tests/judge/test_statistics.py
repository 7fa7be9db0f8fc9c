"""Intervals cover what they claim to cover; rankings are paired; impossible input is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from dokja.judge.statistics import Interval, beats, probability_last, ratio_interval, student_t, wilson

# Wilson.


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_against_published_values(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)
    assert interval.value == successes / n
    assert interval.n == n


def test_wilson_at_the_ends() -> None:
    assert wilson(0, 10).low == 0
    assert wilson(10, 10).high == 1
    assert wilson(5, 10, 0.99).low < wilson(5, 10, 0.9).low
    for successes, n in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(ValueError, match="not a proportion"):
            wilson(successes, n)
    with pytest.raises(ValueError, match="between 0 and 1"):
        wilson(1, 2, 95)


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("n", [20, 100, 400])
def test_wilson_covers(share: float, n: int) -> None:
    """Exact coverage, summed over all outcomes; Wilson's lies within a few per cent of 95 %."""
    intervals = [wilson(k, n) for k in range(n + 1)]
    chances = [math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(n + 1)]
    covered = sum(p for p, interval in zip(chances, intervals, strict=True) if interval.low <= share <= interval.high)
    assert 0.92 < covered < 0.985


# Bits per byte.


@pytest.mark.parametrize(
    ("confidence", "freedom", "expected"),
    [
        (0.95, 1, 12.7062),
        (0.95, 2, 4.3027),
        (0.95, 3, 3.1824),
        (0.95, 5, 2.5706),
        (0.95, 30, 2.0423),
        (0.99, 2, 9.9248),
        (0.99, 5, 4.0321),
        (0.90, 10, 1.8125),
        (0.95, 10**6, 1.9600),
    ],
)
def test_student_t_against_tables(confidence: float, freedom: int, expected: float) -> None:
    assert student_t(confidence, freedom) == pytest.approx(expected, rel=0.002)


def test_ratio_by_hand() -> None:
    interval = ratio_interval([10, 30, 20], [10, 10, 20])
    assert interval.value == 1.5
    # Residuals -5, 15, -10; variance 3/2 * 350 / 40^2; t with two degrees of freedom.
    half = 4.302653 * math.sqrt(1.5 * 350) / 40
    assert (interval.low, interval.high) == pytest.approx((1.5 - half, 1.5 + half), rel=1e-6)
    assert interval.n == 3
    exact = ratio_interval([2, 4, 6], [1, 2, 3])
    assert (exact.value, exact.low, exact.high) == (2, 2, 2)


def test_ratio_of_equal_denominators_is_the_t_interval_of_a_mean() -> None:
    x = np.random.default_rng(3).normal(5, 2, 40)
    interval = ratio_interval(x, np.ones(40))
    assert interval.high - interval.value == pytest.approx(student_t(0.95, 39) * x.std(ddof=1) / math.sqrt(40))


@pytest.mark.parametrize(("documents", "least"), [(8, 0.88), (30, 0.90), (150, 0.935)])
def test_ratio_covers(documents: int, least: float) -> None:
    """Documents of very unequal length, each with its own difficulty, which shrinks with its length."""
    rng = np.random.default_rng(20)
    trials, hits = 3000, 0

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        size = np.minimum(rng.lognormal(6, 1, count), 6000)
        return size * (1.2 + 0.3 * (size / 400) ** -0.2 * rng.normal(0.5, 1, count)), size

    bits, size = draw(2_000_000)
    truth = bits.sum() / size.sum()
    for _ in range(trials):
        interval = ratio_interval(*draw(documents))
        hits += interval.low <= truth <= interval.high
    assert least < hits / trials < 0.97


def test_ratio_of_what_has_none() -> None:
    with pytest.raises(ValueError, match="two documents or more"):
        ratio_interval([1], [1])
    with pytest.raises(ValueError, match="two documents or more"):
        ratio_interval([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="above 0"):
        ratio_interval([1, 2], [1, 0])


def test_intervals_in_reports() -> None:
    interval = Interval(0.5, 0.4, 0.6, 100)
    assert json.loads(json.dumps(interval.to_dict())) == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 100}
    assert beats(interval, 0.25)
    assert not beats(interval, 0.4)
    assert not beats(interval, 0.45)


# Rankings.


def mean_of_parts(parts):
    return sum(parts.values()) / len(parts)


def test_a_ranking_that_is_plain() -> None:
    rng = np.random.default_rng(0)
    shares = {"상": 0.9, "중": 0.6, "하": 0.2}
    scores = {team: {"a": rng.random(200) < share, "b": rng.random(80) < share} for team, share in shares.items()}
    standings = probability_last(scores, mean_of_parts, seed=1)
    assert [standing.last for standing in standings.values()] == [0, 0, 1]
    assert standings["상"].ranks == (1, 0, 0)
    for team, standing in standings.items():
        value = (scores[team]["a"].mean() + scores[team]["b"].mean()) / 2
        assert standing.score.value == pytest.approx(value)
        assert standing.score.low < value < standing.score.high
        assert standing.score.n == 280
        assert json.loads(json.dumps(standing.to_dict()))["last"] == standing.last


def test_equal_teams_are_equally_often_last() -> None:
    scores = {"x": {"a": [0, 1, 1]}, "y": {"a": [0, 1, 1]}, "z": {"a": [0, 1, 1]}, "w": {"a": [0, 1, 1]}}
    standings = probability_last(scores, mean_of_parts, seed=3)
    for standing in standings.values():
        assert sum(standing.ranks) == pytest.approx(1)
        assert standing.ranks == pytest.approx([0.25] * 4, abs=0.04)
    assert sum(standing.last for standing in standings.values()) == pytest.approx(1)


def test_items_are_paired() -> None:
    """One team solves every item that the other solves and two more: never behind it, though the intervals overlap."""
    hard = np.random.default_rng(5).random(300) < 0.5
    better = hard.copy()
    better[np.flatnonzero(~hard)[:8]] = True
    standings = probability_last({"a": {"s": hard}, "b": {"s": better}}, mean_of_parts, seed=1)
    assert standings["a"].score.high > standings["b"].score.low
    assert standings["a"].last > 0.99


def test_bits_per_byte_as_a_part() -> None:
    rng = np.random.default_rng(7)
    size = rng.integers(50, 2000, 60)
    bits = {"x": size * rng.normal(1.2, 0.1, 60), "y": size * rng.normal(1.3, 0.1, 60)}
    scores = {team: {"heldout": value} for team, value in bits.items()}
    standings = probability_last(
        scores, lambda parts: -parts["heldout"], seed=1, weights={"heldout": size}, resamples=4000
    )
    for team, standing in standings.items():
        interval = ratio_interval(bits[team], size)
        assert standing.score.value == pytest.approx(-interval.value)
        assert -standing.score.high == pytest.approx(interval.low, abs=0.01)
        assert -standing.score.low == pytest.approx(interval.high, abs=0.01)
    assert standings["y"].last > 0.99


def test_the_composite_sees_all_teams() -> None:
    scores = {"x": {"a": [1, 1, 0, 1] * 10}, "y": {"a": [1, 0, 0, 1] * 10}}
    standings = probability_last(scores, lambda parts: parts["a"] / parts["a"].max(axis=0), seed=1)
    assert standings["x"].score.value == 1
    assert standings["y"].score.value == pytest.approx(2 / 3)


def test_the_same_seed_gives_the_same_table() -> None:
    rng = np.random.default_rng(0)
    scores = {team: {"a": rng.random(40), "b": rng.random(9)} for team in "xyz"}
    first = probability_last(scores, mean_of_parts, seed=1)
    turned = {team: dict(reversed(parts.items())) for team, parts in scores.items()}
    assert probability_last(turned, mean_of_parts, seed=1) == first
    assert probability_last(scores, mean_of_parts, seed=2) != first


def test_probability_of_the_lead_is_calibrated() -> None:
    """Over many seasons of two equal teams, P(last) of one is below 10 % in about a tenth of them."""
    rng = np.random.default_rng(11)
    found = []
    for season in range(400):
        scores = {team: {"a": rng.normal(0, 1, 60)} for team in "xy"}
        found.append(probability_last(scores, mean_of_parts, seed=season, resamples=200)["x"].last)
    for level in (0.1, 0.5, 0.9):
        assert np.mean(np.array(found) < level) == pytest.approx(level, abs=0.06)


@pytest.mark.parametrize(
    ("scores", "told"),
    [
        ({}, "needs teams"),
        ({"x": {"a": [1, 0]}, "y": {"b": [1, 0]}}, "y has the parts"),
        ({"x": {"a": [1, 0]}, "y": {"a": [1]}}, "same items of a"),
        ({"x": {"a": []}, "y": {"a": []}}, "same items of a"),
    ],
)
def test_rankings_of_what_cannot_be_ranked(scores, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        probability_last(scores, mean_of_parts, seed=1)


def test_wrong_weights_and_composites() -> None:
    scores = {"x": {"a": [1, 0]}}
    for weights in ([1], [1, 0]):
        with pytest.raises(ValueError, match="2 weights above 0"):
            probability_last(scores, mean_of_parts, seed=1, weights={"a": weights})
    with pytest.raises(ValueError, match="the composite gave"):
        probability_last(scores, lambda parts: parts["a"][0], seed=1)

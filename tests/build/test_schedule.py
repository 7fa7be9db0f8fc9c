"""Every stage warms up, holds and decays, so that every judged model is an annealed one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dokja.build.schedule import Schedule
from dokja.build.seeds import named_seed


def test_a_stage_rises_holds_and_falls() -> None:
    schedule = Schedule(ends=(100, 200), warmup=10, decay=0.4, floor=0.05)
    rates = [schedule.rate(step) for step in range(200)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates[10:60] == [1.0] * 50
    assert rates[60:100] == pytest.approx([0.05 + 0.95 * left / 40 for left in range(40, 0, -1)])
    # Those who go on climb back at once: in a quarter of the first warm-up.
    assert rates[100:102] == pytest.approx([0.5, 1.0])
    assert rates[102:160] == [1.0] * 58
    assert rates[160:] == pytest.approx(rates[60:100])


@given(st.lists(st.integers(1, 300), min_size=1, max_size=4), st.integers(1, 40), st.floats(0.05, 1),
       st.floats(0, 0.5))
def test_rates_stay_between_zero_and_the_peak_and_end_low(lengths: list[int], warmup: int, decay: float,
                                                          floor: float) -> None:
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    schedule = Schedule(ends, warmup, decay, floor)
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        rates = [schedule.rate(step) for step in range(begin, end)]
        assert all(0 < rate <= 1 for rate in rates)
        top = rates.index(max(rates))
        assert rates[: top + 1] == sorted(rates[: top + 1])
        assert rates[top:] == sorted(rates[top:], reverse=True)
        assert rates[-1] <= floor + (1 - floor) / max(1.0, decay * (end - begin)) + 1e-9
    assert schedule.rate(ends[-1]) == floor


def test_named_seeds_are_stable_and_unrelated() -> None:
    """One number is written down here because a change of it would change every run."""
    names = [(), ("init",), ("order",), ("a", "b"), ("ab",)]
    many = {named_seed(seed, *name) for seed in range(50) for name in names}
    assert len(many) == 250
    assert all(0 <= seed < 2**63 for seed in many)
    assert named_seed(7, "init", "k-exaone") == 332_727_455_192_795_728

"""Rules as data, and what one dial derives from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dokja.errors import DokjaError
from dokja.season.plan import Plan, make_plan
from dokja.season.rules import load_rules
from dokja.season.stage import decide


def plan(flops: float) -> Plan:
    return make_plan(load_rules(), seed=1, texts=(), workers=2, threads=1, flops=flops)


def test_pocket_rules_are_five_four_two_one() -> None:
    rules = load_rules()
    assert [len(rules.teams), *(stage.keep for stage in rules.stages)] == [5, 4, 2, 1]
    assert sum(stage.share for stage in rules.stages) == pytest.approx(1)


@pytest.mark.parametrize("text", ["", "name = 'x'", "not toml ["])
def test_broken_rules_are_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(DokjaError, match=r"rules\.toml"):
        load_rules(path)


def test_a_bigger_dial_gives_bigger_models_and_more_text() -> None:
    small, large = plan(1e12), plan(1e14)
    assert large.size > 5 * small.size
    assert large.train_bytes > 3 * small.train_bytes


def test_every_team_gets_the_same_flops_in_each_stage() -> None:
    rules, season = load_rules(), plan(5e12)
    for name in rules.teams:
        spec = season.spec(name)
        ends = season.stage_ends(spec, rules)
        assert ends == sorted(set(ends))
        assert ends[0] > 20


def test_too_small_a_dial_is_refused() -> None:
    with pytest.raises(DokjaError, match="too little"):
        plan(1e8)


def raw(bits: list[float], hits: list[bool]) -> dict[str, object]:
    return {"bits": bits, "bytes": [100] * len(bits), "hits": {"numbers": hits}}


def test_decision_follows_the_published_formula() -> None:
    rules = load_rules()
    stage = replace(rules.stages[0], keep=1)
    measured = {"a": raw([100.0, 120, 110, 90], [True] * 8 + [False] * 2),
                "b": raw([200.0, 220, 210, 190], [False] * 9 + [True])}
    rows = decide(measured, rules, stage, xz=2.5, chances={"numbers": 0.2}, seed=1)
    assert rows["a"]["score"] == pytest.approx(50 * (1 - 1.05 / 2.5) + 50 * (0.8 - 0.2) / 0.8)
    assert rows["b"]["score"] == pytest.approx(50 * (1 - 2.05 / 2.5))  # below chance counts as chance
    assert (rows["a"]["rank"], rows["a"]["kept"], rows["b"]["kept"]) == (1, True, False)
    assert rows["b"]["p_last"] == 1.0
    assert rows["a"]["score_low"] <= rows["a"]["score"] <= rows["a"]["score_high"]
    assert rows["a"]["skills"]["numbers"]["beats_chance"]
    assert not rows["b"]["skills"]["numbers"]["beats_chance"]

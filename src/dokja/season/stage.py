"""The decision at the end of a stage: points, intervals, ranks, who stays, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..judge.statistics import Floats, beats, probability_last, ratio_interval, wilson
from .rules import Rules, StageRule

_TEXT = "text"


def decide(raw: Mapping[str, dict[str, Any]], rules: Rules, stage: StageRule, *, xz: float,
           chances: Mapping[str, float], seed: int) -> dict[str, dict[str, Any]]:
    """Team -> its row in the stage's table, from what `work.judge` measured.

    The score is the rules' (see pocket.toml). Its interval and the probability of being last come from a joint
    bootstrap over held-out documents and exercises, the same for all teams; the ranks from the point values, a tie
    going to the fewer bits per byte.
    """
    def composite(parts: Mapping[str, Floats]) -> Floats:
        text = np.clip(1 - parts[_TEXT] / xz, 0, None)
        gains = [np.clip((parts[skill] - chance) / (1 - chance), 0, None) for skill, chance in chances.items()]
        return rules.text_points * text + rules.exercise_points * np.mean(gains, axis=0)

    scores = {team: {_TEXT: found["bits"], **found["hits"]} for team, found in raw.items()}
    weights = {_TEXT: next(iter(raw.values()))["bytes"]}
    standings = probability_last(scores, composite, seed=seed, weights=weights)
    rows: dict[str, dict[str, Any]] = {}
    for team, found in raw.items():
        standing = standings[team]
        skills = {}
        for skill, hits in found["hits"].items():
            interval = wilson(sum(hits), len(hits))
            skills[skill] = {**interval.to_dict(), "chance": chances[skill],
                             "beats_chance": beats(interval, chances[skill])}
        rows[team] = {
            "team": team, "score": standing.score.value, "score_low": standing.score.low,
            "score_high": standing.score.high, "p_last": standing.last,
            "bpb": ratio_interval(found["bits"], found["bytes"]).to_dict(), "skills": skills,
        }
    ranked = sorted(rows.values(), key=lambda row: (-row["score"], row["bpb"]["value"], row["team"]))
    for rank, row in enumerate(ranked, start=1):
        row["rank"], row["kept"] = rank, rank <= stage.keep
        row["why"], row["why_ko"] = _why(row, ranked, stage)
    return {row["team"]: row for row in ranked}


def _why(row: dict[str, Any], ranked: list[dict[str, Any]], stage: StageRule) -> tuple[str, str]:
    """Why a team stays or goes, in English and in Korean."""
    if row["kept"]:
        return (f"ranked {row['rank']} of {len(ranked)}; the first {stage.keep} stay",
                f"{len(ranked)}팀 가운데 {row['rank']}위, {stage.keep}위까지 남습니다")
    line = ranked[stage.keep - 1]
    behind = line["score"] - row["score"]
    reason = (f"{row['score']:.1f} points, {behind:.1f} behind the last that stays ({stage.keep} of {len(ranked)} do)",
              f"{row['score']:.1f}점, {stage.keep}위까지 남는 자리에 {behind:.1f}점 모자랍니다")
    if row["rank"] < len(ranked):
        return reason
    return (f"{reason[0]}; in {row['p_last']:.0%} of the resampled judgements it is last",
            f"{reason[1]}. 다시 뽑은 평가의 {row['p_last']:.0%}에서 꼴찌입니다")

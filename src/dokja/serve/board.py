"""The season board as data: what a season hands over and `GET /api/board` gives out.

Every key may be missing; the pages show what is there.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class Interval(TypedDict, total=False):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Skill(Interval, total=False):
    """Share of exercises answered rightly. chance: what guessing gives; n: how many exercises."""

    chance: float
    n: int
    beats_chance: bool


class Row(TypedDict, total=False):
    """One team in one stage. p_last: probability of being last; bpb: bits per byte; why: why it stays or goes."""

    team: str
    rank: int
    score: float
    score_low: float
    score_high: float
    p_last: float
    bpb: Interval
    skills: dict[str, Skill]
    kept: bool
    why: str
    why_ko: str


class Stage(TypedDict, total=False):
    """One stage. keep: how many teams go on; baselines: bits per byte of what is not a neural network."""

    number: int
    title: str
    title_en: str
    keep: int
    state: Literal["waiting", "training", "judged"]
    baselines: dict[str, float]
    table: list[Row]


class Team(TypedDict, total=False):
    """One team. out_stage: where it went out; kv_bytes_per_token: memory at context length; curve: (FLOPs, loss)."""

    name: str
    title: str
    company: str
    state: Literal["in", "out", "winner"]
    out_stage: int | None
    parameters: int
    active: int
    kv_bytes_per_token: float
    flops: float
    tokens: int
    curve: list[list[float]]


class Board(TypedDict, total=False):
    """A season so far."""

    season: str
    state: Literal["playing", "finished"]
    seed: int
    budget_flops: float
    stages: list[Stage]
    teams: list[Team]
    winner: str | None
    skills: dict[str, dict[str, str]]

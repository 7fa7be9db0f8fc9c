"""A made-up season, for the tests of the board."""

from __future__ import annotations

import math
from typing import Any

NAMES = [
    ("k-exaone", "K-EXAONE", "LG AI Research"), ("ax-k1", "A.X K1", "SK Telecom"),
    ("hyperclova-x-seed-think", "HyperCLOVA X SEED Think", "NAVER Cloud"), ("vaetki", "VAETKI", "NC AI"),
    ("solar-open", "Solar Open", "Upstage"),
]
SKILLS = {
    "particles": {"ko": "조사", "en": "particles"}, "jamo": {"ko": "자모", "en": "Hangul letters"},
    "numbers": {"ko": "수 읽기", "en": "number reading"}, "clock": {"ko": "시계", "en": "clock"},
    "calendar": {"ko": "달력", "en": "calendar"}, "arithmetic": {"ko": "셈", "en": "arithmetic word problems"},
    "letters": {"ko": "글자 세기", "en": "letter counting"}, "units": {"ko": "단위", "en": "unit conversion"},
    "kinship": {"ko": "가족 관계", "en": "kinship"}, "ordering": {"ko": "순서", "en": "ordering"},
}
_RANKS = (
    ("사전 학습", 4, ("k-exaone", "solar-open", "vaetki", "ax-k1", "hyperclova-x-seed-think")),
    ("연습 문제", 2, ("solar-open", "k-exaone", "vaetki", "ax-k1")),
    ("결승", 1, ("k-exaone", "solar-open")),
)


def _row(team: str, place: int, kept: bool) -> dict[str, Any]:
    skills = {}
    for i, name in enumerate(SKILLS):
        value = max(0.08, 0.8 - 0.08 * i - 0.02 * place)
        skills[name] = {"value": value, "low": value - 0.06, "high": value + 0.06, "chance": 0.5 if i == 0 else 0.1,
                        "n": 120, "beats_chance": value > 0.25}
    why = "" if kept else "꼴찌일 확률이 가장 높다 (0.55)." if place == 4 else f"{place + 1}위: 앞 팀과 2.1점 차이."
    score, bpb = 66 - 2.1 * place, 1.2 + 0.03 * place
    return {"team": team, "rank": place + 1, "score": score, "score_low": score - 1.7, "score_high": score + 1.7,
            "p_last": (0, 0.01, 0.1, 0.3, 0.55)[place], "bpb": {"value": bpb, "low": bpb - 0.02, "high": bpb + 0.02},
            "skills": skills, "kept": kept, "why": why}


def board(*, playing: bool = False) -> dict[str, Any]:
    """A finished season, or one in its second stage."""
    stages = []
    for number, (title, keep, order) in enumerate(_RANKS, 1):
        state = "judged" if not playing or number == 1 else "training" if number == 2 else "waiting"
        table = [_row(team, place, place < keep) for place, team in enumerate(order)] if state == "judged" else []
        stages.append({"number": number, "title": title, "keep": keep, "state": state, "table": table,
                       "baselines": {"xz -9": 2.1, "n-gram": 1.5} if table else {}})
    out = {team: number for number, (_, keep, order) in enumerate(_RANKS, 1) for team in order[keep:]
           if not playing or number == 1}
    teams = []
    for i, (name, title, company) in enumerate(NAMES):
        spent = 1e13 * out.get(name, 3)
        curve = [[spent * (j + 1) / 60, 2.1 + 0.05 * i + 4.5 * math.exp(-j / 5) + 0.9 / (1 + j / 9)] for j in range(60)]
        state = "out" if name in out else "in" if playing else "winner"
        teams.append({"name": name, "title": title, "company": company, "state": state, "out_stage": out.get(name),
                      "parameters": 3_000_000 + 11_000 * i, "active": 1_100_000 + 70_000 * i, "flops": spent,
                      "kv_bytes_per_token": 512 + 90 * i, "tokens": 2_100_000 + 200_000 * i, "curve": curve})
    return {"season": "첫 시즌", "state": "playing" if playing else "finished", "seed": 7, "budget_flops": 3e13,
            "stages": stages, "teams": teams, "winner": None if playing else "k-exaone", "skills": SKILLS}

"""A season so far as one plain dictionary: what the board, the report, `status` and `--json` all show."""

from __future__ import annotations

from typing import Any

from ..build.exercises import SKILLS
from ..models.cost import cache_bytes_per_token, parameters, training_flops_per_token
from ..models.families import family
from ..models.spec import ModelSpec
from .plan import Plan
from .store import Store, Team


def summarise(store: Store) -> dict[str, Any]:
    """The state of a season; see `dokja.serve.board.Board` for the keys that the pages use."""
    plan = Plan.from_dict(store.setting("plan"))
    rules = store.setting("rules")
    teams = store.teams()
    judgements = store.judgements()
    stages: list[dict[str, Any]] = []
    for number, stage in enumerate(rules["stages"], start=1):
        mine = [judgement for judgement in judgements if judgement.stage == number]
        table = sorted((judgement.result for judgement in mine if judgement.result), key=lambda row: row["rank"])
        waiting = number > 1 and not any(stage_before["table"] for stage_before in stages[-1:])
        stages.append({
            "number": number, "title": stage["title_ko"], "title_en": stage["title_en"], "keep": stage["keep"],
            "share": stage["share"],
            "state": "judged" if table else "waiting" if waiting else "training",
            "baselines": {baseline.name: baseline.bits_per_byte for baseline in store.baselines()},
            "table": table,
        })
    winner = next((team.name for team in teams if team.state == "winner"), None)
    return {
        "season": rules["name"], "state": store.setting("state"), "seed": plan.seed,
        "budget_flops": plan.team_flops, "plan": plan.to_dict(),
        "score": {"text_points": rules["text_points"], "exercise_points": rules["exercise_points"],
                  "items": rules["items"]},
        "stages": stages, "teams": [_team(team, plan) for team in teams], "winner": winner,
        "skills": {name: {"ko": skill.title_ko, "en": skill.title_en} for name, skill in SKILLS.items()},
        "samples": {judgement.team: {"stage": judgement.stage, "text": judgement.raw["samples"],
                                     "replies": judgement.raw["replies"]} for judgement in judgements},
        "baseline_notes": {baseline.name: baseline.note for baseline in store.baselines()},
    }


def _team(team: Team, plan: Plan) -> dict[str, Any]:
    chosen = family(team.name)
    row: dict[str, Any] = {
        "name": team.name, "title": chosen.title, "company": chosen.company, "state": team.state,
        "out_stage": team.out_stage, "step": team.step, "steps": team.ends[-1] if team.ends else None,
        "seconds": team.seconds, "official_parameters": parameters(chosen.spec).total,
    }
    if team.spec is None:
        return row
    spec = ModelSpec.from_dict(team.spec)
    count, per_token = parameters(spec), training_flops_per_token(spec, spec.context)
    per_step = plan.batch(spec) * spec.context
    return row | {
        "parameters": count.total, "active": count.active, "vocab": spec.vocab, "width": spec.width,
        "layers": len(spec.layers), "kv_bytes_per_token": cache_bytes_per_token(spec, spec.context, 4),
        "flops_per_token": per_token, "tokens": team.step * per_step, "flops": team.step * per_step * per_token,
        "curve": [[step * per_step * per_token, loss] for step, loss in team.curve],
    }

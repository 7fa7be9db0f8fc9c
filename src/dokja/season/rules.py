"""The rules of a season as data: stages, how many stay, how the compute is shared, what the points are for."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from pathlib import Path

from ..errors import DokjaError


@dataclass(frozen=True)
class StageRule:
    """One stage: its share of a finalist's compute, and how many teams stay after it."""

    title_ko: str
    title_en: str
    share: float
    keep: int


@dataclass(frozen=True)
class Rules:
    """A season's rules.

    text_points and exercise_points are the full marks of the two halves of the score. items: unseen exercises a skill
    and judgement. exercise_share: the share of the training characters that are exercises; answer_weight: how
    often their answers count in the loss.
    """

    name: str
    teams: tuple[str, ...]
    stages: tuple[StageRule, ...]
    text_points: float
    exercise_points: float
    items: int
    exercise_share: float
    answer_weight: int


def load_rules(path: Path | None = None) -> Rules:
    """Read a rules file, or the pocket season's; a broken one raises DokjaError."""
    where = "the built-in pocket rules" if path is None else str(path)
    try:
        text = (resources.files(__package__).joinpath("pocket.toml") if path is None else path).read_text("utf-8")
        data = tomllib.loads(text)
        rules = Rules(
            name=data["name"], teams=tuple(data["teams"]),
            stages=tuple(StageRule(**stage) for stage in data["stage"]),
            text_points=float(data["score"]["text_points"]), exercise_points=float(data["score"]["exercise_points"]),
            items=int(data["score"]["items"]), exercise_share=float(data["exercise_share"]),
            answer_weight=int(data["answer_weight"]),
        )
    except OSError as error:
        raise DokjaError(f"cannot read the rules {where}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise DokjaError(f"the rules in {where} are incomplete or wrong: {error}") from error
    keeps = [len(rules.teams), *(stage.keep for stage in rules.stages)]
    if not rules.stages or rules.stages[-1].keep != 1 or any(b > a or b < 1 for a, b in pairwise(keeps)):
        raise DokjaError(f"the rules in {where} must keep fewer teams from stage to stage and one at the end, not "
                         + " -> ".join(map(str, keeps)))
    return rules

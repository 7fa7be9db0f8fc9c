"""From one dial to everything: minutes (or FLOPs) decide the budget, the budget decides the size, the size the rest."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ..build.machine import gemm_rate
from ..errors import DokjaError
from ..models.cost import training_flops_per_token
from ..models.families import family
from ..models.scaling import scaled
from ..models.spec import ModelSpec
from .rules import Rules

BYTES_PER_TOKEN = 4.0  # how many bytes of Korean a pocket tokenizer's token holds, at least
TRAINING_SHARE = 0.82  # of the season's minutes; the rest is corpus, tokenizers, judging and waiting for the last team
SIZE = 0.54  # parameters over the square root of a finalist's FLOPs
EFFICIENCY = 0.50  # of the machine's GEMM rate that training reaches over all teams, see benchmarks/results


@dataclass(frozen=True)
class Plan:
    """All that decides a season's numbers. Two seasons with equal plans and text are equal.

    minutes: what the budget was derived from, None when it was given as FLOPs. team_flops: training FLOPs of a team
    that reaches the end. size: parameters of every pocket model. context: tokens a sequence.
    texts: the user's own text, empty for the built-in one. workers, threads: how many teams train at once and on how
    many threads each, which the last bits of every sum depend on.
    """

    seed: int
    minutes: float | None
    team_flops: float
    size: int
    context: int
    train_bytes: int
    heldout_bytes: int
    texts: tuple[str, ...]
    workers: int
    threads: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        return cls(**{**data, "texts": tuple(data["texts"])})

    def spec(self, team: str, vocab: int | None = None) -> ModelSpec:
        """The team's architecture at this season's size."""
        return scaled(family(team).spec, self.size, context=self.context, vocab=vocab)

    def batch(self, spec: ModelSpec) -> int:
        """Sequences a step: the power of two with which a finalist takes about 680 steps at 1.4e13 FLOPs, 4 or more.

        All teams take about as many steps, so that a dense model, which reads a third of a mixture's tokens, is not
        left with a third of the updates. Of a larger budget steps and batch take equal parts: tokens grow with its
        root, and a long run gains little from more steps and much from larger products (McCandlish et al. 2018,
        arXiv 1812.06162).
        """
        tokens = self.team_flops / training_flops_per_token(spec, self.context)
        steps = 680 * (self.team_flops / 1.4e13) ** 0.25
        return max(4, 2 ** round(math.log2(tokens / (steps * self.context))))

    def stage_ends(self, spec: ModelSpec, rules: Rules) -> list[int]:
        """The step at which each stage of a team ends: as many whole steps as the stage's FLOPs pay for."""
        per_step = self.batch(spec) * self.context * training_flops_per_token(spec, self.context)
        paid, ends = 0.0, []
        for stage in rules.stages:
            paid += stage.share * self.team_flops
            ends.append(int(paid / per_step))
        return ends


def make_plan(rules: Rules, *, seed: int, texts: tuple[str, ...], workers: int, threads: int,
              minutes: float | None = None, flops: float | None = None) -> Plan:
    """The plan for a season of about `minutes` on this machine, or of exactly `flops` for each finalist.

    The rule: budget = minutes x training share x efficiency x measured GEMM rate, over the team-stages that are
    trained; parameters = 0.54 x sqrt(FLOPs of a finalist), six times what Hoffmann et al. (2022) would take for a
    dense model, since most of these are sparse and wide matrices use the machine better; text = what the hungriest
    team reads in the whole season.
    """
    if flops is None:
        assert minutes is not None
        seconds = minutes * 60 * TRAINING_SHARE
        trained, staying = 0.0, len(rules.teams)
        for stage in rules.stages:
            trained += staying * stage.share
            staying = stage.keep
        flops = seconds * EFFICIENCY * gemm_rate(workers * threads) / trained
    if not (math.isfinite(flops) and flops >= 1e10):
        raise DokjaError(f"a season needs at least 1e10 training FLOPs for each team, {flops:.3g} is too little: raise "
                         "--minutes or --flops")
    flops = float(f"{flops:.2g}")
    size = int(float(f"{SIZE * math.sqrt(flops):.2g}"))
    context = 256 if flops < 2e15 else 512
    draft = Plan(seed=seed, minutes=minutes, team_flops=flops, size=size, context=context, train_bytes=0,
                 heldout_bytes=0, texts=texts, workers=workers, threads=threads)
    cheapest = min(training_flops_per_token(draft.spec(team), context) for team in rules.teams)
    wanted = flops / cheapest * BYTES_PER_TOKEN * (1 - rules.exercise_share)
    return Plan(**{**draft.to_dict(), "texts": texts, "train_bytes": int(min(max(wanted, 1e6), 1e9)),
                   "heldout_bytes": int(min(max(wanted / 20, 60e3), 300e3))})

"""A recipe: all that decides a run, as typed data. The same recipe on the same machine gives the same weights.

Named recipes are functions in `recipes.py`; a file of yours may hold another. Every value can be set from the command
line (`--set train.optim.muon_lr=0.02`), unknown keys fail, and the resolved recipe is written with the run.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...errors import DokjaError
from ..parallel.config import ParallelConfig
from ..post.distil import DistilConfig
from ..post.grpo import GRPOConfig
from ..post.preference import PreferenceConfig
from ..settings import apply
from .next_token import NextTokenConfig
from .trainer import TrainConfig

Task = NextTokenConfig | PreferenceConfig | GRPOConfig | DistilConfig
TASKS: dict[str, type[Task]] = {"next-token": NextTokenConfig, "dpo": PreferenceConfig, "simpo": PreferenceConfig,
                                "grpo": GRPOConfig, "distil": DistilConfig}


@dataclass(frozen=True)
class ModelRecipe:
    """What is trained.

    family, parameters: a published architecture at that size, from random weights. start: a model folder, or a run's
    folder, to go on from instead; its architecture and tokenizer are kept. context: tokens a sequence.
    extend: how many times its trained context a started model is to read; positions are stretched by YaRN (Peng et al.
    2023, arXiv 2309.00071). window: the new window of layers that have one, None leaves them.
    """

    family: str = "k-exaone"
    parameters: int = 10_000_000
    start: str | None = None
    context: int = 256
    extend: float = 1.0
    window: int | None = None


@dataclass(frozen=True)
class DataRecipe:
    """What it learns from.

    corpus: a folder that `dokja build corpus` made, with tokens; stage: one of its stages, None is all in their order.
    text: without a corpus, files and folders to sample from (none: the built-in Korean text); train_bytes and
    heldout_bytes are what is kept of them, and exercises is the share of exercises among it.
    tokenizer: a tokenizer.json or a folder with one; None learns `vocab` tokens from the text (0: as many as the size
    of the model asks for). conversations: leave out what is none. answers_only: of conversations and exercises only
    the answers count. pairs: .jsonl files of preferences; none makes them of exercises.
    """

    corpus: str | None = None
    stage: str | None = None
    text: tuple[str, ...] = ()
    train_bytes: int = 20_000_000
    heldout_bytes: int = 200_000
    exercises: float = 0.0
    answer_weight: int = 1
    tokenizer: str | None = None
    vocab: int = 0
    conversations: bool = False
    answers_only: bool = False
    pairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class ScheduleRecipe:
    """steps: how many; or tokens: as many steps as read so many. The rest as in `build.schedule.Schedule`."""

    steps: int | None = None
    tokens: float | None = None
    warmup: int = 10
    decay: float = 0.4
    floor: float = 0.05
    shape: Literal["wsd", "linear", "cosine", "constant"] = "wsd"


@dataclass(frozen=True)
class WatchRecipe:
    """evaluate, sample, checkpoint: every so many steps, 0 never; the last step has all three. keep: how many of the
    newest checkpoints stay. prompts: what samples go on from; none takes beginnings of held-out texts.
    log: further places for the numbers, "tensorboard", "trackio" or "wandb".
    """

    evaluate: int = 200
    sample: int = 200
    checkpoint: int = 200
    keep: int = 2
    asynchronous: bool = True
    prompts: tuple[str, ...] = ()
    log: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ()


@dataclass(frozen=True)
class Recipe:
    """One run."""

    train: TrainConfig
    name: str = "run"
    model: ModelRecipe = field(default_factory=ModelRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    task: Task = field(default_factory=NextTokenConfig)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    watch: WatchRecipe = field(default_factory=WatchRecipe)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it is written with the run."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def digest(self) -> str:
        """A short name of exactly this recipe."""
        content = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


# From where to where a number may go; None is without an end.
_RANGES: dict[str, tuple[float, float | None]] = {
    "train.micro_batch": (1, None), "train.balance_rate": (0, None), "train.optim.muon_lr": (0, None),
    "train.optim.embedding_lr": (0, None), "train.optim.momentum": (0, 1), "train.optim.weight_decay": (0, None),
    "train.optim.base_width": (1, None), "train.guard.window": (2, None), "train.guard.patience": (1, None),
    "model.parameters": (1000, None), "model.context": (2, None), "model.extend": (1, None), "model.window": (1, None),
    "data.train_bytes": (1, None), "data.heldout_bytes": (0, None), "data.exercises": (0, 1),
    "data.answer_weight": (1, None), "data.vocab": (0, None), "schedule.steps": (1, None), "schedule.tokens": (1, None),
    "schedule.warmup": (0, None), "schedule.decay": (0, 1), "schedule.floor": (0, 1), "watch.evaluate": (0, None),
    "watch.sample": (0, None), "watch.checkpoint": (0, None), "watch.keep": (1, None), "task.batch": (1, None),
    "task.mtp_weight": (0, None), "task.balance_weight": (0, None), "task.z_weight": (0, None), "task.share": (0, 1),
    "task.smoothing": (0, 0.5), "task.group": (2, None), "task.max_tokens": (1, None), "task.rounds": (1, None)}
_ABOVE_ZERO = ("train.clip", "train.optim.adam_lr", "train.optim.eps", "train.guard.sigmas", "task.beta",
               "task.temperature")

# What may differ when a run goes on: where and how often it is looked at, and what it runs on.
FREE = ("name", "watch", "train.device", "train.compile", "train.recompute", "train.micro_batch", "schedule.steps",
        "schedule.tokens", "parallel")


def resolve(recipe: Recipe, settings: Sequence[str] = ()) -> Recipe:
    """The recipe with "key.of.it=value" settings; values are YAML.

    Raises DokjaError for a key that no recipe has and for a value that does not fit, naming the key.
    """
    data = recipe.to_dict()
    apply(data, settings, "train.seed=7")
    return from_dict(data)


def from_dict(data: Mapping[str, Any]) -> Recipe:
    """The recipe of plain data (`Recipe.to_dict`), checked; raises DokjaError naming the key that does not fit."""
    try:
        from pydantic import TypeAdapter, ValidationError
    except ImportError:
        raise DokjaError("recipes are checked with pydantic: `pip install dokja[build]` brings it") from None
    its = data.get("task", {})
    kind = its.get("kind", "next-token") if isinstance(its, Mapping) else its
    if kind not in TASKS:
        raise DokjaError(f"task.kind = {kind!r} is no task: choose from {', '.join(TASKS)}")
    _refuse_unknown(data, {**_known(Recipe), "task": _known(TASKS[kind])}, "")
    at: tuple[str, ...] = ("task",)
    try:
        task = TypeAdapter(TASKS[kind]).validate_python(its)
        at = ()
        recipe: Recipe = TypeAdapter(Recipe).validate_python({**data, "task": task})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (*at, *first["loc"]))
        raise DokjaError(f"{where} = {first['input']!r} does not fit the recipe: {first['msg'].lower()}") from None
    _refuse_outside(recipe)
    return recipe


def differences(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """The keys, dotted, in which two plain recipes differ, with both values."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted(one.keys() | other.keys()):
        mine, its = one.get(key), other.get(key)
        if isinstance(mine, Mapping) and isinstance(its, Mapping):
            found |= differences(mine, its, f"{prefix}{key}.")
        elif mine != its:
            found[prefix + key] = (mine, its)
    return found


def _known(cls: Any) -> dict[str, Any]:
    """The keys of a dataclass, with those of the dataclasses in it."""
    import types
    import typing

    hints = typing.get_type_hints(cls)
    known: dict[str, Any] = {}
    for part in dataclasses.fields(cls):
        hint = hints[part.name]
        options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        inner = [option for option in options if dataclasses.is_dataclass(option)]
        known[part.name] = {key: below for option in inner for key, below in _known(option).items()} if inner else None
    return known


def _refuse_outside(recipe: Recipe) -> None:
    """Raise DokjaError for a number that leaves its range."""
    for key in (*_RANGES, *_ABOVE_ZERO):
        value: Any = recipe
        for part in key.split("."):
            value = getattr(value, part, None)  # tasks differ in what they have, and a guard may be off
        if value is None:
            continue
        least, most = _RANGES.get(key, (0.0, None))
        if not (math.isfinite(value) and value >= least and (most is None or value <= most)) or (
                key in _ABOVE_ZERO and value == 0):
            wanted = "a number above 0" if key in _ABOVE_ZERO else f"{least:g} or more" if most is None else (
                f"from {least:g} to {most:g}")
            raise DokjaError(f"{key} = {value!r} does not fit the recipe: it should be {wanted}")


def _refuse_unknown(data: Mapping[str, Any], known: Mapping[str, Any], prefix: str) -> None:
    for key, value in data.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else f"; known are {', '.join(known)}"
            raise DokjaError(f"a recipe has no {prefix}{key}{hint}")
        if isinstance(value, Mapping) and known[key]:
            _refuse_unknown(value, known[key], f"{prefix}{key}.")

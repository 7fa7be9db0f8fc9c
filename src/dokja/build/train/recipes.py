"""Named recipes: functions that give one, each a few changes to another."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...errors import DokjaError
from ..post.distil import DistilConfig
from ..post.grpo import GRPOConfig
from ..post.preference import PreferenceConfig
from .guard import GuardConfig
from .next_token import NextTokenConfig
from .recipe import DataRecipe, ModelRecipe, Recipe, ScheduleRecipe, WatchRecipe, from_dict
from .trainer import TrainConfig


def pretrain() -> Recipe:
    """A model of 10 million parameters from random weights, on the built-in Korean text."""
    return Recipe(
        name="pretrain", train=TrainConfig(seed=1, guard=GuardConfig()), model=ModelRecipe(), data=DataRecipe(),
        task=NextTokenConfig(batch=16, z_weight=1e-5), schedule=ScheduleRecipe(steps=1000), watch=WatchRecipe(),
    )


def midtrain() -> Recipe:
    """Going on with a model at four times its context (YaRN), at a lower rate that falls to nothing."""
    base = pretrain()
    optim = replace(base.train.optim, muon_lr=base.train.optim.muon_lr / 4, adam_lr=base.train.optim.adam_lr / 4)
    return replace(base, name="midtrain", model=ModelRecipe(start="run", extend=4.0),
                   train=replace(base.train, optim=optim),
                   task=NextTokenConfig(batch=4, z_weight=1e-5),
                   schedule=ScheduleRecipe(steps=200, decay=1.0, floor=0.0))


def sft() -> Recipe:
    """Conversations and exercises, of which only the answers count."""
    base = midtrain()
    return replace(base, name="sft", model=ModelRecipe(start="run"), task=NextTokenConfig(batch=16, document_mask=True),
                   data=DataRecipe(conversations=True, answers_only=True, exercises=0.5),
                   schedule=ScheduleRecipe(steps=300, shape="linear", floor=0.0))


def _gentle(base: Recipe, name: str, factor: float) -> Recipe:
    """A recipe for a trained model, at a fraction of its rates and a short text to watch it by."""
    optim = replace(base.train.optim, muon_lr=base.train.optim.muon_lr * factor, weight_decay=0.0,
                    adam_lr=base.train.optim.adam_lr * factor)
    return replace(base, name=name, train=replace(base.train, optim=optim),
                   data=replace(base.data, train_bytes=1_000_000),
                   schedule=ScheduleRecipe(steps=100, shape="linear", floor=0.1))


def dpo() -> Recipe:
    """Preferences beside the starting weights: right answers to exercises before wrong ones, or your own pairs."""
    return replace(_gentle(sft(), "dpo", 0.1), task=PreferenceConfig())


def simpo() -> Recipe:
    """Preferences without a reference."""
    return replace(_gentle(sft(), "simpo", 0.1), task=PreferenceConfig(kind="simpo", beta=2.0))


def grpo() -> Recipe:
    """Reinforcement learning: exercises are asked, and right answers rewarded."""
    return replace(_gentle(sft(), "grpo", 1.0), task=GRPOConfig())


def distil() -> Recipe:
    """A smaller model learns next-token distributions from a larger one, with its tokenizer, on the same text."""
    base = pretrain()
    return replace(base, name="distil", model=ModelRecipe(parameters=2_000_000),
                   data=replace(base.data, tokenizer="run/model"), task=DistilConfig(teacher="run", batch=16))


RECIPES: dict[str, Callable[[], Recipe]] = {
    recipe.__name__: recipe for recipe in (pretrain, midtrain, sft, dpo, simpo, grpo, distil)}


def find(name: str) -> Recipe:
    """A named recipe, the `recipe()` of a Python file, or the one that a run (run.json) was made with.

    Raises DokjaError when there is none.
    """
    if name in RECIPES:
        return RECIPES[name]()
    path = Path(name)
    if (path / "run.json").is_file():
        path = path / "run.json"
    if path.suffix == ".json" and path.is_file():
        try:
            return from_dict(json.loads(path.read_text(encoding="utf-8"))["recipe"])
        except (ValueError, KeyError, TypeError) as error:
            raise DokjaError(f"{path} holds no recipe ({error}): give the run.json of a run") from None
    if path.suffix == ".py" and path.is_file():
        return _from_file(path)
    raise DokjaError(f"there is no recipe {name!r}: choose from {', '.join(RECIPES)}, or give a .py file with a "
                     "function recipe(), or the folder of a run")


def _from_file(path: Path) -> Recipe:
    located = importlib.util.spec_from_file_location(path.stem, path)
    assert located is not None
    assert located.loader is not None
    module = importlib.util.module_from_spec(located)
    try:
        located.loader.exec_module(module)
        made = module.recipe()
    except Exception as error:
        raise DokjaError(f"{path} gives no recipe ({type(error).__name__}: {error}): it needs a function recipe() "
                         "that returns a dokja.build.train.Recipe") from error
    if not isinstance(made, Recipe):
        raise DokjaError(f"recipe() in {path} returns a {type(made).__name__}: it must return a "
                         "dokja.build.train.Recipe")
    return made

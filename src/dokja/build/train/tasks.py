"""From a recipe's task to its objective."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

from ...errors import DokjaError
from ...models.decoder import Decoder
from ...models.folder import load_folder
from ..post.distil import Distil, DistilConfig
from ..post.grpo import GRPO, GRPOConfig, Sampler
from ..post.preference import Preference, PreferenceConfig, exercise_pairs, read_pairs
from ..post.rewards import ExerciseQuestions, FileQuestions, Questions, find_reward
from .next_token import NextToken, NextTokenConfig
from .objective import Objective
from .prepare import Material, model_folder
from .recipe import Recipe

EXERCISE_PAIRS = 20_000


def objective(recipe: Recipe, material: Material, sampler: Sampler | None = None) -> Objective:
    """The objective of a recipe; what it needs of the starting weights is copied before they change.

    sampler: what answers in reinforcement learning, the plain one without it.
    """
    task, seed = recipe.task, recipe.train.seed
    if isinstance(task, NextTokenConfig):
        return NextToken(material.source, task, seed, material.codec.end_of_text)
    if isinstance(task, PreferenceConfig):
        paths = [Path(path) for path in recipe.data.pairs]
        pairs = read_pairs(paths) if paths else exercise_pairs(seed, EXERCISE_PAIRS)
        return Preference(pairs, material.codec, task, seed, _reference(material) if task.kind == "dpo" else None)
    if isinstance(task, DistilConfig):
        if not task.teacher:
            raise DokjaError("distillation needs a teacher: set task.teacher to the folder of a model or a run")
        return Distil(material.source, load_folder(model_folder(Path(task.teacher))).decoder, task, seed)
    return GRPO(_questions(task, seed), material.codec, task, seed, sampler=sampler,
                reference=_reference(material) if task.kl else None)


def _reference(material: Material) -> Decoder:
    if material.model is None:
        raise DokjaError("a reference is the model that a run begins with: set model.start to a model or a run")
    return deepcopy(material.model)


def _questions(task: GRPOConfig, seed: int) -> Questions:
    if bool(task.questions) != bool(task.reward):
        raise DokjaError("task.questions and task.reward belong together: files with a prompt a line, and the function "
                         "that rewards answers to them")
    if task.questions:
        return FileQuestions([Path(path) for path in task.questions], find_reward(task.reward))
    return ExerciseQuestions(task.skill, seed)

"""Verifiable rewards: questions, and what an answer to one is worth."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from ...errors import DokjaError
from ..exercises import SKILLS, Exercise, exercises, mixed, verify
from ..lines import lines
from ..seeds import named_seed

Reward = Callable[[str, str, Mapping[str, Any]], float]
"""reward(prompt, answer, item): what an answer is worth; `item` is the question's row."""


@dataclass(frozen=True)
class Question:
    """One prompt, and the row that it came from."""

    prompt: str
    item: Mapping[str, Any]


class Questions(Protocol):
    """Questions by number, and what answers to them are worth."""

    def questions(self, start: int, count: int) -> list[Question]:
        """Those with the numbers `start` ...; the same each time."""
        ...

    def reward(self, question: Question, answer: str) -> float: ...


class ExerciseQuestions:
    """Training exercises of one skill, or of all mixed; 1 for the right answer, 0 for any other."""

    def __init__(self, skill: str | None, seed: int) -> None:
        if skill is not None and skill not in SKILLS:
            raise DokjaError(f"there is no skill {skill!r}: choose from {', '.join(SKILLS)}")
        self.skill, self._seed = skill, named_seed(seed, "questions")
        self._next, self._stream = 0, self._begin()

    def _begin(self) -> Iterator[Exercise]:
        return exercises(self.skill, "train", self._seed) if self.skill else mixed("train", self._seed)

    def questions(self, start: int, count: int) -> list[Question]:
        if start < self._next:  # a stream only goes forwards
            self._next, self._stream = 0, self._begin()
        items = list(islice(self._stream, start - self._next, start - self._next + count))
        self._next = start + count
        return [Question(item.prompt, {"exercise": item, "answer": item.answer}) for item in items]

    def reward(self, question: Question, answer: str) -> float:
        return float(verify(question.item["exercise"], answer))


class FileQuestions:
    """Rows of .jsonl files with "prompt", in their order and again from the beginning, and a function that rewards."""

    def __init__(self, paths: Sequence[Path], reward: Reward) -> None:
        self._rows = [_row(line, f"{path}:{number}") for path in paths for number, line in lines(path) if line.strip()]
        if not self._rows:
            raise DokjaError("there are no questions: give .jsonl files with a prompt in every line")
        self._reward = reward

    def questions(self, start: int, count: int) -> list[Question]:
        rows = [self._rows[place % len(self._rows)] for place in range(start, start + count)]
        return [Question(row["prompt"], row) for row in rows]

    def reward(self, question: Question, answer: str) -> float:
        return float(self._reward(question.prompt, answer, question.item))


def _row(line: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
        if isinstance(row["prompt"], str) and row["prompt"]:
            return row  # type: ignore[no-any-return]
    except (ValueError, KeyError, TypeError):
        pass
    raise DokjaError(f"{where} is no question: write a JSON object with a prompt, one a line")


@cache
def find_reward(name: str) -> Reward:
    """The function of "module:function" or "file.py:function"; raises DokjaError when there is none."""
    where, colon, function = name.rpartition(":")
    if not colon:
        raise DokjaError(f"{name!r} names no reward: write module:function or file.py:function")
    try:
        if where.endswith(".py"):
            located = importlib.util.spec_from_file_location(Path(where).stem, where)
            assert located is not None
            assert located.loader is not None
            module = importlib.util.module_from_spec(located)
            located.loader.exec_module(module)
        else:
            module = importlib.import_module(where)
        found: Reward = getattr(module, function)
        return found
    except Exception as error:  # whatever a user's file raises
        raise DokjaError(f"the reward {name} cannot be loaded ({type(error).__name__}: {error})") from error

"""Splits, streams, verification and the guesser's level, for all skills alike."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable
from itertools import islice, pairwise
from random import Random

import pytest

from dokja.build.exercises import SKILLS, Exercise, Skill, chance, exercises, mixed, split_of, verify
from dokja.errors import DokjaError

NAMES = list(SKILLS)

_DIGEST = """
import hashlib, json
from itertools import islice, pairwise
from dokja.build.exercises import SKILLS, exercises, mixed
print(json.dumps({
    f"{split} {name}": hashlib.sha256(repr(list(islice(stream, 100))).encode()).hexdigest()
    for split in ("train", "evaluation")
    for name, stream in [*((s, exercises(s, split, 5)) for s in SKILLS), ("mixed", mixed(split, 5))]
}))
"""


@pytest.mark.parametrize("skill", NAMES)
def test_no_problem_is_in_both_splits_whatever_the_seeds(skill: str) -> None:
    train = {item.key for seed in (1, 2) for item in islice(exercises(skill, "train", seed), 8500)}
    evaluation = {item.key for seed in (1, 99) for item in islice(exercises(skill, "evaluation", seed), 1500)}
    assert not train & evaluation
    assert all(split_of(key) == "train" for key in train)
    assert len(train) > 2000
    assert len(evaluation) >= 1500


@pytest.mark.parametrize("skill", NAMES)
def test_evaluation_problems_differ(skill: str) -> None:
    items = list(islice(exercises(skill, "evaluation", 3), 400))
    assert len({item.key for item in items}) == 400


@pytest.mark.parametrize("skill", NAMES)
def test_most_exercises_are_drills_and_most_others_are_easy(skill: str) -> None:
    items = list(islice(exercises(skill, "train", 3), 1500))
    drills = [item for item in items if item.form.startswith("drill")]
    others = [item for item in items if not item.form.startswith("drill")]
    assert 0.7 < len(drills) / len(items) < 0.82
    assert 0.55 < sum(item.level == 1 for item in others) / len(others) < 0.8
    assert sum(item.level == 1 for item in drills) / len(drills) > 0.75
    evaluation = list(islice(exercises(skill, "evaluation", 3), 120))
    assert 0.6 < sum(item.form.startswith("drill") for item in evaluation) / 120 < 0.9
    assert all(len(item.prompt) <= 16 for item in drills)
    assert len({item.form for item in drills}) <= 3


def test_exercises_are_few_characters_on_average() -> None:
    items = list(islice(mixed("train", 9), 3000))
    assert sum(len(item.prompt) for item in items) / len(items) <= 16
    assert sum(len(item.answer) for item in items) / len(items) <= 4


@pytest.mark.parametrize("skill", NAMES)
def test_exercises_are_short_and_well_formed(skill: str) -> None:
    for item in islice(exercises(skill, "train", 8), 1500):
        assert item.skill == skill
        assert item.key.startswith(f"{skill}:")
        assert item.form
        assert item.level in (1, 2, 3)
        assert item.answer
        assert "{" not in item.prompt
        assert "  " not in item.prompt
        assert len(item.prompt) <= 70
        assert len(item.answer) <= 24
        assert unicodedata.is_normalized("NFC", item.prompt + item.answer)
        if item.choices:
            assert item.answer in item.choices


@pytest.mark.parametrize("skill", NAMES)
def test_one_problem_in_one_form_has_one_answer_and_several_wordings(skill: str) -> None:
    answers: dict[tuple[str, str], str] = {}
    prompts: dict[tuple[str, str], set[str]] = {}
    for item in islice(exercises(skill, "train", 4), 5000):
        # A sentence to complete, and the things a story is about, are wording.
        answer = "".join(filter(str.isdigit, item.answer)) if skill == "arithmetic" else item.answer
        key = (item.form, item.key)
        if item.form != "complete":
            assert answers.setdefault(key, answer) == answer
        prompts.setdefault(key, set()).add(item.prompt)
    assert max(map(len, prompts.values())) >= 2


@pytest.mark.parametrize("skill", NAMES)
def test_answers_verify_and_other_answers_do_not(skill: str) -> None:
    items = list(islice(exercises(skill, "evaluation", 6), 150))
    for item, other in pairwise(items):
        assert verify(item, item.answer)
        assert verify(item, f"  {item.answer}. ")
        assert verify(item, unicodedata.normalize("NFD", item.answer))
        assert all(verify(item, reply) for reply in item.also)
        assert not verify(item, "")
        assert not verify(item, item.answer + "아니")
        assert not any(verify(item, choice) for choice in item.choices if choice != item.answer)
        if other.answer not in (item.answer, *item.also) and other.form == item.form:
            assert not verify(item, other.answer)


def _exercise(answer: str, *, also: tuple[str, ...] = (), form: str = "f", choices: tuple[str, ...] = ()) -> Exercise:
    return Exercise("clock", "?", answer, "clock:?", form, choices=choices, also=also)


@pytest.mark.parametrize(
    ("answer", "reply", "right"),
    [
        ("3시 20분", "3시20분", True),
        ("3시 20분", "3시 20분.", True),
        ("3시 20분", "'3시 20분'", True),
        ("3시 20분", "3시 2분", False),
        ("3시 20분", "320", False),
        ("1200", "1,200", True),
        ("1200원", "1,200원", True),
        ("1200원", "1200", True),
        ("1200원", "1200개", False),
        ("350cm", "350 cm", True),
        ("350cm", "350m", False),
        ("7개", "17개", False),
        ("123, 456", "123,456", True),
        ("12, 3", "1, 23", False),
        ("3, 5, 8", "3,5,8", True),
        ("할머니", "외할머니", False),
        ("할머니", "", False),
        ("할머니", ".", False),
    ],
)
def test_verification_accepts_what_is_equivalent_and_nothing_else(answer: str, reply: str, right: bool) -> None:
    assert verify(_exercise(answer), reply) is right


def test_chance_is_the_best_habit_of_each_form_weighted_by_size() -> None:
    constant = [_exercise(answer, form="a") for answer in ("1", "1", "1", "2")]
    assert chance("clock", constant) == 0.75
    # No answer recurs and no place is favoured, yet one of two choices at random is right half the time.
    choice = [
        _exercise("가", form="b", choices=("가", "나")),
        _exercise("라", form="b", choices=("다", "라")),
        _exercise("마", form="b", choices=("마", "바")),
        _exercise("아", form="b", choices=("사", "아")),
    ]
    assert chance("clock", choice) == 0.5
    assert chance("clock", constant + choice) == pytest.approx(5 / 8)
    first = [_exercise(answer, form="c", choices=(answer, "x", "y")) for answer in "가나다"]
    assert chance("clock", first) == 1.0
    last = [_exercise(answer, form="d", choices=("x",) * count + (answer,)) for count, answer in ((1, "가"), (3, "나"))]
    assert chance("clock", last) == 1.0
    assert chance("clock", []) == 0.0
    assert chance("units", constant) == 0.0


@pytest.mark.parametrize("skill", NAMES)
def test_no_skill_can_be_passed_by_guessing(skill: str) -> None:
    items = list(islice(exercises(skill, "evaluation", 1), 200))
    assert chance(skill, items) < {"particles": 0.6, "ordering": 0.4}.get(skill, 0.3)
    drills = [item for item in items if item.form.startswith("drill")]
    assert chance(skill, drills) < {"particles": 0.6, "ordering": 0.25}.get(skill, 0.24)


@pytest.mark.parametrize("skill", NAMES)
def test_the_commonest_answer_in_training_does_not_beat_chance(skill: str) -> None:
    """A guesser who has learnt each form's commonest answer from the training split stays at or below chance."""
    counts: dict[str, Counter[str]] = {}
    for item in islice(exercises(skill, "train", 2), 2000):
        counts.setdefault(item.form, Counter())[item.answer] += 1
    best = {form: counter.most_common(1)[0][0] for form, counter in counts.items()}
    items = list(islice(exercises(skill, "evaluation", 2), 200))
    hits = sum(item.answer == best[item.form] for item in items) / len(items)
    assert hits <= chance(skill, items) + 1e-9


def test_streams_are_the_same_in_processes_with_other_hash_seeds() -> None:
    digests = []
    for seed in ("0", "4242"):
        ran = subprocess.run(
            [sys.executable, "-c", _DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.append(json.loads(ran.stdout))
    assert digests[0] == digests[1]
    assert len(set(digests[0].values())) == len(digests[0])


def test_seeds_give_different_streams() -> None:
    first, second = (list(islice(exercises("numbers", "train", seed), 20)) for seed in (1, 2))
    assert first != second


def test_a_skill_whose_drills_are_used_up_goes_on_with_its_other_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    def maker(form: str, count: int) -> Callable[[Random], Exercise]:
        def make(rng: Random) -> Exercise:
            number = rng.randrange(count)
            return Exercise("toy", f"{form} {number}", "1", f"toy:{form}:{number}", form)

        return make

    monkeypatch.setitem(SKILLS, "toy", Skill("toy", "놀이", "toy", maker("other", 200), maker("drill", 30)))
    keys = [f"toy:{form}:{number}" for form, count in (("other", 200), ("drill", 30)) for number in range(count)]
    held_out = {key for key in keys if split_of(key) == "evaluation"}
    items = list(islice(exercises("toy", "evaluation", 1), len(held_out) + 5))
    assert {item.key for item in items[: len(held_out)]} == held_out
    assert {item.key for item in items[len(held_out) :]} < held_out


def test_mixed_has_each_skill_once_a_round_in_changing_order() -> None:
    items = list(islice(mixed("train", 1), 10 * len(NAMES)))
    rounds = [tuple(item.skill for item in items[i : i + len(NAMES)]) for i in range(0, len(items), len(NAMES))]
    assert all(sorted(order) == sorted(NAMES) for order in rounds)
    assert len(set(rounds)) > 5
    two = list(islice(mixed("evaluation", 1, ["jamo", "units"]), 40))
    assert Counter(item.skill for item in two) == {"jamo": 20, "units": 20}
    assert all(split_of(item.key) == "evaluation" for item in two)


def test_unknown_names_are_refused_at_once() -> None:
    with pytest.raises(DokjaError, match="particles"):
        exercises("particle", "train", 1)
    with pytest.raises(DokjaError, match="evaluation"):
        exercises("jamo", "test", 1)  # type: ignore[arg-type]
    with pytest.raises(DokjaError, match="no skill"):
        mixed("train", 1, ["nothing"])
    with pytest.raises(DokjaError, match="no skills"):
        mixed("train", 1, [])


def test_an_exercise_becomes_a_conversation() -> None:
    item = next(exercises("kinship", "train", 1))
    document = item.document()
    assert document.source == "exercise/kinship"
    assert [(turn.role, turn.content) for turn in document.turns] == [
        ("user", item.prompt),
        ("assistant", item.answer),
    ]

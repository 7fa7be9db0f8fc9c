"""Verifiable Korean exercises: seeded, unlimited, with train and evaluation problems disjoint by construction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from dokja.errors import DokjaError

from . import (
    arithmetic,
    clock,
    core,
    dates,
    jamo,
    kinship,
    letters,
    numbers,
    ordering,
    particles,
    units,
)
from .core import Exercise, Skill, Split, split_of

__all__ = ["SKILLS", "Exercise", "Skill", "Split", "chance", "exercises", "mixed", "split_of", "verify"]

SKILLS: dict[str, Skill] = {
    skill.name: skill
    for skill in (
        Skill("particles", "조사", "particles", particles.make, particles.drill),
        Skill("jamo", "자모", "Hangul letters", jamo.make, jamo.drill),
        Skill("numbers", "수 읽기", "number reading", numbers.make, numbers.drill),
        Skill("clock", "시계", "clock", clock.make, clock.drill),
        Skill("calendar", "달력", "calendar", dates.make, dates.drill),
        Skill("arithmetic", "셈", "arithmetic word problems", arithmetic.make, arithmetic.drill),
        Skill("letters", "글자 세기", "letter counting", letters.make, letters.drill),
        Skill("units", "단위", "unit conversion", units.make, units.drill),
        Skill("kinship", "가족 관계", "kinship", kinship.make, kinship.drill),
        Skill("ordering", "순서", "ordering", ordering.make, ordering.drill),
    )
}

# How many exercises are drills, questions of level 1, and questions of any level. As half of the last are of level 1
# too, so are about two questions in three.
_SHARES = (0.76, 0.09, 0.15)
# So many draws in a row without a new problem mean that a skill's evaluation problems of one kind are used up.
_EXHAUSTED = 5_000


def exercises(skill: str, split: Split, seed: int) -> Iterator[Exercise]:
    """An endless stream of one skill's exercises of one split, the same for the same arguments everywhere.

    The evaluation stream repeats a problem only when the skill has no further one.
    """
    if skill not in SKILLS:
        raise DokjaError(f"no skill {skill!r}; there are {', '.join(SKILLS)}")
    if split not in ("train", "evaluation"):
        raise DokjaError(f"no split {split!r}; there are train and evaluation")
    return _stream(SKILLS[skill], split, Random(f"{skill}/{split}/{seed}"))


def _stream(skill: Skill, split: Split, rng: Random) -> Iterator[Exercise]:
    makers = (skill.drill, lambda rng: _easy(skill, rng), skill.make)
    shares = list(_SHARES)
    seen: set[str] = set()
    while True:
        place = rng.choices(range(len(makers)), shares)[0]
        for _ in range(_EXHAUSTED):
            exercise = makers[place](rng)
            if exercise.key not in seen and split_of(exercise.key) == split:
                break
        else:
            # The other kinds make up for one that is used up; when all are, the problems come again.
            shares[place] = 0
            if not any(shares):
                seen.clear()
                shares = list(_SHARES)
            continue
        if split == "evaluation":
            seen.add(exercise.key)
        yield exercise


def _easy(skill: Skill, rng: Random) -> Exercise:
    while True:
        exercise = skill.make(rng)
        if exercise.level == 1:
            return exercise


def mixed(split: Split, seed: int, skills: Sequence[str] | None = None) -> Iterator[Exercise]:
    """An endless stream over several skills (all by default): one exercise of each per round, in shuffled order."""
    names = list(SKILLS) if skills is None else list(skills)
    if not names:
        raise DokjaError("no skills to mix")
    return _rounds([exercises(name, split, seed) for name in names], Random(f"mixed/{split}/{seed}"))


def _rounds(streams: list[Iterator[Exercise]], rng: Random) -> Iterator[Exercise]:
    while True:
        rng.shuffle(streams)
        for stream in streams:
            yield next(stream)


def verify(exercise: Exercise, reply: str) -> bool:
    """Whether a reply is right: compared without spaces, final period and Unicode form, or an equivalent reply."""
    return core.is_right(exercise, reply)


def chance(skill: str, items: Sequence[Exercise]) -> float:
    """What a guesser who knows only the questions' forms reaches on these items of a skill: see `core.chance`."""
    return core.chance(item for item in items if item.skill == skill)

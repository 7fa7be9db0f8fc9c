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
        Skill("particles", "조사", "particles", particles.make),
        Skill("jamo", "자모", "Hangul letters", jamo.make),
        Skill("numbers", "수 읽기", "number reading", numbers.make),
        Skill("clock", "시계", "clock", clock.make),
        Skill("calendar", "달력", "calendar", dates.make),
        Skill("arithmetic", "셈", "arithmetic word problems", arithmetic.make),
        Skill("letters", "글자 세기", "letter counting", letters.make),
        Skill("units", "단위", "unit conversion", units.make),
        Skill("kinship", "가족 관계", "kinship", kinship.make),
        Skill("ordering", "순서", "ordering", ordering.make),
    )
}

# So many draws in a row without a new problem mean that a skill's evaluation problems are used up.
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
    make = skill.make
    seen: set[str] = set()
    idle = 0
    while True:
        exercise = make(rng)
        key = exercise.key
        if split_of(key) != split:
            continue
        if split == "evaluation":
            if key in seen:
                idle += 1
                if idle < _EXHAUSTED:
                    continue
                seen.clear()
            idle = 0
            seen.add(key)
        yield exercise


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

"""Frames: texts with a plan. A frame's slots are the plan; its steps tell it in varied sentences; its questions ask it.

Read from the .txt files beside this one:

    == name *2              a frame and its weight
    a = @name               slots, drawn in this order (world.slot); `style = plain formal` limits the registers
    figures                 numbers in figures only
    opening                 in conversations: comes first, never as a second topic
    (blank line)
    sentence                a step: one line of it is used; `?` before one makes the step optional
    another way to say it
    (blank line)
    %                       a new paragraph
    U: ... / B: ...         in conversations: a turn of the user, of the assistant
    Q: ... / A: ...         a question about the plan and its answer; several Q lines are ways to ask the next A
"""

from __future__ import annotations

import re
from bisect import bisect
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import accumulate
from random import Random

from dokja.build.korean.template import Context, Template, template
from dokja.build.korean.world import Draw, pick, slot

_POLITE = re.compile(r"(요|니다|니까|죠)[\]|.!?,]")
_BARE = re.compile(r"(:은\}\?|'는\?)$")


@dataclass(slots=True)
class Step:
    """One sentence (or turn) of a frame in its alternative wordings."""

    alternatives: list[Template] = field(default_factory=list)
    optional: bool = False
    paragraph: bool = False
    role: str = ""
    # What each alternative needs of the conversation: the user's way of speaking, the user's name having been said.
    registers: list[str] = field(default_factory=list)
    named: list[bool] = field(default_factory=list)

    def choose(self, rng: Random, register: str, introduced: bool) -> Template:
        """An alternative that fits how the user speaks and that does not use a name nobody has said."""
        fitting = [
            alternative
            for alternative, spoken, named in zip(self.alternatives, self.registers, self.named, strict=True)
            if spoken in ("", register) and (introduced or not named)
        ]
        return pick(rng, fitting or self.alternatives)


def register_of(source: str) -> str:
    """How a user's line speaks: "polite" (해요체, 합니다체), "casual" (반말), or "" where it may be either."""
    if _POLITE.search(source):
        return "polite"
    return "" if _BARE.search(source) else "casual"


@dataclass(slots=True)
class Frame:
    """A plan and the ways to tell it and to ask about it."""

    name: str
    weight: float = 1.0
    styles: tuple[str, ...] = ("plain",)
    figures: bool = False
    opening: bool = False
    slots: list[Draw] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    questions: list[tuple[list[Template], list[Template]]] = field(default_factory=list)

    def plan(self, rng: Random, style: str = "") -> Context:
        """Draw the slots: the facts of one text."""
        ctx: Context = {
            "_style": style or pick(rng, self.styles),
            "_words": rng.random() < 0.6 and not self.figures,
            "_familiar": rng.random() < 0.5,
            "_used": set(),
        }
        for draw in self.slots:
            draw(ctx, rng)
        return ctx

    def tell(self, ctx: Context, rng: Random, joiner: str = " ") -> str:
        """The plan as running text: sentences joined by `joiner`, paragraphs by a line break."""
        out: list[str] = []
        for step in self.steps:
            if step.paragraph:
                out.append("\n")
                continue
            if step.optional and rng.random() < 0.35:
                continue
            if out and out[-1] != "\n":
                out.append(joiner)
            out.append(pick(rng, step.alternatives)(ctx, rng))
        return "".join(out)

    def spoken(self, register: str) -> str:
        """The register, or the only one in which the frame's user speaks."""
        known = set(self.steps[0].registers) - {""}
        return register if register in known or len(known) != 1 else known.pop()

    def converse(
        self, ctx: Context, rng: Random, register: str, later: bool = False, introduced: bool = False
    ) -> list[tuple[str, str]]:
        """The plan as turns: ("U" or "B", what is said). An optional question goes with its answer.

        register: how the user speaks; later: the talk is under way, so that nobody gives a name any more;
        introduced: the user's name has been said.
        """
        turns: list[tuple[str, str]] = []
        skipping = False
        name = ctx.get("a.n", "")
        for step in self.steps:
            if step.role == "U":
                skipping = step.optional and rng.random() < 0.5
            if skipping:
                continue
            if step.role == "U":
                said = step.choose(rng, register, not later)(ctx, rng)
                introduced = introduced or (bool(name) and name in said)
            else:
                said = step.choose(rng, "", introduced)(ctx, rng)
            turns.append((step.role, said))
        return turns


@dataclass(frozen=True, slots=True)
class FrameSet:
    """The frames of a file, drawn by weight."""

    frames: tuple[Frame, ...]
    bounds: tuple[float, ...]

    def pick(self, rng: Random) -> Frame:
        """A frame by its weight."""
        return self.frames[bisect(self.bounds, rng.random() * self.bounds[-1])]


def _parse(text: str) -> list[Frame]:
    frames: list[Frame] = []
    step: Step | None = None
    in_slots = False
    asked: list[Template] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        try:
            if line.startswith("# "):
                continue
            if line.startswith("== "):
                name, _, weight = line[3:].partition("*")
                frames.append(Frame(name.strip(), float(weight or 1)))
                in_slots, step, asked = True, None, None
            elif not line:
                step = None
                if frames and in_slots:
                    in_slots = False
            elif in_slots and line == "figures":
                frames[-1].figures = True
            elif in_slots and line == "opening":
                frames[-1].opening = True
            elif in_slots and line.startswith("style ="):
                frames[-1].styles = tuple(line.partition("=")[2].split())
            elif in_slots:
                frames[-1].slots.append(slot(line))
            elif line == "%":
                frames[-1].steps.append(Step(paragraph=True))
                step = None
            elif line.startswith("Q: "):
                if asked is None or frames[-1].questions[-1][1]:
                    asked = []
                    frames[-1].questions.append((asked, []))
                asked.append(template(line[3:]))
            elif line.startswith("A: "):
                frames[-1].questions[-1][1].append(template(line[3:]))
            else:
                if step is None:
                    step = Step()
                    frames[-1].steps.append(step)
                if line.startswith("?"):
                    step.optional, line = True, line[1:].strip()
                if line.startswith(("U: ", "B: ")):
                    step.role, line = line[0], line[3:]
                    step.registers.append(register_of(line) if step.role == "U" else "")
                    step.named.append("{a." in line)
                step.alternatives.append(template(line))
        except (KeyError, ValueError, IndexError) as error:
            raise ValueError(f"line {number}: {line!r}: {error}") from error
    return frames


@cache
def frame_set(*names: str) -> FrameSet:
    """The frames of data files; ValueError names the line of one that cannot be read."""
    frames: list[Frame] = []
    for name in names:
        try:
            frames += _parse(files(__package__).joinpath(name).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{name}, {error}") from error
    return FrameSet(tuple(frames), tuple(accumulate(frame.weight for frame in frames)))

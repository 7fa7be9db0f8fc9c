"""What an exercise is, which split it belongs to, when a reply is right, and what a guesser would reach."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Literal

from dokja.build.document import Document, Turn

Split = Literal["train", "evaluation"]

# One key in five is for evaluation; which ones is a property of the key alone, so no seed can move one across.
_EVALUATION_ONE_IN = 5


@dataclass(frozen=True, slots=True)
class Exercise:
    """One question with its one right answer.

    key: the problem without its wording. Exercises with one key are one problem, however they are put.
    form: the kind of question inside the skill, which a reader sees at a glance; `chance` guesses per form.
    level: 1 easy, 2 middling, 3 hard.
    choices: the answers that the prompt itself offers, in its order; empty where it offers none.
    also: other replies that are just as right, such as "4시 정각" for "4시".
    """

    skill: str
    prompt: str
    answer: str
    key: str
    form: str = ""
    level: int = 1
    choices: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def document(self) -> Document:
        """The exercise as a conversation of one question and one answer."""
        turns = (Turn("user", self.prompt), Turn("assistant", self.answer))
        return Document(f"exercise/{self.skill}", turns=turns, exercise=True)


@dataclass(frozen=True, slots=True)
class Skill:
    """A kind of exercise; `make` and `drill` draw one, whichever split it falls in.

    make: questions in many wordings, of all forms and levels.
    drill: the same problems, mostly easy ones, in a few characters and one fixed wording a form, as in a workbook.
    """

    name: str
    title_ko: str
    title_en: str
    make: Callable[[Random], Exercise]
    drill: Callable[[Random], Exercise]


def split_of(key: str) -> Split:
    """The split to which a key belongs, by its BLAKE2 hash: the same in every process and for every seed."""
    digest = blake2b(key.encode(), digest_size=8).digest()
    return "evaluation" if int.from_bytes(digest, "big") % _EVALUATION_ONE_IN == 0 else "train"


# A quantity in one unit. The unit may be left out of a reply, since the question names it.
_QUANTITY = re.compile(
    r"(\d+)(시|월|번|개|명|마리|권|장|자루|송이|대|짝|살|원|점|다스|켤레|판|손|축|두름|톳|접|쌈|분|초|시간|일|주|자|km|m|cm|mm|kg|g|t|L|mL)"
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_SPACES = re.compile(r"\s+")


def canonical(reply: str) -> str:
    """A reply without what does not matter: Unicode form, outer quotes, final period, spaces."""
    text = unicodedata.normalize("NFC", reply).strip()
    text = text.rstrip(".。").strip().strip("'\"‘’“”").rstrip(".。")
    return _SPACES.sub("", text)


def is_right(exercise: Exercise, reply: str) -> bool:
    """Whether a reply is the answer, up to `canonical`, thousands commas, a left-out unit, and what is `also` right."""
    given, wanted = canonical(reply), canonical(exercise.answer)
    if "," not in wanted:
        given = _THOUSANDS.sub("", given)
    if given == wanted or any(given == canonical(right) for right in exercise.also):
        return True
    quantity = _QUANTITY.fullmatch(wanted)
    return quantity is not None and given == quantity[1]


def chance(items: Iterable[Exercise]) -> float:
    """The share of `items` that a guesser gets right who knows the questions' forms and nothing else.

    Within each form the guesser has the best of three habits, chosen with the answers in hand:
    always one answer (the commonest); always the choice at one place of those offered ("the first", "the last");
    any of the choices offered, at random. Over the forms it is a mean weighted by their number of items.
    As the habit is chosen on the very items it is scored on, the figure errs upwards when a form has few items:
    a model that passes it has learnt more than how an answer looks.
    """
    forms: defaultdict[str, list[Exercise]] = defaultdict(list)
    for item in items:
        forms[item.form].append(item)
    total = sum(len(group) for group in forms.values())
    return sum(map(_best_habit, forms.values())) / total if total else 0.0


def _best_habit(group: Sequence[Exercise]) -> float:
    answers: Counter[str] = Counter(canonical(item.answer) for item in group)
    places: Counter[int] = Counter()
    at_random = 0.0
    for item in group:
        size = len(item.choices)
        hits = [place for place, choice in enumerate(item.choices) if choice == item.answer]
        places.update(hits)
        places.update(place - size for place in hits)
        at_random += len(hits) / size if size else 0.0
    return max(max(answers.values()), max(places.values(), default=0), at_random)

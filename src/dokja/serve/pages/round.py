"""One comparison: the same questions to two models whose names are not shown."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from ..service import Answer, ChatAsk, Options, Service
from ..store import Vote
from .writing import Writing

# A pocket model is at its best close to its likeliest words; a little chance keeps small talk from repeating itself.
TALK = Options(temperature=0.4, top_p=0.9)
Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")


class Round:
    """Which two models, in which order, and each answer's seed follow from the round's seed.

    seeds: of the answers, one a prompt and side.
    """

    def __init__(self, service: Service, names: Sequence[str], seed: int) -> None:
        self._service = service
        self._random = random.Random(seed)
        self.id = uuid.uuid4().hex
        self.seed = seed
        self.models: dict[Side, str] = dict(zip(SIDES, self._random.sample(sorted(names), 2), strict=True))
        self.prompts: list[str] = []
        self.answers: dict[Side, list[Writing]] = {side: [] for side in SIDES}
        self.seeds: dict[Side, list[int]] = {side: [] for side in SIDES}
        self.choice: str | None = None
        self.asking = False
        self._ended = 0.0  # seconds since 1970

    @classmethod
    def kept(cls, service: Service, vote: Vote) -> Round:
        """A round that goes on where it was kept."""
        old = cls(service, [vote.left_model, vote.right_model], vote.order_seed)
        old.id, old.models = vote.id, {"left": vote.left_model, "right": vote.right_model}
        old.prompts, old.choice, old._ended = list(vote.prompts), vote.choice, vote.created
        for side, answers in zip(SIDES, (vote.left_answers, vote.right_answers), strict=True):
            old.seeds[side] = [answer["seed"] for answer in answers]
            old.answers[side] = [Writing(None, answer["content"], answer["reasoning"], answer["finish"],
                                         answer.get("notices", [])) for answer in answers]
        for _ in range(len(SIDES) * len(old.prompts)):  # those seeds have been drawn
            old._random.getrandbits(32)
        return old

    @property
    def writing(self) -> bool:
        """Whether an answer is being written."""
        return any(answer.finish is None for answers in self.answers.values() for answer in answers)

    @property
    def complete(self) -> bool:
        """Whether both have answered, so that one can vote; an answer that failed cannot be compared."""
        return bool(self.prompts) and not self.writing and not any(
            answer.finish == "failed" for answers in self.answers.values() for answer in answers)

    async def ask(self, question: str) -> None:
        """Begin both answers, or none; raises what `Service.chat` raises."""
        begun: list[Answer] = []
        self.asking = True
        try:
            for side in SIDES:
                seed = self._random.getrandbits(32)
                begun.append(await self._service.chat(ChatAsk(
                    self._history(side, question), model=self.models[side], options=replace(TALK, seed=seed),
                    drop_oldest=True)))
        except BaseException:
            for answer in begun:
                answer.stop()
            raise
        finally:
            self.asking = False
        self.prompts.append(question)
        for side, answer in zip(SIDES, begun, strict=True):
            self.answers[side].append(Writing(answer))
            self.seeds[side].append(answer.seed)

    async def follow(self, progress: Callable[[], Awaitable[None]]) -> None:
        """Read the newest answers to their end."""
        await asyncio.gather(*(self.answers[side][-1].follow(progress) for side in SIDES))
        self._ended = time.time()

    def stop(self) -> None:
        """End what is being written."""
        for answers in self.answers.values():
            for answer in answers:
                if answer.finish is None:
                    answer.stop()

    def fields(self, choice: str | None = None) -> dict[str, Any]:
        """The fields of `store.Vote` that the round knows; choice: the vote, where there is one."""
        return {
            "id": self.id, "left_model": self.models["left"], "right_model": self.models["right"],
            "order_seed": self.seed, "prompts": list(self.prompts), "choice": choice,
            "seconds": None if choice is None else round(max(0.0, time.time() - self._ended), 3),
            **{f"{side}_answers": [{"content": answer.content, "reasoning": answer.reasoning, "seed": seed,
                                    "finish": answer.finish, "notices": answer.notices}
                                   for answer, seed in zip(self.answers[side], self.seeds[side], strict=True)]
               for side in SIDES},
        }

    def _history(self, side: Side, question: str) -> list[dict[str, Any]]:
        turns: list[dict[str, Any]] = []
        for prompt, answer in zip(self.prompts, self.answers[side], strict=True):
            if answer.content:
                turns += [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer.content}]
        return [*turns, {"role": "user", "content": question}]

"""The worker thread and its asyncio readers."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from engine_models import CONTEXT, VOCAB, expected, greedy, prompt_of, tiny_decoder

from dokja.models.decoder import Decoder
from dokja.models.model import Model
from dokja.serve.engine.engine import Engine
from dokja.serve.engine.sizing import Limits
from dokja.serve.engine.types import Finish, Generation, Request, SamplingParams
from dokja.serve.errors import BadRequestError, BusyError, UnavailableError

pytestmark = pytest.mark.timed

LIMITS = Limits(context=CONTEXT, tokens=600, rows=4, budget=32)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return tiny_decoder("k-exaone")


@pytest.fixture
def engine(decoder: Decoder) -> Iterator[Engine]:
    made = Engine(Model(decoder), LIMITS, queue=4)
    yield made
    made.close()


async def read(generation: Generation) -> tuple[list[int], Finish | None]:
    tokens: list[int] = []
    finish = None
    async for step in generation:
        tokens += step.tokens
        finish = step.finish
    return tokens, finish


def test_readers_get_their_own_answers(engine: Engine, decoder: Decoder) -> None:
    requests = [greedy(prompt_of(length)) for length in (5, 40, 17, 1, 90)]

    async def ask() -> list[tuple[list[int], Finish | None]]:
        return await asyncio.gather(*(read(engine.submit(request)) for request in requests))

    assert asyncio.run(ask()) == [(expected(decoder, request), "length") for request in requests]
    stats = engine.stats()
    assert (stats.running, stats.waiting, stats.pages_free) == (0, 0, stats.pages_total)
    assert (stats.prompt_tokens, stats.generated_tokens) == (153, 60)


def test_cancelling_ends_an_answer_and_gives_its_pages_back(engine: Engine, decoder: Decoder) -> None:
    async def ask() -> tuple[list[int], Finish | None, tuple[list[int], Finish | None]]:
        gone, other = engine.submit(greedy(prompt_of(4), 120)), engine.submit(greedy(prompt_of(9)))
        tokens, finish = [], None
        async for step in gone:
            tokens += step.tokens
            finish = step.finish
            if len(tokens) == 3:
                gone.cancel()
        return tokens, finish, await read(other)

    tokens, finish, other = asyncio.run(ask())
    assert finish == "cancelled"
    assert tokens == expected(decoder, greedy(prompt_of(4), 120))[: len(tokens)]
    assert len(tokens) < 120
    assert other == (expected(decoder, greedy(prompt_of(9))), "length")
    assert engine.stats().pages_free == engine.stats().pages_total


def test_a_deadline_that_has_passed_ends_an_answer(decoder: Decoder) -> None:
    times = iter(range(1000))
    engine = Engine(Model(decoder), LIMITS, clock=lambda: float(next(times)))  # a second a step
    request = Request("late", prompt_of(4), SamplingParams(max_tokens=100, temperature=0.0), deadline=7.5)

    async def ask() -> tuple[list[int], Finish | None]:
        return await read(engine.submit(request))

    tokens, finish = asyncio.run(ask())
    engine.close()
    assert finish == "deadline"
    assert tokens == expected(decoder, greedy(prompt_of(4), 100))[:8]


def test_requests_past_the_queue_are_refused_and_others_still_answered(engine: Engine) -> None:
    async def ask() -> list[tuple[list[int], Finish | None]]:
        taken = [engine.submit(greedy(prompt_of(4), 30)) for _ in range(8)]
        with pytest.raises(BusyError, match="8 requests run or wait already and 8 may"):
            engine.submit(greedy(prompt_of(4)))
        return await asyncio.gather(*map(read, taken))

    answers = asyncio.run(ask())
    assert {finish for _, finish in answers} == {"length"}
    assert len({tuple(tokens) for tokens, _ in answers}) == 1


@pytest.mark.parametrize(("request_", "words"), [
    (greedy(()), "the prompt is empty"),
    (greedy(prompt_of(CONTEXT)), f"the prompt has {CONTEXT} tokens and the context holds {CONTEXT}"),
    (greedy((1, VOCAB)), "outside the vocabulary"),
    (Request("a", (1,), SamplingParams(), adapter="none"), "no adapter 'none'"),
])
def test_what_cannot_be_answered_is_refused_at_once(engine: Engine, request_: Request, words: str) -> None:
    async def ask() -> None:
        with pytest.raises(BadRequestError, match=words):
            engine.submit(request_)

    asyncio.run(ask())


def test_closing_ends_what_runs(decoder: Decoder) -> None:
    engine = Engine(Model(decoder), LIMITS)

    async def ask() -> tuple[list[int], Finish | None]:
        generation = engine.submit(greedy(prompt_of(4), 120))
        engine.close()
        with pytest.raises(UnavailableError, match="closed"):
            engine.submit(greedy(prompt_of(4)))
        return await read(generation)

    assert asyncio.run(ask())[1] == "cancelled"


def test_embeddings_are_of_length_one_and_do_not_depend_on_their_neighbours(engine: Engine, decoder: Decoder) -> None:
    prompts = [prompt_of(40), prompt_of(7), prompt_of(100)]

    async def ask() -> list[list[list[float]]]:
        return [await engine.embed(prompts), await engine.embed(prompts[1:2])]

    together, alone = asyncio.run(ask())
    assert [math.hypot(*vector) for vector in together] == pytest.approx([1.0] * 3)
    assert together[1] == pytest.approx(alone[0], abs=1e-6)
    assert len({tuple(vector) for vector in together}) == 3


def test_a_prompt_alone_can_be_scored(engine: Engine) -> None:
    """max_tokens 0 with prompt_logprobs: no answer, every prompt token's log-probability but the first's."""
    request = greedy(prompt_of(50), 0, prompt_logprobs=2)

    async def ask() -> Generation:
        generation = engine.submit(request)
        assert await read(generation) == ([], "length")
        return generation

    found = asyncio.run(ask()).prompt_logprobs
    assert found is not None
    assert found[0] is None
    assert [one.token for one in found[1:] if one] == list(request.prompt[1:])
    assert all(one.logprob <= one.top[0][1] and one.top[0][1] >= one.top[1][1] for one in found[1:] if one)


def test_a_crowd_that_comes_and_goes_gets_its_own_answers_and_leaves_nothing(decoder: Decoder) -> None:
    """Thirty-six readers, a third of whom leave, a third of whom wait only so long, over pages for one long request."""
    engine = Engine(Model(decoder), Limits(context=CONTEXT, tokens=CONTEXT, rows=6, budget=24), queue=80)
    requests = [greedy(prompt_of(1 + 7 * i % 60, i % 5), 5 + i % 30) for i in range(36)]

    async def one(i: int) -> tuple[list[int], Finish | None]:
        await asyncio.sleep(0.002 * (i % 7))
        deadline = time.monotonic() + 0.01 * i if i % 3 == 1 else None
        generation = engine.submit(replace(requests[i], id=str(i), deadline=deadline))
        tokens: list[int] = []
        finish = None
        async for step in generation:
            tokens += step.tokens
            finish = step.finish
            if i % 3 == 2 and len(tokens) > i % 11:
                generation.cancel()
        return tokens, finish

    async def all_of_them() -> list[tuple[list[int], Finish | None]]:
        return await asyncio.gather(*(one(i) for i in range(36)))

    answers = asyncio.run(all_of_them())
    stats = engine.stats()
    engine.close()
    for request, (tokens, finish) in zip(requests, answers, strict=True):
        whole = expected(decoder, request)
        assert tokens == whole[: len(tokens)]
        assert finish != "length" or tokens == whole
    assert {finish for _, finish in answers} == {"length", "cancelled", "deadline"}
    assert (stats.running, stats.waiting, stats.kv_bytes) == (0, 0, 0)
    assert stats.pages_free == stats.pages_total
    assert stats.preempted > 0


def test_a_defect_reaches_its_readers_and_the_engine_goes_on(engine: Engine, decoder: Decoder,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    request = greedy(prompt_of(30))

    async def ask() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(decoder, "embed", lambda ids: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await read(engine.submit(request))
        assert await read(engine.submit(request)) == (expected(decoder, request), "length")

    asyncio.run(ask())
    assert engine.stats().pages_free == engine.stats().pages_total

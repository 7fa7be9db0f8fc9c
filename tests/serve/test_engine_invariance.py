"""Batching, chunks, page layout, preemption and prefix cache change no bit of an answer."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest
from engine_models import CONTEXT, prompt_of, tiny_decoder
from hypothesis import given, settings
from hypothesis import strategies as st

from dokja.models import native as training_kernels
from dokja.models.decoder import Decoder
from dokja.models.families import FAMILIES
from dokja.serve import native
from dokja.serve.engine.core import Core, Embedding
from dokja.serve.engine.scheduler import Sequence, Work
from dokja.serve.engine.sizing import Limits
from dokja.serve.engine.speculate import Speculator
from dokja.serve.engine.types import Request, SamplingParams, Step, TokenLogprob
from dokja.serve.quantise import prepare
from dokja.serve.weights import Kind

Answer = tuple[list[int], list[TokenLogprob]]


def served(name: str, kind: Kind) -> Decoder:
    """A tiny decoder with the weights that serving reads."""
    return prepare(tiny_decoder(name), kind, narrow=0)


def random_requests(seed: int, count: int) -> list[Request]:
    """Some greedy, some drawn; some begin alike; every token's log-probability shows its bits."""
    draws = random.Random(seed)
    shared = prompt_of(70)
    requests = []
    for i in range(count):
        prompt = shared[: draws.randrange(70)] + prompt_of(draws.randrange(1, 25), draws.randrange(4))
        requests.append(Request(f"r{i}", prompt, SamplingParams(
            max_tokens=draws.randrange(1, 30), temperature=draws.choice([0.0, 1.0]), seed=draws.randrange(9),
            logprobs=2)))
    return requests


def run(core: Core, arrivals: Iterable[tuple[int, Request]]) -> dict[str, Answer]:
    """Answers by id; each request comes before the step of its number."""
    coming = sorted(arrivals, key=lambda one: one[0])
    answers: dict[str, Answer] = {}
    step = 0
    while coming or core.sequences:
        while coming and coming[0][0] <= step:
            request = coming.pop(0)[1]
            core.add(request)
            answers[request.id] = ([], [])
        take(core.step(), answers)
        step += 1
    return answers


def take(events: list[tuple[Sequence, object]], answers: dict[str, Answer]) -> None:
    for sequence, event in events:
        assert isinstance(event, Step)
        answers[sequence.request.id][0].extend(event.tokens)
        answers[sequence.request.id][1].extend(event.logprobs)


ROOMY = Limits(context=CONTEXT, tokens=2048, rows=8, budget=CONTEXT, prefix_cache=False)


def check(decoder: Decoder, count: int) -> None:
    """Alone in whole prompts without a prefix cache, against a crowd in small chunks, few pages, shared prefixes."""
    requests = random_requests(0, count)
    alone = {request.id: run(Core(decoder, ROOMY), [(0, request)])[request.id] for request in requests}
    tight = Core(decoder, Limits(context=CONTEXT, tokens=CONTEXT + 64, rows=5, budget=19))
    draws = random.Random(1)
    assert run(tight, [(draws.randrange(30), request) for request in requests]) == alone
    stats = tight.stats()
    assert stats.pages_free == stats.pages_total
    assert stats.cached_tokens > 0


@pytest.mark.parametrize(("name", "kind"), [*((name, "fp32") for name in [*FAMILIES, "indexed"]),
                                            ("k-exaone", "int8"), ("vaetki", "int8"), ("gemma-3", "int4")])
def test_an_answer_does_not_depend_on_what_shares_its_steps(name: str, kind: Kind) -> None:
    check(served(name, kind), 8)


@pytest.mark.parametrize("name", ["k-exaone", "ax-k2", "gpt-oss", "kogpt"])
def test_nor_does_it_without_kernels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", lambda: None)
    with training_kernels.off():
        check(served(name, "fp32"), 4)


@pytest.fixture(scope="module")
def hybrid() -> tuple[Decoder, dict[str, Request], dict[str, Answer]]:
    """A decoder with windows and global layers, requests, and their answers alone."""
    decoder, requests = served("k-exaone", "int8"), random_requests(3, 10)
    answers = {request.id: run(Core(decoder, ROOMY), [(0, request)])[request.id] for request in requests}
    return decoder, {request.id: request for request in requests}, answers


@settings(deadline=None, max_examples=12)
@given(data=st.data())
def test_whatever_comes_and_goes_answers_stay_the_same_and_no_page_leaks(
        hybrid: tuple[Decoder, dict[str, Request], dict[str, Answer]], data: st.DataObject) -> None:
    """Random arrivals and cancellations, small steps, hardly more pages than one request needs."""
    decoder, requests, alone = hybrid
    core = Core(decoder, Limits(context=CONTEXT, tokens=data.draw(st.integers(CONTEXT, 2 * CONTEXT)),
                                rows=data.draw(st.integers(1, 5)), budget=data.draw(st.integers(5, 40)),
                                prefix_cache=data.draw(st.booleans())))
    plan = st.lists(st.tuples(st.sampled_from(sorted(requests)), st.integers(0, 40), st.integers(1, 40)), max_size=8)
    coming = {f"{i}": (name, begin, begin + length) for i, (name, begin, length) in enumerate(data.draw(plan))}
    answers: dict[str, Answer] = {}
    running: dict[str, Sequence] = {}
    for step in range(10_000):
        for key, (name, begin, end) in coming.items():
            if begin == step:
                running[key] = core.add(replace(requests[name], id=key))
                answers[key] = ([], [])
            if end == step and running[key] in core.sequences and int(key) % 2:  # every other one is cancelled
                core.remove(running[key])
        take(core.step(), answers)
        held = core.pages
        assert all(0 <= pool.available <= pool.pages for pool in held.pools)
        if step > 40 and not core.sequences:
            break
    for key, (name, _, _) in coming.items():
        tokens, logprobs = answers[key]
        assert (tokens, logprobs) == (alone[name][0][: len(tokens)], alone[name][1][: len(tokens)])
        assert int(key) % 2 or len(tokens) == len(alone[name][0])
    assert core.pages.free == core.pages.total
    core.pages.clear()
    assert core.pages.free == core.pages.total
    assert core.pages.values == 0


def test_steps_are_a_function_of_the_arrivals(hybrid: tuple[Decoder, dict[str, Request], dict[str, Answer]]) -> None:
    decoder, requests, _ = hybrid

    def steps() -> list[list[tuple[int, int, int]]]:
        core = Core(decoder, Limits(context=CONTEXT, tokens=CONTEXT + 32, rows=4, budget=21))
        planned, plan = [], core.scheduler.plan

        def watched() -> list[Work]:
            planned.append(plan())
            return planned[-1]

        core.scheduler.plan = watched  # type: ignore[method-assign]
        run(core, [(i, request) for i, request in enumerate(requests.values())])
        assert core.stats().preempted > 0
        return [[(work.sequence.number, work.begin, work.size) for work in works] for works in planned]

    assert steps() == steps()


@pytest.mark.parametrize("name", ["k-exaone", "deepseek-v3", "gpt-oss"])
def test_nor_on_drafts(name: str) -> None:
    """With drafts by look-up and, where there is one, by the MTP layer, in a crowd with few pages."""
    decoder, requests = served(name, "fp32"), random_requests(5, 8)
    alone = {request.id: run(Core(decoder, ROOMY), [(0, request)])[request.id] for request in requests}
    limits = Limits(context=CONTEXT, tokens=CONTEXT + 64, rows=5, budget=19, mtp=bool(decoder.spec.mtp))
    tight = Core(decoder, limits, Speculator(decoder, mtp=limits.mtp, spare=100.0))
    assert run(tight, [(3 * i, request) for i, request in enumerate(requests)]) == alone
    stats = tight.stats()
    assert stats.pages_free == stats.pages_total
    assert stats.drafted > 0
    assert stats.preempted > 0


def test_nor_do_embeddings_and_scores_of_prompts() -> None:
    """Among other requests, in small chunks, preempted on the way."""
    decoder = served("k-exaone", "int8")
    prompts = [prompt_of(length) for length in (60, 100, 110)]

    def results(core: Core, embed: bool, prompt: tuple[int, ...]) -> object:
        request = Request("r", prompt, SamplingParams(max_tokens=0, prompt_logprobs=None if embed else 1))
        sequence = core.add(request, embed=embed)
        found: object = None
        while sequence in core.sequences:
            for ended, event in core.step():
                if ended is sequence:
                    found = event.values if isinstance(event, Embedding) else sequence.prompt_logprobs
        return found

    for embed in (True, False):
        for prompt in prompts:
            alone = results(Core(decoder, ROOMY), embed, prompt)
            crowd = Core(decoder, Limits(context=CONTEXT, tokens=CONTEXT, rows=4, budget=11))
            for i in range(3):
                crowd.add(Request(f"r{i}", prompt[: 20 + i], SamplingParams(max_tokens=60)))
            assert results(crowd, embed, prompt) == alone
            assert crowd.stats().preempted > 0

"""Speculative decoding changes how soon an answer comes, never what it is."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from engine_models import CONTEXT, finish_all, prompt_of, tiny_decoder
from torch import Tensor

from dokja.models.decoder import Decoder
from dokja.serve.engine.core import Core
from dokja.serve.engine.pace import PAUSE, Ledger, Odds, Pace, pays
from dokja.serve.engine.paged import Places
from dokja.serve.engine.pages import Pages
from dokja.serve.engine.runner import Runner
from dokja.serve.engine.scheduler import Work
from dokja.serve.engine.sizing import Limits
from dokja.serve.engine.speculate import Lookup, Speculator
from dokja.serve.engine.types import Request, SamplingParams

LIMITS = Limits(context=CONTEXT, tokens=900, rows=8, budget=32, mtp=True)


@pytest.fixture(scope="module")
def trained() -> Decoder:
    """A decoder whose MTP layer has learnt, as its trunk has, that token n + 3 follows token n (modulo 64)."""
    decoder = tiny_decoder("k-exaone")
    with torch.no_grad():
        decoder.head.weight.div_(8)
    optimiser = torch.optim.Adam(decoder.parameters(), 1e-2)
    for step in range(40):
        begin = torch.randint(64, (16, 1), generator=torch.Generator().manual_seed(step))
        text = (begin + 3 * torch.arange(17)) % 64
        main, further = decoder.losses(text[:, :-1], text[:, 1:])
        optimiser.zero_grad()
        (main + further[0]).backward()
        optimiser.step()
    assert main < 0.5
    return decoder.eval()


def requests(prompts: list[tuple[int, ...]], count: int, **sampling: object) -> list[Request]:
    return [Request(f"r{i}", prompt, SamplingParams(max_tokens=count, seed=i, **sampling))  # type: ignore[arg-type]
            for i, prompt in enumerate(prompts)]


def both(decoder: Decoder, asked: list[Request], **options: float) -> tuple[Core, Core]:
    """The same requests without and with speculation, which must give the same answers; the two engines after it."""
    plain = Core(decoder, LIMITS)
    drafting = Core(decoder, LIMITS, Speculator(decoder, mtp=True, **options))
    assert finish_all(plain, {0: list(asked)}) == finish_all(drafting, {0: list(asked)})
    assert drafting.pages.free == drafting.pages.total
    assert plain.stats().drafted == 0
    return plain, drafting


@pytest.mark.parametrize(("name", "sampling"), [
    ("k-exaone", {"temperature": 0.0}),
    ("k-exaone", {"temperature": 1.0}),
    ("vaetki", {"temperature": 1.0, "top_p": 0.9, "repetition_penalty": 0.8, "frequency_penalty": -0.5}),
])
def test_answers_are_the_same_token_for_token(name: str, sampling: dict[str, object]) -> None:
    prompts = [prompt_of(7) * 3, prompt_of(3) * 6, prompt_of(2), (5,) * 12]
    _, drafting = both(tiny_decoder(name), requests(prompts, 20, **sampling), spare=1000.0)
    assert drafting.stats().drafted > 0


def test_an_mtp_layer_that_knows_its_model_saves_steps(trained: Decoder) -> None:
    # No n-gram recurs within 60 tokens of the text that it has learnt, so all drafts are the layer's.
    prompts = [tuple((3 * i + begin) % 64 for i in range(20)) for begin in (0, 10)]
    plain, drafting = both(trained, requests(prompts, 40, temperature=0.0), spare=50.0)
    stats = drafting.stats()
    assert stats.accepted > 0.7 * stats.drafted > 0
    assert stats.steps < 0.6 * plain.stats().steps
    _, warm = both(trained, requests(prompts, 30, temperature=1.0), spare=50.0)
    assert warm.stats().drafted > 0


def test_above_temperature_one_the_layer_is_not_asked(trained: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    run = Runner.mtp

    def counted(self: Runner, depth: int, *more: object) -> Tensor:
        calls.append(depth)
        return run(self, depth, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Runner, "mtp", counted)
    prompts = [tuple((3 * i + begin) % 64 for i in range(20)) for begin in (0, 10)]
    both(trained, requests(prompts, 30, temperature=1.01), spare=50.0)
    assert calls == []
    both(trained, requests(prompts, 30, temperature=1.0), spare=50.0)
    assert calls != []


def test_drafts_leave_the_distribution_as_it_was() -> None:
    """Chi-square of three tokens against the decoder's own joint probabilities; a draft stands about every second
    time."""
    decoder, kinds, count = tiny_decoder("k-exaone", seed=3), 3, 600
    prompt = prompt_of(9)

    @cache
    def likeliest(tokens: tuple[int, ...]) -> tuple[list[int], list[float]]:
        with torch.inference_mode():
            best = decoder(torch.tensor([tokens]))[0, -1].double().div(8).topk(kinds)
        return best.indices.tolist(), best.values.softmax(0).tolist()

    class Likeliest:
        """Drafts what the model likes best."""

        def draft(self, works: list[Work], states_NC: Tensor, runner: Runner, pages: Pages) -> None:
            for work in works:
                tokens = tuple(work.sequence.tokens)
                if work.sequence.missing == 1:
                    first = likeliest(tokens)[0][0]
                    work.sequence.drafts = [first, likeliest((*tokens, first))[0][0]]

    expected: dict[tuple[int, ...], float] = {}
    for places in product(range(kinds), repeat=3):
        tokens, share = prompt, 1.0
        for place in places:
            ids, shares = likeliest(tokens)
            tokens, share = (*tokens, ids[place]), share * shares[place]
        expected[tokens[len(prompt):]] = share * count
    core = Core(decoder, Limits(context=CONTEXT, tokens=4000, rows=200, budget=2000), Likeliest())
    asked = [Request(f"r{i}", prompt, SamplingParams(max_tokens=3, seed=i, temperature=8.0, top_k=kinds))
             for i in range(count)]
    answers = finish_all(core, {0: asked})
    stats = core.stats()
    assert 0.2 * stats.drafted < stats.accepted < 0.9 * stats.drafted
    seen = Counter(map(tuple, answers.values()))
    assert set(seen) <= set(expected)
    statistic = sum((seen[key] - share) ** 2 / share for key, share in expected.items())
    freedom = len(expected) - 1
    assert freedom == 26
    assert statistic < 54.05  # the 0.999 quantile of chi-square with 26 degrees of freedom


def test_lookup_goes_on_as_the_text_did_before() -> None:
    lookup = Lookup()
    assert lookup.draft([1, 2, 3], 4) == []
    assert lookup.draft([1, 2, 3, 9, 8, 1, 2, 3], 2) == [9, 8]
    assert lookup.draft([1, 2, 3, 9, 8, 1, 2, 3, 7, 1, 2, 3], 2) == [7, 1]  # the last time counts
    assert Lookup().draft([5, 6, 5, 6, 5, 6], 5) == [5, 6, 5, 6, 5]
    assert Lookup().draft([7, 7, 7], 3) == [7, 7, 7]


def test_a_pace_grows_with_success_and_gives_up_what_never_stands() -> None:
    pace = Pace(spare=8.0)
    for _ in range(30):
        drafted = pace.length(1, 8)
        pace.note(drafted, drafted)
    assert pace.length(1, 8) == 8
    assert pace.length(64, 8) == 0
    assert not pays(64, pace.spare)
    made = []
    for _ in range(600):
        drafted = pace.length(1, 8)
        made.append(drafted)
        if drafted:
            pace.note(drafted, 0)
    assert sum(made[100:]) <= 5
    assert pace.pause >= 8 * PAUSE
    assert np.max(made[100:]) == 1
    for _ in range(pace.pause):  # a text that begins to repeat itself is noticed
        if pace.length(1, 8):
            pace.note(1, 1)
    for _ in range(12):
        drafted = max(1, pace.length(1, 8))
        pace.note(drafted, drafted)
    assert pace.length(1, 8) >= 2


def test_odds_begin_with_what_is_said_and_learn_what_comes_of_it() -> None:
    odds = Odds()
    assert odds.of(0.93) == pytest.approx(0.95)
    assert odds.of(1.0) == odds.of(0.93)
    for _ in range(300):
        odds.note(0.93, hit=False)
        odds.note(0.12, hit=True)
    assert odds.of(0.93) < 0.05
    assert odds.of(0.12) > 0.95
    assert odds.of(0.5) == pytest.approx(0.55)


def test_a_ledger_closes_for_ever_longer_and_what_is_lost_stays_small() -> None:
    ledger, tried = Ledger(), []
    for _ in range(6000):
        tried.append(ledger.open())
        if tried[-1]:
            ledger.note(-0.2)
    assert all(tried[:20])
    assert 0.2 * sum(tried) < 0.01 * len(tried)
    while not ledger.open():
        pass
    for _ in range(100):
        assert ledger.open()
        ledger.note(0.1)
    for _ in range(41):  # what was saved long ago does not pay for more
        ledger.note(-0.2)
    assert not ledger.open()


def test_an_mtp_layer_that_knows_nothing_is_left_alone() -> None:
    """Nor does it follow what is written, so that it could be asked again; answers go on as without it."""
    decoder = tiny_decoder("k-exaone")
    prompts = [prompt_of(length) for length in range(3, 23)]
    core = Core(decoder, LIMITS, Speculator(decoder, mtp=True))
    calls: list[int] = []
    run = core.runner.mtp

    def counted(depth: int, at: Places, state_NC: Tensor, next_N: Tensor) -> Tensor:
        calls.append(len(at.row_N))
        return run(depth, at, state_NC, next_N)

    core.runner.mtp = counted  # type: ignore[method-assign]
    answers = {}
    for prompt in prompts:
        answers |= finish_all(core, {0: requests([prompt], 100, temperature=1.0)})
        assert answers == finish_all(Core(decoder, LIMITS), {0: requests([prompt], 100, temperature=1.0)})
    assert 1 < len(calls) < 0.05 * core.stats().steps
    assert sum(calls) < 0.1 * core.stats().generated_tokens


def test_a_request_can_do_without() -> None:
    decoder = tiny_decoder("k-exaone")
    core = Core(decoder, LIMITS, Speculator(decoder, spare=1000.0))
    sampling = SamplingParams(max_tokens=20, temperature=0.0)
    finish_all(core, {0: [Request("r", prompt_of(5) * 6, sampling, speculate=False)]})
    assert core.stats().drafted == 0

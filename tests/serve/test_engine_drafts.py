"""Drafts change how many steps an answer takes, never what it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from engine_models import CONTEXT, expected, finish_all, greedy, prompt_of, tiny_decoder
from torch import Tensor

from dokja.models.decoder import Decoder
from dokja.serve.engine.core import Core
from dokja.serve.engine.paged import Places
from dokja.serve.engine.pages import Pages
from dokja.serve.engine.runner import Runner
from dokja.serve.engine.scheduler import Work
from dokja.serve.engine.sizing import Limits

LIMITS = Limits(context=CONTEXT, tokens=600, rows=4, budget=32)
PROMPTS = [prompt_of(length) for length in (20, 3, 50)]


class Oracle:
    """Knows the answers, and lies from the `right`-th guess on."""

    def __init__(self, decoder: Decoder, right: int) -> None:
        self.answers = {prompt: expected(decoder, greedy(prompt, 24)) for prompt in PROMPTS}
        self.right = right

    def draft(self, works: list[Work], states_NC: Tensor, runner: Runner, pages: Pages) -> None:
        for work in works:
            answer, begin = self.answers[work.sequence.request.prompt], work.sequence.answered
            if work.sequence.missing == 1:
                true = answer[begin : begin + 4]
                work.sequence.drafts = [token if i < self.right else (token + 1) % 256 for i, token in enumerate(true)]


@pytest.mark.parametrize("name", ["k-exaone", "gpt-oss", "indexed"])
def test_right_and_wrong_drafts_give_the_same_answers(name: str) -> None:
    decoder = tiny_decoder(name)
    steps = []
    for right in (0, 2, 4):
        core = Core(decoder, LIMITS, Oracle(decoder, right))
        answers = finish_all(core, {0: [greedy(prompt, 24) for prompt in PROMPTS]})
        assert answers == {f"r{len(prompt)}": expected(decoder, greedy(prompt, 24)) for prompt in PROMPTS}
        assert core.pages.free == core.pages.total
        stats = core.stats()
        assert (stats.accepted == 0) is (right == 0)
        assert (stats.accepted == stats.drafted) is (right == 4)
        steps.append(stats.steps)
    assert steps == sorted(steps, reverse=True)
    assert steps[0] > 2 * steps[2]


@torch.inference_mode()
def test_an_mtp_layer_over_pages_gives_the_states_of_the_whole_sequence() -> None:
    decoder = tiny_decoder("k-exaone")
    tokens = torch.tensor(prompt_of(60))
    states = decoder.norm(decoder.hidden(tokens[None]))
    whole = decoder.mtp[0](states[:, :-1], decoder.embed(tokens[None, 1:]))[0]
    core = Core(decoder, replace(LIMITS, mtp=True))
    core.pages.reserve(2, 60)
    parts = []
    for begin, end in [(0, 10), (10, 11), (11, 40), (40, 59)]:
        at = Places.of([2] * (end - begin), list(range(begin, end)))
        parts.append(core.runner.mtp(0, at, states[0, begin:end], tokens[begin + 1 : end + 1]))
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-4)

"""The engine as a sampler: its answers are the model's, its log-probabilities too, and it is a function of its seed."""

from __future__ import annotations

import pytest
import torch

from dokja.models.decoder import Decoder
from dokja.models.families import family
from dokja.models.init import initialise
from dokja.models.scaling import scaled
from dokja.serve.rollout import EngineSampler

PROMPTS = [[1, 2, 3, 4, 5]] * 6 + [[7, 8]] * 6


def model_of(name: str) -> Decoder:
    model = Decoder(scaled(family(name).spec, 100_000, context=64, vocab=128))
    initialise(model, 3)
    return model.train()


@pytest.mark.parametrize("name", ["k-exaone", "solar-open", "ax-k1"])
def test_log_probabilities_are_the_trainers(name: str) -> None:
    model = model_of(name)
    answers = EngineSampler(rows=4).sample(model, PROMPTS, max_tokens=12, seed=5, stop=(0,))
    assert model.training
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        assert len(answer.ids) == len(answer.logprobs)
        assert answer.ended or len(answer.ids) == 12
        whole = torch.tensor([[*prompt, *answer.ids]])
        logp = model.eval()(whole[:, :-1])[0].log_softmax(-1)[len(prompt) - 1 :]
        own = logp.gather(-1, torch.tensor(answer.ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(answer.logprobs), own, rtol=1e-3, atol=1e-4)


def test_answers_differ_by_row_and_are_the_same_for_a_seed() -> None:
    model = model_of("solar-open")
    first, again, other = (EngineSampler(rows).sample(model, PROMPTS, max_tokens=12, seed=seed, stop=(0,))
                           for rows, seed in ((4, 5), (12, 5), (4, 6)))
    assert [one.ids for one in first] == [one.ids for one in again]
    assert [one.ids for one in first] != [one.ids for one in other]
    assert len({tuple(one.ids) for one in first[:6]}) > 3


def test_weights_that_changed_are_sampled_from() -> None:
    model, sampler = model_of("solar-open"), EngineSampler()
    before = sampler.sample(model, PROMPTS, max_tokens=8, seed=5, stop=())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    after = sampler.sample(model, PROMPTS, max_tokens=8, seed=5, stop=())
    assert [one.ids for one in before] != [one.ids for one in after]
    assert all(parameter.requires_grad for parameter in model.parameters())

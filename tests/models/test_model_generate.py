"""Text is a function of model, prompt, sampling and seed; batching is a matter of speed alone."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pocket import NAMES, VOCAB, pocket_model, random_ids

from dokja.models.decoder import Decoder
from dokja.models.generate import Sampling, _choose, generate, stream

PROMPTS = [random_ids(length, 1, length)[0].tolist() for length in (3, 19, 1, 12)]


def by_whole_sequences(model: Decoder, prompt: list[int], count: int) -> list[int]:
    """Greedy text without any cache."""
    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(count):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_writes_what_each_prompt_would_alone(name: str) -> None:
    model = pocket_model(name)
    sampling = Sampling(max_tokens=14)
    together = generate(model, PROMPTS, sampling)
    assert together == [generate(model, [prompt], sampling)[0] for prompt in PROMPTS]
    assert together == [by_whole_sequences(model, prompt, 14) for prompt in PROMPTS]


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_is_the_same_text(name: str) -> None:
    model = pocket_model(name)
    for sampling in (Sampling(max_tokens=12), Sampling(max_tokens=12, temperature=1.0, top_p=0.9, top_k=50, seed=7)):
        assert list(stream(model, PROMPTS[1], sampling)) == generate(model, [PROMPTS[1]], sampling)[0]


def test_rows_end_at_their_stop_tokens_and_the_others_go_on() -> None:
    model = pocket_model("k-exaone")
    full = generate(model, PROMPTS, Sampling(max_tokens=14))
    stop = (full[0][2], full[1][5])
    expected = []
    for text in full:
        end = next((at for at, token in enumerate(text) if token in stop), len(text))
        expected.append(text[:end])
    assert len({len(text) for text in expected}) > 1
    assert generate(model, PROMPTS, Sampling(max_tokens=14, stop=stop)) == expected
    assert [list(stream(model, prompt, Sampling(max_tokens=14, stop=stop))) for prompt in PROMPTS] == expected


def test_the_same_seed_writes_the_same_text() -> None:
    model = pocket_model("vaetki")
    texts = [generate(model, PROMPTS, Sampling(max_tokens=10, temperature=1.0, seed=seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_no_prompt_and_empty_prompts_are_refused() -> None:
    model = pocket_model("solar-open")
    for prompts in ([], [[1, 2], []]):
        with pytest.raises(ValueError, match="at least one token"):
            generate(model, prompts, Sampling())


def test_asking_for_no_tokens_gives_none() -> None:
    model = pocket_model("solar-open")
    assert generate(model, [[1, 2]], Sampling(max_tokens=0)) == [[]]
    assert list(stream(model, [1, 2], Sampling(max_tokens=0))) == []


def drawn(logits: list[float], sampling: Sampling, times: int = 400) -> Counter[int]:
    """How often each token is chosen."""
    draws = torch.Generator().manual_seed(0)
    rows = torch.tensor([logits]).expand(times, -1)
    return Counter(_choose(rows, sampling, draws).tolist())


def test_top_k_keeps_the_k_likeliest() -> None:
    assert set(drawn([0.0, 3.0, 1.0, 2.9, -1.0], Sampling(temperature=1.0, top_k=2))) == {1, 3}
    assert set(drawn([0.0, 3.0], Sampling(temperature=1.0, top_k=99))) == {0, 1}


def test_top_p_keeps_the_smallest_set_with_that_much_probability() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().tolist()
    for top_p, kept in [(0.01, 1), (0.49, 1), (0.51, 2), (0.79, 2), (0.9, 3), (1.0, 4)]:
        assert set(drawn(logits, Sampling(temperature=1.0, top_p=top_p))) == set(range(kept))


def test_temperature_sharpens_and_zero_is_greedy() -> None:
    logits = [0.0, 1.0, 0.5]
    assert set(drawn(logits, Sampling(temperature=0.0))) == {1}
    assert drawn(logits, Sampling(temperature=0.2))[1] > drawn(logits, Sampling(temperature=2.0))[1]


def test_drawn_shares_are_the_probabilities() -> None:
    shares = drawn(torch.tensor([0.7, 0.2, 0.1]).log().tolist(), Sampling(temperature=1.0), times=20_000)
    assert [shares[token] / 20_000 for token in range(3)] == pytest.approx([0.7, 0.2, 0.1], abs=0.02)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-20, 20), min_size=2, max_size=12), st.floats(0.05, 3), st.floats(0.01, 1),
       st.integers(0, 12), st.integers(0, 9))
def test_a_choice_is_always_allowed(logits: list[float], temperature: float, top_p: float, top_k: int,
                                    seed: int) -> None:
    """Whatever the dials say, a token comes out, one of the k likeliest (ties included) and in the nucleus."""
    sampling = Sampling(temperature=temperature, top_p=top_p, top_k=top_k)
    row = torch.tensor([logits])
    token = int(_choose(row, sampling, torch.Generator().manual_seed(seed))[0])
    scores = row[0].tolist()
    if top_k:
        assert sum(score > scores[token] for score in scores) < top_k
    likelier = [float(p) for p in (row[0] / temperature).softmax(0) if p > (row[0] / temperature).softmax(0)[token]]
    assert top_k or sum(likelier) < top_p + 1e-5


def test_tokens_stay_inside_the_vocabulary() -> None:
    text = generate(pocket_model("ax-k1"), [[0], [VOCAB - 1]], Sampling(max_tokens=20, temperature=2.0))
    assert all(0 <= token < VOCAB for row in text for token in row)

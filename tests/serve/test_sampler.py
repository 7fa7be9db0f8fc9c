"""The sampler against a slow plain reference in float64, and its draws against the distribution that they claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dokja.serve import native
from dokja.serve.engine.sampler import Counts, Logits, Row, logprobs, mass_heat, sample, uniform
from dokja.serve.engine.types import SamplingParams


@pytest.fixture(params=["kernel", "plain"], autouse=True, scope="module")
def _scan(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test with the kernel and with its PyTorch path."""
    if request.param == "kernel" and native.library() is None:
        pytest.skip("no C++ compiler, or DOKJA_NATIVE=0")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "plain":
            patch.setattr(native, "library", lambda: None)
        yield


def bits(allowed: np.ndarray) -> np.ndarray:
    return np.packbits(allowed, bitorder="little")


def reference(logits: np.ndarray, row: Row, allowed: np.ndarray | None = None,
              seen: tuple[list[int], list[int]] = ([], [])) -> np.ndarray:
    """Probability of every token, by sorting everything in float64. seen: prompt and answer."""
    its, x = row.sampling, logits.astype(np.float64)
    for token, bias in its.logit_bias.items():
        x[token] += bias
    if row.counts is not None:
        prompt, said = seen
        answer = Counter((*said, *row.drafted))
        for token in {*prompt, *answer}:
            x[token] = x[token] / its.repetition_penalty if x[token] > 0 else x[token] * its.repetition_penalty
        for token, times in answer.items():
            x[token] -= its.presence_penalty + its.frequency_penalty * times
    if row.draw < its.min_tokens:
        x[list(its.stop)] = -np.inf
    if allowed is not None:
        x[~allowed] = -np.inf
    if its.temperature <= 0:
        return np.eye(len(x))[int(x.argmax())]
    order = np.argsort(-x, kind="stable")
    p = np.exp((x[order] - x.max()) / its.temperature)
    if its.top_k:
        p[its.top_k:] = 0
    p /= p.sum()
    if its.top_p < 1:
        outside = np.cumsum(p) - p >= its.top_p
        outside[0] = False
        p[outside] = 0
    p[p < its.min_p * p[0]] = 0
    out = np.zeros(len(x))
    out[order] = p / p.sum()
    return out


def told(logits_NV: torch.Tensor, rows: list[Row]) -> Logits:
    """Logits with all that a head tells of them."""
    count, vocab = logits_NV.shape
    blocks = F.pad(logits_NV, (0, -vocab % 256), value=-torch.inf).view(count, -1, 256)
    peaks = blocks.amax(2)
    heats = torch.tensor([mass_heat(row, vocab) for row in rows], dtype=torch.float64)
    mass = ((blocks - peaks[..., None]) / heats[:, None, None]).exp().sum(2)
    return Logits(logits_NV, peaks, logits_NV.argmax(1).tolist(), mass.float())


params = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 1e-5, 0.3, 1.0, 1.5]),
    top_k=st.sampled_from([0, 1, 3, 40, 5000]),
    top_p=st.sampled_from([1e-9, 0.2, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.05, 1.0]),
    repetition_penalty=st.sampled_from([1.0, 1.3, 0.7]),
    presence_penalty=st.sampled_from([0.0, 0.6]),
    frequency_penalty=st.sampled_from([0.0, -0.4]),
    logit_bias=st.sampled_from([{}, {3: 100.0}, {0: -100.0, 5: 2.5}]),
    min_tokens=st.sampled_from([0, 9]),
    stop=st.just((1, 2)),
    seed=st.integers(0, 2**63),
)


@settings(max_examples=200, deadline=None)
@given(its=params, vocab=st.sampled_from([7, 256, 300, 9000]), scale=st.sampled_from([0.5, 4.0]),
       seed=st.integers(0, 10**6), draw=st.integers(0, 20), masked=st.booleans(), known=st.booleans())
def test_a_choice_is_the_inverse_of_the_reference_distribution(its: SamplingParams, vocab: int, scale: float,
                                                               seed: int, draw: int, masked: bool,
                                                               known: bool) -> None:
    generator = np.random.default_rng(seed)
    logits = (generator.normal(size=vocab) * scale).astype(np.float32)
    allowed = generator.random(vocab) < 0.5 if masked else None
    if allowed is not None:
        allowed[6] = True
    prompt, answer = generator.integers(0, vocab, 10).tolist(), generator.integers(0, vocab, 90).tolist()
    counts = Counts(prompt)
    for said in answer:
        counts.add(said)
    row = Row(its, draw, counts, tuple(generator.integers(0, vocab, 3).tolist()),
              None if allowed is None else bits(allowed))
    p = reference(logits, row, allowed, (prompt, answer))
    x_NV = torch.from_numpy(logits)[None]
    token = sample(told(x_NV, [row]) if known else Logits(x_NV), [row])[0].token
    above = np.cumsum(p)
    at = uniform(its.seed, draw) if its.temperature > 0 else 0.5 * (above[token] + above[token] - p[token])
    assert p[token] > 0
    assert above[token] - p[token] - 1e-5 <= at <= above[token] + 1e-5


def test_other_rows_change_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(33, 5003, generator=generator) * 3
    rows = []
    for i in range(33):
        rows.append(Row(SamplingParams(temperature=[0.0, 0.7, 1.0][i % 3], top_p=[1.0, 0.9][i % 2], seed=i,
                                       top_k=[0, 50][i // 2 % 2], logprobs=5), draw=i))
    together = sample(Logits(logits), rows)
    assert together == [sample(Logits(logits[i : i + 1].clone()), rows[i : i + 1])[0] for i in range(33)]
    assert together[::-1] == sample(Logits(logits.flip(0)), rows[::-1])
    assert together == sample(told(logits, rows)._replace(mass=None), rows)
    assert together == sample(told(logits, rows), rows)


@pytest.mark.parametrize("its", [
    SamplingParams(temperature=0.8, seed=11),
    SamplingParams(temperature=1.3, top_p=0.8, seed=12),
    SamplingParams(temperature=1.0, top_k=9, min_p=0.05, seed=13),
], ids=["plain", "top_p", "top_k, min_p"])
def test_draws_follow_the_distribution(its: SamplingParams) -> None:
    """Chi-square over 8,000 draws; the seed is fixed, so the test is too."""
    logits = torch.randn(1, 700, generator=torch.Generator().manual_seed(5)) * 2
    count = 8_000
    drawn = sample(Logits(logits.expand(count, -1)), [Row(its, n) for n in range(count)])
    expected = reference(logits[0].numpy(), Row(its)) * count
    seen = np.bincount([choice.token for choice in drawn], minlength=700)
    assert not seen[expected == 0].any()
    big = expected >= 10
    observed = np.append(seen[big], seen[~big].sum())
    expected = np.append(expected[big], expected[~big].sum())
    observed, expected = observed[expected > 0], expected[expected > 0]
    freedom = len(expected) - 1
    statistic = float(((observed - expected) ** 2 / expected).sum())
    assert statistic < freedom + 3.1 * np.sqrt(2 * freedom) + 5  # above the 0.999 quantile (Wilson & Hilferty 1931)


def test_draws_are_uniform_and_a_function_of_seed_and_place() -> None:
    draws = np.array([[uniform(seed, n) for n in range(100)] for seed in range(100)])
    assert abs(draws.mean() - 0.5) < 0.01
    assert len(np.unique(draws)) == draws.size
    assert uniform(7, 3) == draws[7, 3]
    assert 0 <= uniform(-1, 0) < 1


def test_a_wide_flat_vocabulary() -> None:
    """No filter may lose tokens when thousands share the mass."""
    logits = torch.zeros(1, 262_144)
    its = SamplingParams(top_p=0.9, seed=3)
    tokens = [sample(Logits(logits), [Row(its, n)])[0].token for n in range(20)]
    assert tokens == [int(uniform(3, n) * round(0.9 * 262_144)) for n in range(20)]
    plain = [sample(Logits(logits), [Row(SamplingParams(seed=3), n)])[0].token for n in range(20)]
    assert plain == [int(uniform(3, n) * 262_144) for n in range(20)]


def test_the_only_allowed_token_is_chosen() -> None:
    allowed = np.zeros(999, bool)
    allowed[998] = True
    logits = torch.randn(1, 999)
    for its in (SamplingParams(temperature=0.0), SamplingParams(), SamplingParams(top_p=0.1), SamplingParams(top_k=5),
                SamplingParams(logit_bias={998: -100.0}, min_p=0.5), SamplingParams(temperature=1e-40)):
        assert sample(Logits(logits), [Row(its, mask=bits(allowed))])[0].token == 998


def test_logprobs_are_the_models_own() -> None:
    logits = torch.randn(4, 700)
    its = SamplingParams(temperature=0.0, logit_bias={17: 100.0}, logprobs=3)
    want = logits.double().log_softmax(-1)
    for choice, own in zip(sample(Logits(logits), [Row(its)] * 4), want, strict=True):
        assert choice.token == 17
        assert choice.logprob is not None
        assert choice.logprob.logprob == pytest.approx(float(own[17]), abs=1e-5)
        best = own.topk(3)
        assert [token for token, _ in choice.logprob.top] == best.indices.tolist()
        assert [value for _, value in choice.logprob.top] == pytest.approx(best.values.tolist(), abs=1e-5)
    given = logprobs(logits, [1, 2, 3, 4], 0)
    assert [entry.logprob for entry in given] == pytest.approx([float(want[i, i + 1]) for i in range(4)], abs=1e-5)
    assert given[0].top == ()
    assert len(logprobs(logits, [0] * 4, 700)[0].top) == 700

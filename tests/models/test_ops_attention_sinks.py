"""Operations that only some families use, against their formulas written out: sinks, activations, biases of experts,
partial rotation, scaled frequencies."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dokja.models import ops
from dokja.models.rope import inverse_frequencies, rotate, rotation_scale
from dokja.models.spec import Activation, Linear, Llama3, Rope, Yarn


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def attention_with_sinks(q: Tensor, k: Tensor, v: Tensor, window: int | None, scale: float, sinks: Tensor) -> Tensor:
    """Every weight by hand: exp(score) over the sum of the visible scores' and the sink's exponentials."""
    batch, length, heads, _ = q.shape
    out = torch.zeros(batch, length, heads, v.shape[-1], dtype=torch.float64)
    q, k, v, sinks = q.double(), k.double(), v.double(), sinks.double()
    group = heads // k.shape[2]
    for b in range(batch):
        for t in range(length):
            for h in range(heads):
                seen = range(0 if window is None else max(0, t - window + 1), t + 1)
                scores = [(q[b, t, h] @ k[b, s, h // group]).item() * scale for s in seen]
                total = sum(math.exp(score) for score in scores) + math.exp(sinks[h].item())
                for s, score in zip(seen, scores, strict=True):
                    out[b, t, h] += math.exp(score) / total * v[b, s, h // group]
    return out


@pytest.mark.parametrize("window", [None, 3, 4, 50])
@pytest.mark.parametrize("kv_heads", [1, 4])
def test_a_sink_takes_part_in_the_softmax_and_adds_nothing(window: int | None, kv_heads: int) -> None:
    q, k, v, sinks = draw(2, 11, 4, 8), draw(2, 11, kv_heads, 8, seed=1), draw(2, 11, kv_heads, 8, seed=2), draw(4)
    expected = attention_with_sinks(q, k, v, window, 0.3, 2 * sinks)
    found = ops.attention(q, k, v, window=window, scale=0.3, sinks_H=2 * sinks)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    position = torch.arange(11).expand(2, 11)
    cached = ops.attention_cached(q[:, 6:], k, v, position[:, 6:], window=window, scale=0.3, sinks_H=2 * sinks)
    torch.testing.assert_close(cached.double(), expected[:, 6:], rtol=1e-5, atol=1e-6)


def test_the_sinks_gradient_is_that_of_the_formula() -> None:
    """d out / d sink of head h is -weight of the sink times out: by finite differences, in both paths."""
    q, k, v, sinks = draw(1, 7, 2, 8), draw(1, 7, 1, 8, seed=1), draw(1, 7, 1, 8, seed=2), draw(2)
    weight = draw(1, 7, 2, 8, seed=3)
    for window in (None, 3):
        learnt = sinks.clone().requires_grad_()
        (ops.attention(q, k, v, window=window, scale=0.3, sinks_H=learnt) * weight).sum().backward()
        assert learnt.grad is not None
        for h in range(2):
            step = torch.zeros(2)
            step[h] = 1e-3
            ahead, behind = ((attention_with_sinks(q, k, v, window, 0.3, at) * weight).sum()
                             for at in (sinks + step, sinks - step))
            assert learnt.grad[h].item() == pytest.approx(((ahead - behind) / 2e-3).item(), rel=1e-3, abs=1e-4)


def activated(gate: float, up: float, activation: Activation) -> float:
    if activation == "silu":
        return gate / (1 + math.exp(-gate)) * up
    if activation == "gelu_tanh":
        return 0.5 * gate * (1 + math.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3))) * up
    gate, up = min(gate, 7.0), min(max(up, -7.0), 7.0)
    return gate / (1 + math.exp(-1.702 * gate)) * (up + 1)


@pytest.mark.parametrize("activation", ["silu", "gelu_tanh", "clamped_silu"])
def test_activations(activation: Activation) -> None:
    values = [-30.0, -7.5, -2.0, -0.1, 0.0, 0.4, 3.0, 6.9, 7.1, 40.0]
    gate, up = (grid.flatten() for grid in torch.meshgrid(torch.tensor(values), torch.tensor(values), indexing="ij"))
    found = ops.activate(torch.cat((gate, up))[None], activation)[0]
    expected = [activated(g, u, activation) for g in values for u in values]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ["silu", "clamped_silu"])
def test_experts_with_biases(activation: Activation) -> None:
    """Token by token, expert by expert."""
    gate_up, down = draw(5, 16, 24), draw(5, 12, 16, seed=1)
    gate_up_bias, down_bias, x = draw(5, 24, seed=2), draw(5, 16, seed=3), draw(9, 16, seed=4)
    expert = torch.stack([torch.randperm(5, generator=torch.Generator().manual_seed(i))[:2] for i in range(9)])
    weight = draw(9, 2, seed=5).softmax(-1)
    found = ops.experts(x, gate_up, down, expert, weight, expert.flatten().bincount(minlength=5), activation=activation,
                        gate_up_bias_EF=gate_up_bias, down_bias_EC=down_bias)
    expected = torch.zeros(9, 16)
    for n in range(9):
        for e, share in zip(expert[n].tolist(), weight[n], strict=True):
            both = x[n] @ gate_up[e] + gate_up_bias[e]
            hidden = torch.tensor([activated(both[i].item(), both[12 + i].item(), activation) for i in range(12)])
            expected[n] += share * (hidden @ down[e] + down_bias[e])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_partial_rotation_leaves_the_other_dimensions() -> None:
    """GPT-J: pairs (2i, 2i + 1) of the first dimensions turn by position x theta^(-2i / dims); scores are compared."""
    q, k, dims, theta = draw(1, 6, 1, 12), draw(1, 6, 1, 12, seed=1), 8, 100.0
    rope = Rope(theta, "interleaved", dims=dims)

    def turned(x: Tensor) -> Tensor:
        out = x.clone()
        for t in range(6):
            for i in range(dims // 2):
                angle = t * theta ** (-2 * i / dims)
                a, b = x[0, t, 0, 2 * i].item(), x[0, t, 0, 2 * i + 1].item()
                out[0, t, 0, 2 * i] = a * math.cos(angle) - b * math.sin(angle)
                out[0, t, 0, 2 * i + 1] = b * math.cos(angle) + a * math.sin(angle)
        return out

    ours, by_hand = ([f(x)[0, :, 0] for x in (q, k)] for f in (lambda x: rotate(x, rope, None, 6), turned))
    torch.testing.assert_close(ours[0] @ ours[1].T, by_hand[0] @ by_hand[1].T, rtol=1e-5, atol=1e-5)
    assert torch.equal(ours[0][:, dims:], q[0, :, 0, dims:])


def test_linear_scaling_divides_every_frequency() -> None:
    plain = inverse_frequencies(Rope(10_000.0), 16)
    torch.testing.assert_close(inverse_frequencies(Rope(10_000.0, scaling=Linear(8.0)), 16), plain / 8)


def test_llama_3_scaling_by_wavelength() -> None:
    """Llama 3.1's rule, a wave at a time."""
    theta, factor, original, low, high = 10_000.0, 8.0, 64, 1.0, 4.0
    expected, kinds = [], set()
    for i in range(16):
        frequency = theta ** (-2 * i / 32)
        wave = 2 * math.pi / frequency
        if wave > original / low:
            expected.append(frequency / factor)
            kinds.add("stretched")
        elif wave < original / high:
            expected.append(frequency)
            kinds.add("kept")
        else:
            smooth = (original / wave - low) / (high - low)
            expected.append((1 - smooth) * frequency / factor + smooth * frequency)
            kinds.add("between")
    found = inverse_frequencies(Rope(theta, scaling=Llama3(factor, original, low, high)), 32)
    torch.testing.assert_close(found, torch.tensor(expected))
    assert kinds == {"stretched", "kept", "between"}


@pytest.mark.parametrize("truncate", [True, False])
def test_yarn_with_and_without_whole_dimensions(truncate: bool) -> None:
    """YaRN, section 3.2: at gpt-oss's numbers the ramp runs from dimension 8.09 to 17.40, or from 8 to 18."""
    theta, factor, original, dim = 150_000.0, 32.0, 4096, 64
    low, high = (dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta)) for turns in (32.0, 1.0))
    assert (round(low, 2), round(high, 2)) == (8.09, 17.40)
    if truncate:
        low, high = 8.0, 18.0
    expected = []
    for i in range(dim // 2):
        stretched = min(max((i - low) / (high - low), 0.0), 1.0)
        frequency = theta ** (-2 * i / dim)
        expected.append(frequency / factor * stretched + frequency * (1 - stretched))
    rope = Rope(theta, scaling=Yarn(factor, original, truncate=truncate))
    torch.testing.assert_close(inverse_frequencies(rope, dim), torch.tensor(expected), rtol=1e-5, atol=0)
    assert rotation_scale(rope) == pytest.approx(0.1 * math.log(32) + 1)

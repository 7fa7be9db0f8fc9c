"""Packed weights: against float64, against the PyTorch path, and one row at a time against all at once, bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from engine_models import prompt_of, tiny_decoder, tiny_spec
from torch import Tensor

from dokja.models import ops
from dokja.models.decoder import Decoder
from dokja.models.families import FAMILIES
from dokja.models.spec import Activation
from dokja.serve import native
from dokja.serve.quantise import held_bytes, prepare
from dokja.serve.weights import ACTIVATIONS, KINDS, Experts, Kind, Weights, dequantise, experts, gated_mlp, quantise

SHAPES = [(48, 64), (50, 72), (33, 130), (1, 1), (257, 640)]
COUNTS = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 40, 130)

needs_kernels = pytest.mark.skipif(native.library() is None, reason="no C++ compiler")


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def meant(weight: Tensor, kind: Kind) -> Tensor:
    """The matrix that a kind stands for, in float64."""
    return weight.double() if kind == "fp32" else dequantise(*quantise(weight, kind)).double()


def error(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", lambda: None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("biased", [False, True])
def test_a_linear_layer_is_the_matrix_times_each_row(kind: Kind, shape: tuple[int, int], biased: bool) -> None:
    torch.manual_seed(0)
    weight, bias, x = torch.randn(shape), torch.randn(shape[0]) if biased else None, torch.randn(133, shape[1])
    x[3, 0] = 80.0  # an outlier, as trained models have
    weights = Weights(weight, bias, kind)
    exact = x.double() @ meant(weight, kind).T + (0 if bias is None else bias)
    out = weights.linear(x)
    assert error(out, exact) < (2e-6 if kind == "fp32" else 2e-4)
    assert weights.linear(x[:0]).shape == (0, shape[0])
    for count in COUNTS:
        rows = torch.randperm(len(x))[:count]
        assert torch.equal(weights.linear(x[rows]), out[rows]), count
    with threads(2):
        assert torch.equal(weights.linear(x), out)
    ids = torch.randint(shape[0], (3, 2))
    assert torch.allclose(weights.embed(ids, 2.0), 2 * meant(weight, kind).float()[ids], rtol=1e-6, atol=1e-7)


@needs_kernels
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outputs", [1, 250, 256, 1000, 2048])
def test_a_head_gives_the_same_logits_and_the_largest_of_each_block(kind: Kind, outputs: int) -> None:
    torch.manual_seed(0)
    weights = Weights(torch.randn(outputs, 130), torch.randn(outputs), kind)
    for count in (1, 3, 16, 130):
        x, out = torch.randn(count, 130), torch.empty(count, outputs)
        sharpness = torch.linspace(0, 2, count)
        peaks, best, mass = weights.linear_peaks(x, out, sharpness)
        assert torch.equal(out, weights.linear(x))
        assert torch.equal(peaks, torch.stack([block.amax(1) for block in out.split(256, dim=1)], 1))
        assert torch.equal(best, out.argmax(1))
        blocks = F.pad(out, (0, -outputs % 256), value=-torch.inf).view(count, -1, 256)
        want = ((blocks - peaks[..., None]) * sharpness[:, None, None]).exp().sum(-1)
        assert mass is not None
        assert torch.allclose(mass[1:], want[1:], rtol=1e-5)


@needs_kernels
@pytest.mark.parametrize("kind", KINDS)
def test_pytorch_gives_the_same_within_rounding_and_keeps_rows_apart(kind: Kind,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    weight, bias, x = torch.randn(50, 72), torch.randn(50), torch.randn(9, 72)
    packed = Weights(weight, bias, kind)
    out, rows = packed.linear(x), packed.embed(torch.arange(5))
    without_kernels(monkeypatch)
    plain = Weights(weight, bias, kind)
    assert plain.packed is None
    if kind != "fp32":
        rounded = quantise(weight, kind)
        monkeypatch.undo()
        assert all(a is b or a.equal(b) for a, b in zip(quantise(weight, kind), rounded, strict=True))
        without_kernels(monkeypatch)
    assert error(plain.linear(x), out.double()) < 2e-4
    assert torch.equal(plain.linear(x)[2:5], plain.linear(x[2:5]))
    assert torch.allclose(plain.embed(torch.arange(5)), rows, rtol=1e-6, atol=1e-7)


def test_zeros_and_what_is_not_a_number() -> None:
    weight = torch.randn(20, 70)
    weight[3] = 0.0
    for kind in KINDS:
        weights = Weights(weight, None, kind)
        assert torch.equal(weights.linear(torch.zeros(2, 70)), torch.zeros(2, 20))
        assert torch.equal(weights.linear(torch.randn(2, 70))[:, 3], torch.zeros(2))
        bad = torch.full((2, 70), float("inf"))
        bad[1] = 1.0
        assert torch.equal(weights.linear(bad)[1], weights.linear(bad[1:])[0])


def test_an_id_outside_is_refused() -> None:
    weights = Weights(torch.randn(20, 70), None, "int8")
    for wrong in (20, -1):
        with pytest.raises((ValueError, IndexError)):
            weights.embed(torch.tensor([0, wrong]))


def test_a_weight_is_at_most_half_a_step_from_its_integer() -> None:
    weight = torch.randn(30, 128)
    grouped = weight.unflatten(1, (2, 64))
    wrong = (dequantise(*quantise(weight, "int8")) - weight).abs().unflatten(1, (2, 64)).amax(-1)
    assert (wrong <= grouped.abs().amax(-1) / 127 * 0.51 + 1e-7).all()
    # Fifteen steps over the range of 32 normal numbers, fitted: their error is 7 % of them.
    assert error(dequantise(*quantise(weight, "int4")), weight.double()) < 0.08


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_gated_mlp_is_one_call(activation: Activation, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    up, down, bias, x = torch.randn(2 * 50, 72), torch.randn(72, 50), torch.randn(100), 0.3 * torch.randn(140, 72)
    sides = Weights(up, bias, kind), Weights(down, None, kind)
    exact = ops.activate(x.double() @ meant(up, kind).T + bias, activation) @ meant(down, kind).T
    out = gated_mlp(*sides, activation, x)
    assert error(out, exact) < (2e-6 if kind == "fp32" else 3e-4)
    for count in COUNTS:
        rows = torch.randperm(len(x))[:count]
        assert torch.equal(gated_mlp(*sides, activation, x[rows]), out[rows]), count
    with threads(2):
        assert torch.equal(gated_mlp(*sides, activation, x), out)
    without_kernels(monkeypatch)
    plain = Weights(up, bias, kind), Weights(down, None, kind)
    assert error(gated_mlp(*plain, activation, x), out.double()) < 3e-4


@pytest.mark.parametrize("kind", KINDS)
def test_experts_sum_what_each_row_chose(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    up, down, x = torch.randn(6, 2 * 24, 40), torch.randn(6, 40, 24), 0.3 * torch.randn(19, 40)
    chosen, share, further = torch.rand(19, 6).topk(3).indices, torch.rand(19, 3), torch.randn(19, 40)
    make = lambda: (Experts(Weights(w, None, kind) for w in up), Experts(Weights(w, None, kind) for w in down))
    out = experts(*make(), "silu", x, chosen, share, further)
    exact = further.double()
    for n in range(19):
        for e, s in zip(chosen[n].tolist(), share[n].double(), strict=True):
            hidden = ops.activate(x[n].double() @ meant(up[e], kind).T, "silu")
            exact[n] += s * (hidden @ meant(down[e], kind).T)
    assert error(out, exact) < (2e-6 if kind == "fp32" else 3e-4)
    for rows in (torch.tensor([4]), torch.tensor([18, 0, 7]), torch.randperm(19)):
        assert torch.equal(experts(*make(), "silu", x[rows], chosen[rows], share[rows], further[rows]), out[rows])
    if native.library() is not None:
        with pytest.raises(ValueError, match="out of range"):
            experts(*make(), "silu", x, chosen + 6, share, None)
    without_kernels(monkeypatch)
    assert error(experts(*make(), "silu", x, chosen, share, further), out.double()) < 3e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prepared_decoder_computes_the_same(name: str) -> None:
    original, ids = tiny_decoder(name), torch.tensor([prompt_of(40)])
    with torch.inference_mode():
        expected = original(ids)[0].double()
        for kind, most in (("fp32", 1e-4), ("int8", 0.05)):
            found = prepare(tiny_decoder(name), kind)(ids)[0]
            # The median row: a router that is nearly undecided may choose another expert.
            assert ((found - expected).norm(dim=1) / expected.norm(dim=1)).median() < most, kind


@pytest.mark.parametrize("narrow", [False, True])
def test_int4_has_eight_bits_where_four_lose_the_most(narrow: bool) -> None:
    decoder = tiny_decoder("gemma-3")
    prepare(decoder, "int4", narrow=decoder.spec.width + narrow)
    layers = [{name: layer.get_submodule(f"mixer.{name}").weights.kind for name in ("qkv", "out")}
              | {name: getattr(layer.ffn, name).kind for name in ("gate_up", "down")} for layer in decoder.layers]
    eight = dict.fromkeys(("qkv", "out", "gate_up", "down"), "int8")
    assert len(layers) > 2
    assert layers[0] == layers[-1] == eight
    assert layers[1:-1] == [eight | {"out": "int4", "down": "int4"} | ({} if narrow else {"gate_up": "int4"})
                            ] * (len(layers) - 2)
    assert decoder.head.weights.kind == decoder.embedding.weights.kind == "int8"


def test_memory_falls() -> None:
    spec = replace(tiny_spec("kanana"), vocab=4096)
    whole = sum(4 * x.numel() for x in Decoder(spec).parameters())
    held = [held_bytes(prepare(Decoder(spec), kind)) / whole for kind in KINDS]
    assert 1.0 <= held[0] < 1.4  # panels are padded, which counts in a tiny model
    assert held[1] < 0.55
    assert held[2] <= held[1]


OLDER = """import torch
from dokja.serve.weights import KINDS, Weights
torch.manual_seed(0)
weight, x = torch.randn(50, 130), torch.randn(19, 130)
print([Weights(weight, None, kind).linear(x).double().sum().item() for kind in KINDS])
"""


@needs_kernels
@pytest.mark.slow
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names x86 processors")
def test_older_processors_compute_the_same() -> None:
    def sums(march: str) -> list[float]:
        environment = {**os.environ, "DOKJA_MARCH": march}
        return eval(subprocess.run([sys.executable, "-c", OLDER], env=environment, check=True, capture_output=True,
                                   text=True).stdout)

    torch.manual_seed(0)
    weight, x = torch.randn(50, 130), torch.randn(19, 130)
    here = [Weights(weight, None, kind).linear(x).double().sum().item() for kind in KINDS]
    assert sums("x86-64") == pytest.approx(here, rel=1e-5)
    if "avx2" in Path("/proc/cpuinfo").read_text(encoding="utf-8"):
        assert sums("x86-64-v3") == pytest.approx(here, rel=1e-5)


@needs_kernels
@pytest.mark.timed
def test_callers_at_once_and_forked_children_share_the_threads() -> None:
    torch.manual_seed(0)
    weights, x = Weights(torch.randn(1024, 640), None, "int8"), torch.randn(9, 640)
    with threads(3):
        alone = weights.linear(x)
        with ThreadPoolExecutor(4) as callers:
            found = list(callers.map(lambda _: weights.linear(x), range(200)))
        assert all(one.equal(alone) for one in found)
        child = os.fork()
        if not child:  # what the parent's threads were doing is not there any more
            os._exit(0 if weights.linear(x).equal(alone) else 1)
        deadline = time.monotonic() + 20
        while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.01)
        if not ended[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert ended == (child, 0)

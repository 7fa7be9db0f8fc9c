"""What a run is said to take: held against published runs, against what autograd keeps, and against its own parts."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from dokja.build.command import app
from dokja.build.parallel import ParallelConfig
from dokja.build.plan.estimate import LIMIT, PUE, plan
from dokja.build.plan.hardware import ACCELERATORS, amount, cluster
from dokja.build.plan.memory import activation_numbers, memory
from dokja.build.plan.published import checks, runs
from dokja.errors import DokjaError
from dokja.models import native, ops
from dokja.models.cost import parameters
from dokja.models.decoder import Decoder
from dokja.models.families import FAMILIES
from dokja.models.init import initialise
from dokja.models.scaling import scaled


def test_dense_runs_are_predicted_from_one_another_within_a_quarter() -> None:
    errors = {one.run.name: one.error for one in checks() if one.run.kind == "dense"}
    assert len(errors) >= 6
    assert all(abs(error) < 0.25 for error in errors.values()), errors


def test_mixtures_differ_so_much_that_only_a_range_is_given() -> None:
    """Two published runs of one model on two machines are five times apart in what they make of the peak."""
    found = [run.utilisation for run in runs() if run.kind == "mixture"]
    made = plan(FAMILIES["solar-open"].spec, 480, ACCELERATORS["B200"], context=4096, tokens=19.7e12)
    assert made.utilisation[0] == min(found)
    assert made.utilisation[2] == max(found)
    assert made.days[0] > 4 * made.days[2]


@pytest.mark.parametrize("run", [run for run in runs() if run.energy], ids=lambda run: run.name)
def test_energy_of_published_hours_is_met_within_a_tenth(run: Any) -> None:
    hours, published = run.energy
    tokens = run.speed * hours * 3600
    made = plan(run.spec, run.gpus, ACCELERATORS[run.gpu], context=run.context, tokens=tokens)
    predicted = made.energy[1] * made.speed[1] / (run.speed * run.gpus)  # at the published speed
    assert predicted == pytest.approx(published, rel=0.1)


class _FusedNorm(torch.autograd.Function):
    """The norm as it is on a GPU: one kernel, which keeps its input."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float, offset: float) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return torch.nn.functional.rms_norm(x, x.shape[-1:], weight + offset, eps)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        raise AssertionError("only what forward keeps is looked at")


@pytest.mark.parametrize("name", ["exaone-3.5", "hyperclova-x-seed-think", "solar-open", "k-exaone", "ax-k1", "gemma-3",
                                  "exaone-4"])
def test_activations_are_what_autograd_keeps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor saved for the backward pass of a layer, without weights; within 15 %."""
    monkeypatch.setattr(ops, "rms_norm", lambda *arguments: _FusedNorm.apply(*arguments))
    tokens = 256
    spec = scaled(FAMILIES[name].spec, 20_000_000, context=tokens, vocab=512)
    model = Decoder(spec).train()
    initialise(model, 1)
    for layer, block in zip(spec.layers[:: len(spec.layers) - 1], model.layers[:: len(spec.layers) - 1], strict=True):
        own = {parameter.untyped_storage().data_ptr() for parameter in block.parameters()}
        seen: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor, own: set[int] = own, seen: dict[int, torch.Tensor] = seen) -> torch.Tensor:
            at = tensor.untyped_storage().data_ptr()
            # The CPU has no fused attention for values of another width than keys: its weights are not counted.
            if at not in own and tensor.is_floating_point() and tensor.shape[-2:] != (tokens, tokens):
                seen[at] = tensor
            return tensor

        x = torch.randn(1, tokens, spec.width, requires_grad=True)
        with native.off(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            block(x, None, None)
        kept = sum(tensor.untyped_storage().nbytes() for tensor in seen.values()) / 4 / tokens
        assert activation_numbers(layer, spec.width, tokens) == pytest.approx(kept, rel=0.15)


def test_what_is_sharded_adds_up_to_the_model() -> None:
    """Over all GPUs, weights are the model's (tables once for each tensor rank) and matrices have one moment."""
    spec = FAMILIES["exaone-3.5"].spec
    for layout in (ParallelConfig(), ParallelConfig(shard=8), ParallelConfig(replicate=2, shard=4)):
        held = memory(spec, layout, context=4096, sequences=1, recompute=False)
        total = held.weights * layout.shard
        assert total == pytest.approx(4 * parameters(spec).total, rel=0.001)
        assert held.gradients == held.weights < held.optimizer
    whole, cut = (memory(spec, ParallelConfig(tensor=size), context=4096, sequences=1, recompute=False)
                  for size in (1, 4))
    assert cut.logits == whole.logits / 4
    assert whole.activations / 4 < cut.activations < whole.activations
    again = memory(spec, ParallelConfig(), context=4096, sequences=1, recompute=True)
    assert again.activations < whole.activations / 10


def test_a_plan_takes_the_least_that_fits() -> None:
    small = plan(FAMILIES["exaone-4"].releases[1].spec, 8, ACCELERATORS["H100"], context=4096, tokens=1e11)
    assert (small.layout, small.recompute, small.fits) == (ParallelConfig(shard=8), False, True)
    large = plan(FAMILIES["k-exaone"].spec, 512, ACCELERATORS["H100"], context=8192, tokens=1e13)
    assert large.fits
    assert large.layout.world == 512
    assert large.layout.expert > 1
    assert large.flops / LIMIT == pytest.approx(0.0151, rel=0.02)
    none = plan(FAMILIES["ax-k1"].spec, 8, ACCELERATORS["H100"], context=4096, tokens=1e12)
    assert not none.fits


def test_the_command_says_the_same_in_words_and_in_json() -> None:
    arguments = ["plan", "solar-open", "--gpus", "480xB200", "--tokens", "19.7T"]
    said, data = CliRunner().invoke(app, arguments), CliRunner().invoke(app, [*arguments, "--json"])
    read = json.loads(data.stdout)
    assert f"{read['parameters'] / 1e9:,.2f} B" in said.stdout
    assert read["pue"] == PUE
    assert read["layout"] == asdict(plan(FAMILIES["solar-open"].spec, 480, ACCELERATORS["B200"], context=4096,
                                         tokens=19.7e12).layout)
    table = json.loads(CliRunner().invoke(app, ["plan", "--check", "--json"]).stdout)
    assert [row["run"] for row in table] == [run.name for run in runs()]


def test_numbers_are_read_and_wrong_ones_refused() -> None:
    assert cluster("512xH100") == (512, ACCELERATORS["H100"])
    assert [amount(text) for text in ("10T", "2.5b", "1e9")] == [1e13, 2.5e9, 1e9]
    with pytest.raises(DokjaError, match=r"'eight' is no number of GPUs: write 8xH100"):
        cluster("eight")
    with pytest.raises(DokjaError, match=r"'much' is no number of tokens"):
        amount("much")

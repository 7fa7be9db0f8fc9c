"""A run may stop after any step and go on as if it had not; what goes wrong is said, and loses nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tiny_teams import CONTEXT, TEAMS, VOCAB, tiny_data, tiny_spec, trainer

from dokja.build.packing import Sequences
from dokja.build.train import Batch, Checkpoints, GuardConfig, NextTokenConfig, Step, Trainer
from dokja.errors import DokjaError
from dokja.models.cost import training_flops_per_token
from dokja.models.decoder import Decoder
from dokja.models.ffn import MixtureOfExperts

pytestmark = pytest.mark.usefixtures("_one_thread")


def everything(run: Trainer) -> dict[str, torch.Tensor]:
    """All that a run is made of, as bits."""
    return {**{f"model.{name}": tensor for name, tensor in run.model.state_dict().items()},
            **{f"optimizer.{name}": tensor for name, tensor in run.optimizer.state_tensors().items()}}


def same_bits(one: Trainer, other: Trainer) -> bool:
    first, second = everything(one), everything(other)
    return (first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
            and (one.step_index, one.optimizer.steps) == (other.step_index, other.optimizer.steps))


def saved(run: Trainer, folder: Path, extra: dict[str, object] | None = None) -> None:
    """Save and wait until it is on the disk."""
    store = Checkpoints(folder)
    store.save(run, extra)
    store.wait()


@pytest.mark.parametrize("name", TEAMS)
def test_a_restored_run_is_the_uninterrupted_one_bit_for_bit(name: str, tmp_path: Path) -> None:
    """Losses, weights, router biases and optimizer state; over the end of a stage and of an epoch of 10 steps."""
    whole: list[Step] = []
    straight = trainer(name)
    straight.run(14, whole.append)
    parts: list[Step] = []
    for until in (5, 6, 14):
        run = trainer(name)  # a new object, as in a new process
        if parts:
            Checkpoints(tmp_path).restore(run)
        run.run(until, parts.append)
        saved(run, tmp_path)
    assert parts == whole
    assert same_bits(run, straight)
    assert [step.step for step in whole] == list(range(1, 15))


@pytest.mark.parametrize("name", TEAMS)
def test_runs_learn_and_differ_by_seed_alone(name: str) -> None:
    losses: list[list[float]] = []
    for seed in (1, 1, 2):
        steps: list[Step] = []
        trainer(name, seed=seed).run(24, steps.append)
        losses.append([step.loss for step in steps])
    assert losses[0] == losses[1] != losses[2]
    assert losses[0][0] == pytest.approx(np.log(VOCAB), abs=0.5)
    assert np.mean(losses[0][-6:]) < losses[0][0] - 0.15  # a mixture this small takes a winding path


def test_a_step_says_what_it_did() -> None:
    run = trainer("solar-open")
    first, second = run.step(), run.step()
    assert (first.step, second.step) == (1, 2)
    assert (first.tokens, second.tokens) == (4 * CONTEXT, 8 * CONTEXT)
    assert second.flops == 2 * first.flops == 8 * CONTEXT * training_flops_per_token(run.spec, CONTEXT)
    assert (first.rate, second.rate) == pytest.approx((1 / 3, 2 / 3))
    assert first.gradient_norm > 0


def test_extra_data_travels_with_the_checkpoint(tmp_path: Path) -> None:
    run = trainer("vaetki")
    run.step()
    saved(run, tmp_path, {"curve": [[1, 4.5]], "팀": "베트키"})
    assert Checkpoints(tmp_path).restore(trainer("vaetki")) == {"curve": [[1, 4.5]], "팀": "베트키"}


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    spec = replace(tiny_spec("solar-open"), tied=True)
    runs = [trainer("solar-open", spec=spec) for _ in range(2)]
    runs[0].run(3, lambda step: None)
    saved(runs[0], tmp_path)
    with safe_open(tmp_path / "step-00000003" / "state.safetensors", framework="pt") as file:
        assert "model.head.weight" not in file.keys()  # noqa: SIM118 (not a dict)
    Checkpoints(tmp_path).restore(runs[1])
    for run in runs:
        run.run(6, lambda step: None)
    assert same_bits(*runs)
    assert runs[1].model.head.weight is runs[1].model.embedding.weight


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    saved(trainer("vaetki"), tmp_path)
    with pytest.raises(DokjaError, match="another architecture"):
        Checkpoints(tmp_path).restore(trainer("solar-open"))


@pytest.mark.parametrize("where", ["norm.weight", "head.weight", "layers.0.mixer.out.weight"])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, where: str) -> None:
    run = trainer("k-exaone")
    run.step()
    saved(run, tmp_path)
    with torch.no_grad():
        run.model.get_parameter(where).view(-1)[0] = float("nan")
    with pytest.raises(DokjaError, match=r"diverged at step 1 .* lower the learning rate") as failure:
        run.step()
    assert "\n" not in str(failure.value)
    # The same object can go back and on: no gradient of the bad step is left in it.
    Checkpoints(tmp_path).restore(run)
    other = trainer("k-exaone")
    Checkpoints(tmp_path).restore(other)
    assert run.step() == other.step()
    assert same_bits(run, other)


@pytest.mark.parametrize("name", ["ax-k1", "vaetki"])
def test_clipping_bounds_the_gradient(name: str) -> None:
    """A norm that is reported is the one before clipping."""
    loose, tight = trainer(name, clip=1e9), trainer(name, clip=1e-3)
    assert loose.step().gradient_norm == tight.step().gradient_norm > 1e-3


def mixtures(model: Decoder) -> list[MixtureOfExperts]:
    return [module for module in model.modules() if isinstance(module, MixtureOfExperts)]


@torch.no_grad()
def lopsided(run: Trainer) -> None:
    """Routers that begin with a strong liking for a few experts, whatever the token."""
    for mixture in mixtures(run.model):
        mixture.router.weight.mul_(0.1)
        if mixture.router_bias is not None:
            mixture.router_bias += torch.linspace(0.3, 0, mixture.moe.experts)


def imbalance(run: Trainer) -> float:
    """How many times its share the busiest expert has, at worst over the layers."""
    return max((mixture.load_E.max() / mixture.load_E.float().mean()).item() for mixture in mixtures(run.model))


@pytest.mark.parametrize("name", ["k-exaone", "solar-open"])
def test_router_biases_bring_experts_into_balance(name: str) -> None:
    """Auxiliary-loss-free balancing: a bias goes down where the load is above its mean, up where it is below."""
    run = trainer(name, balance_rate=0.02)
    lopsided(run)
    before = [mixture.router_bias.clone() for mixture in mixtures(run.model)]
    run.step()
    at_first = imbalance(run)
    for mixture, bias in zip(mixtures(run.model), before, strict=True):
        moved = torch.sign(mixture.load_E.float().mean() - mixture.load_E) * 0.02
        torch.testing.assert_close(mixture.router_bias - bias, moved)
    run.run(16, lambda step: None)
    assert imbalance(run) < 0.75 * at_first


def test_without_router_biases_a_loss_keeps_the_balance() -> None:
    """VAETKI's router has no bias; the auxiliary loss is 1 in balance and as many as there are experts at worst."""
    means = []
    for weight in (1.0, 0.0):
        run = trainer("vaetki", loss=NextTokenConfig(batch=4, balance_weight=weight))
        assert all(mixture.router_bias is None for mixture in mixtures(run.model))
        seen: list[float] = []
        run.run(32, lambda step, run=run, seen=seen: seen.extend(  # type: ignore[misc]
            mixture.balance.item() for mixture in mixtures(run.model)))
        assert all(0.9 < balance < mixtures(run.model)[0].moe.experts for balance in seen)
        means.append(sum(seen[len(seen) // 2 :]) / (len(seen) // 2))
    assert means[0] - 1 < 0.8 * (means[1] - 1)


def test_mtp_losses_train_but_are_not_reported() -> None:
    """The loss of a step is the next token's alone, comparable between teams with and without MTP."""
    with_mtp, without = (trainer("k-exaone", loss=NextTokenConfig(batch=4, mtp_weight=weight)) for weight in (0.5, 0.0))
    assert with_mtp.step().loss == without.step().loss
    moved = [(one - other).abs().max().item() for one, other in
             zip(with_mtp.model.state_dict().values(), without.model.state_dict().values(), strict=True)]
    assert max(moved) > 0


def test_a_batch_without_counted_tokens_is_no_division_by_zero() -> None:
    data = tiny_data()
    run = trainer("vaetki", data=Sequences(data.tokens, np.zeros_like(data.weights)))
    assert run.step().loss == 0.0


def test_micro_batches_add_up_to_the_batch() -> None:
    """Row by row or all at once, the gradients are the same but for the order of sums; weights differ between rows."""
    whole, parts = trainer("solar-open"), trainer("solar-open", micro_batch=1)
    for _ in range(3):
        one, other = whole.step(), parts.step()
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        assert other.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-4)


@pytest.mark.parametrize("name", ["k-exaone", "vaetki", "hyperclova-x-seed-think"])
def test_recomputing_blocks_changes_no_bit(name: str) -> None:
    whole, again = trainer(name), trainer(name, recompute=True)
    assert [whole.step() for _ in range(3)] == [again.step() for _ in range(3)]
    assert same_bits(whole, again)


class Spiky:
    """An objective with one step that is far off."""

    def __init__(self, run: Trainer, bad: int, factor: float) -> None:
        self.inner, self.bad, self.factor = run.objective, bad, factor
        self.now = 0

    def batch(self, model: Decoder, step: int) -> Batch:
        self.now = step
        return self.inner.batch(model, step)

    def loss(self, model: Decoder, part: Batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, numbers = self.inner.loss(model, part)
        factor = self.factor if self.now == self.bad else 1.0
        return loss * factor, {**numbers, "loss": numbers["loss"] * factor}


@pytest.mark.parametrize("factor", [40.0, float("nan")])
def test_a_spike_is_skipped_and_said(factor: float) -> None:
    """The weights are those before it, the data goes on behind it, and what was skipped is told with its numbers."""
    run = trainer("solar-open", guard=GuardConfig(sigmas=6, window=8))
    run.objective = Spiky(run, 10, factor)
    for _ in range(10):
        assert run.step().skipped is None
    before = {name: tensor.clone() for name, tensor in everything(run).items()}
    spike = run.step()
    assert spike.skipped is not None
    assert ("standard deviations above" in spike.skipped) is (factor == 40.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in everything(run).items())
    assert run.step_index == 11
    assert run.step().skipped is None


def test_a_run_that_only_spikes_ends() -> None:
    run = trainer("solar-open", guard=GuardConfig(patience=3))
    with torch.no_grad():
        run.model.get_parameter("norm.weight").fill_(float("nan"))
    run.step(), run.step()
    with pytest.raises(DokjaError, match="diverged at step 2"):
        run.step()


def test_the_guard_survives_a_restart(tmp_path: Path) -> None:
    """What counts as a spike after a restart is what would have counted without it."""
    run = trainer("solar-open", guard=GuardConfig(sigmas=6, window=8))
    run.run(6, lambda step: None)
    saved(run, tmp_path)
    other = trainer("solar-open", guard=GuardConfig(sigmas=6, window=8))
    Checkpoints(tmp_path).restore(other)
    assert other.guard.state() == run.guard.state()


def test_z_loss_moves_weights_and_not_the_reported_loss() -> None:
    plain = trainer("solar-open", loss=NextTokenConfig(batch=4))
    with_z = trainer("solar-open", loss=NextTokenConfig(batch=4, z_weight=1e-2))
    assert plain.step().loss == with_z.step().loss
    assert not same_bits(plain, with_z)

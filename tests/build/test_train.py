"""A run may stop after any step and go on as if it had not; what goes wrong is said, and loses nothing."""

from __future__ import annotations

import json
import resource
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tiny_teams import CONTEXT, TEAMS, VOCAB, tiny_data, tiny_spec, trainer

from dokja.build.packing import Sequences
from dokja.build.schedule import Schedule
from dokja.build.train import Step, TrainConfig, Trainer
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
            run.restore(tmp_path / "run.safetensors")
        run.run(until, parts.append)
        run.save(tmp_path / "run.safetensors")
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
    run.save(tmp_path / "run.safetensors", {"curve": [[1, 4.5]], "팀": "베트키"})
    assert trainer("vaetki").restore(tmp_path / "run.safetensors") == {"curve": [[1, 4.5]], "팀": "베트키"}


def test_a_checkpoint_is_complete_or_the_old_one(tmp_path: Path) -> None:
    """A disk that is full in the middle of writing (here a limit on the size of files) leaves the one before."""
    path = tmp_path / "run.safetensors"
    run = trainer("hyperclova-x-seed-think")
    run.run(2, lambda step: None)
    run.save(path)
    kept = path.read_bytes()
    run.run(4, lambda step: None)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) // 2, limits[1]))
    try:
        with pytest.raises((OSError, SafetensorError)):
            run.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == kept
    again = trainer("hyperclova-x-seed-think")
    again.restore(path)
    assert again.step_index == 2
    run.save(path)  # and what was left of the attempt is in nobody's way
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    spec = replace(tiny_spec("solar-open"), tied=True)
    runs = [Trainer(spec, tiny_data(), TrainConfig(seed=3, batch=4), Schedule(ends=(9,))) for _ in range(2)]
    runs[0].run(3, lambda step: None)
    runs[0].save(tmp_path / "run.safetensors")
    with safe_open(tmp_path / "run.safetensors", framework="pt") as file:
        assert "model.head.weight" not in file.keys()  # noqa: SIM118 (not a dict)
    runs[1].restore(tmp_path / "run.safetensors")
    for run in runs:
        run.run(6, lambda step: None)
    assert same_bits(*runs)
    assert runs[1].model.head.weight is runs[1].model.embedding.weight


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path) -> None:
    trainer("vaetki").save(tmp_path / "run.safetensors")
    with pytest.raises(DokjaError, match="another architecture"):
        trainer("solar-open").restore(tmp_path / "run.safetensors")


@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "foreign", "without a tensor"])
def test_a_checkpoint_that_cannot_be_read_is_one_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "run.safetensors"
    run = trainer("solar-open")
    run.save(path)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        metadata = {"step": "0", "spec": json.dumps(run.spec.to_dict()), "extra": "{}"}
        save_file({"model.norm.weight": torch.ones(3)}, path, metadata=None if damage == "foreign" else metadata)
    fresh = trainer("solar-open")
    with pytest.raises(DokjaError, match=r"run\.safetensors") as failure:
        fresh.restore(path)
    assert "\n" not in str(failure.value)
    assert same_bits(fresh, trainer("solar-open"))  # nothing was half restored


@pytest.mark.parametrize("where", ["norm.weight", "head.weight", "layers.0.mixer.out.weight"])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path, where: str) -> None:
    run = trainer("k-exaone")
    run.step()
    run.save(tmp_path / "run.safetensors")
    with torch.no_grad():
        run.model.get_parameter(where).view(-1)[0] = float("nan")
    with pytest.raises(DokjaError, match=r"diverged at step 1: lower the learning rate") as failure:
        run.step()
    assert "\n" not in str(failure.value)
    # The same object can go back and on: no gradient of the bad step is left in it.
    run.restore(tmp_path / "run.safetensors")
    other = trainer("k-exaone")
    other.restore(tmp_path / "run.safetensors")
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
        run = trainer("vaetki", balance_weight=weight)
        assert all(mixture.router_bias is None for mixture in mixtures(run.model))
        seen: list[float] = []
        run.run(32, lambda step, run=run, seen=seen: seen.extend(  # type: ignore[misc]
            mixture.balance.item() for mixture in mixtures(run.model)))
        assert all(0.9 < balance < mixtures(run.model)[0].moe.experts for balance in seen)
        means.append(sum(seen[len(seen) // 2 :]) / (len(seen) // 2))
    assert means[0] - 1 < 0.8 * (means[1] - 1)


def test_mtp_losses_train_but_are_not_reported() -> None:
    """The loss of a step is the next token's alone, comparable between teams with and without MTP."""
    with_mtp, without = trainer("k-exaone", mtp_weight=0.5), trainer("k-exaone", mtp_weight=0.0)
    assert with_mtp.step().loss == without.step().loss
    moved = [(one - other).abs().max().item() for one, other in
             zip(with_mtp.model.state_dict().values(), without.model.state_dict().values(), strict=True)]
    assert max(moved) > 0


def test_a_batch_without_counted_tokens_is_no_division_by_zero() -> None:
    data = tiny_data()
    run = trainer("vaetki", data=Sequences(data.tokens, np.zeros_like(data.weights)))
    assert run.step().loss == 0.0

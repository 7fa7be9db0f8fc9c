"""The optimizer is Muon and AdamW as published, on the matrices that it should treat as one."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from tiny_teams import NAMES, tiny_spec
from torch import Tensor

from dokja.build.optim import MuonAdamW, OptimConfig, orthogonalise
from dokja.models import native
from dokja.models.attention import GroupedQueryAttention
from dokja.models.decoder import Decoder
from dokja.models.ffn import GatedMLP, MixtureOfExperts
from dokja.models.init import initialise

pytestmark = pytest.mark.usefixtures("_one_thread")
RATES = (0.3, 1.0, 0.7)


def new_model(name: str) -> Decoder:
    model = Decoder(tiny_spec(name))
    initialise(model, 0)
    return model


def give_gradients(model: Decoder, seed: int) -> dict[str, Tensor]:
    """Random, hence full-rank, gradients; returned as copies."""
    draws = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=draws) * 0.1
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def values(model: Decoder) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def is_muon(name: str, parameter: Tensor) -> bool:
    return parameter.ndim > 1 and not name.startswith(("embedding", "head")) and not name.endswith("bias") \
        and "router" not in name


def exact_muon(update: Tensor) -> Tensor:
    """Newton-Schulz of one matrix in float64, as in the Muon write-up, with the step size of Moonlight's equation 4."""
    x = update.double()
    x = x / x.norm()
    if x.shape[0] > x.shape[1]:
        x = x.T
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    if update.shape[0] > update.shape[1]:
        x = x.T
    return 0.2 * max(update.shape) ** 0.5 * x


def whole_matrices(model: Decoder, name: str, tensor: Tensor) -> list[Tensor]:
    """The matrices that a stored tensor holds: Q, K and V; gate and up; and every expert's."""
    owner_name, _, leaf = name.rpartition(".")
    if leaf == "weight":
        owner_name, _, leaf = owner_name.rpartition(".")
    owner = model.get_submodule(owner_name)
    if isinstance(owner, GroupedQueryAttention) and leaf == "qkv":
        mixer = owner.mixer
        q, kv = mixer.heads * mixer.head_dim, mixer.kv_heads * mixer.head_dim
        return [tensor[:q], tensor[q : q + kv], tensor[q + kv :]]
    if isinstance(owner, GatedMLP) and leaf == "gate_up":
        return list(tensor.chunk(2))
    if isinstance(owner, MixtureOfExperts) and leaf in ("gate_up", "down"):
        return [part for expert in tensor for part in (expert.chunk(2, dim=1) if leaf == "gate_up" else [expert])]
    assert tensor.ndim == 2
    return [tensor]


@pytest.mark.parametrize("name", NAMES)
def test_muon_is_the_published_formula_on_every_matrix(name: str) -> None:
    """Three steps against float64: momentum, Nesterov, decay, orthogonalisation of each matrix apart, step size."""
    model, config = new_model(name), OptimConfig()
    optimizer = MuonAdamW(model, config)
    expected = {at: [part.double() for part in whole_matrices(model, at, value)]
                for at, value in values(model).items() if is_muon(at, value)}
    momentum = {at: [torch.zeros_like(part) for part in parts] for at, parts in expected.items()}
    for step, rate in enumerate(RATES):
        gradients = give_gradients(model, step)
        optimizer.step(rate)
        lr = rate * config.muon_lr
        for at, parts in expected.items():
            for i, gradient in enumerate(whole_matrices(model, at, gradients[at].double())):
                momentum[at][i] = config.momentum * momentum[at][i] + (1 - config.momentum) * gradient
                nesterov = config.momentum * momentum[at][i] + (1 - config.momentum) * gradient
                parts[i] = parts[i] * (1 - lr * config.weight_decay) - lr * exact_muon(nesterov)
    assert expected
    for at, value in values(model).items():
        if is_muon(at, value):
            for found, part in zip(whole_matrices(model, at, value), expected[at], strict=True):
                assert (found.double() - part).abs().max() < 1e-4 * part.abs().max(), at


def test_muon_is_pytorchs() -> None:
    """torch.optim.Muon orthogonalises in bfloat16, hence three per cent; the directions are the same."""
    name = "hyperclova-x-seed-think"
    model, twin, config = new_model(name), new_model(name), OptimConfig()
    optimizer = MuonAdamW(model, config)
    single = {at: parameter for at, parameter in twin.named_parameters()
              if is_muon(at, parameter) and len(whole_matrices(twin, at, parameter)) == 1}
    theirs = torch.optim.Muon(single.values(), lr=config.muon_lr, weight_decay=config.weight_decay,
                              momentum=config.momentum, adjust_lr_fn="match_rms_adamw")
    before = values(model)
    for step in range(3):
        give_gradients(model, step)
        give_gradients(twin, step)
        optimizer.step(1.0)
        theirs.step()
    for at, parameter in single.items():
        ours, others = (x - before[at] for x in (model.get_parameter(at).detach(), parameter.detach()))
        assert (ours - others).norm() < 0.03 * others.norm(), at


@pytest.mark.parametrize("name", NAMES)
def test_adamw_is_pytorchs_bit_for_bit(name: str) -> None:
    """All but the matrices of blocks; norms and biases do not decay; embedding and head follow their muP multiplier."""
    model, twin, config = new_model(name), new_model(name), OptimConfig()
    optimizer = MuonAdamW(model, config)
    spec, groups = model.spec, []
    for at, parameter in twin.named_parameters():
        if not is_muon(at, parameter):
            multiplier = {"embedding.weight": spec.embedding_scale, "head.weight": spec.logit_scale}.get(at, 1.0)
            groups.append({"params": [parameter], "name": at, "multiplier": multiplier,
                           "weight_decay": 0.0 if parameter.ndim == 1 or at.endswith("bias") else config.weight_decay})
    theirs = torch.optim.AdamW(groups, betas=config.betas, eps=config.eps, fused=True)
    for step, rate in enumerate(RATES):
        give_gradients(model, step)
        give_gradients(twin, step)
        for group in theirs.param_groups:
            group["lr"] = rate * config.adam_lr * (1 / group["multiplier"])
        optimizer.step(rate)
        theirs.step()
    head = set() if spec.tied else {"head.weight"}
    assert {group["name"] for group in groups} >= {"embedding.weight", "norm.weight"} | head
    for group in groups:
        assert torch.equal(model.get_parameter(group["name"]), group["params"][0]), group["name"]


def test_an_embedding_may_have_a_rate_of_its_own() -> None:
    """Adam's first step moves every number that has a gradient by the rate."""
    model = new_model("solar-open")
    before = values(model)
    give_gradients(model, 0)
    MuonAdamW(model, OptimConfig(embedding_lr=0.05, weight_decay=0.0)).step(1.0)
    for at, lr in (("embedding.weight", 0.05), ("head.weight", OptimConfig().adam_lr)):
        moved = (model.get_parameter(at).detach() - before[at]).abs()
        torch.testing.assert_close(moved, torch.full_like(moved, lr), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_matrices_stored_together_are_orthogonalised_apart(name: str) -> None:
    """A thousand times larger gradient of one leaves the update of the others as it was."""
    quiet, loud = new_model(name), new_model(name)
    stored = [at for at, parameter in quiet.named_parameters()
              if is_muon(at, parameter) and len(whole_matrices(quiet, at, parameter)) > 1]
    assert stored
    for model, factor in ((quiet, 1.0), (loud, 1000.0)):
        give_gradients(model, 0)
        for at in stored:
            whole_matrices(model, at, model.get_parameter(at).grad)[0].mul_(factor)
        MuonAdamW(model, OptimConfig()).step(1.0)
    for at in stored:
        torch.testing.assert_close(loud.get_parameter(at), quiet.get_parameter(at), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8), (1, 7), (3, 5, 9), (2, 3, 9, 5)])
def test_orthogonalise_gives_singular_values_near_one(shape: tuple[int, ...]) -> None:
    """The quintic takes every singular value that is not tiny into 0.6 ... 1.3 and keeps the singular vectors."""
    rank = min(shape[-2:])
    draws = torch.Generator().manual_seed(1)
    u = torch.linalg.qr(torch.randn(*shape[:-2], shape[-2], rank, generator=draws)).Q
    v = torch.linalg.qr(torch.randn(*shape[:-2], shape[-1], rank, generator=draws)).Q
    size = torch.linspace(1, 5, rank)
    out = orthogonalise(u * size @ v.mT)
    assert out.shape == shape
    mixed = u.mT @ out @ v
    diagonal = mixed.diagonal(dim1=-2, dim2=-1)
    assert ((diagonal > 0.6) & (diagonal < 1.3)).all()
    assert (mixed - torch.diag_embed(diagonal)).abs().max() < 1e-3


def test_a_gradient_of_zero_moves_nothing_but_decay() -> None:
    model, config = new_model("solar-open"), OptimConfig(weight_decay=0.0)
    before = values(model)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    MuonAdamW(model, config).step(1.0)
    assert all(torch.equal(value, before[at]) for at, value in values(model).items())


def test_parameters_without_gradient_stay() -> None:
    model = new_model("k-exaone")
    before = values(model)
    give_gradients(model, 0)
    model.head.weight.grad = None
    model.layers[0].mixer.qkv.weight.grad = None
    MuonAdamW(model, OptimConfig()).step(1.0)
    moved = {at for at, value in values(model).items() if not torch.equal(value, before[at])}
    assert set(before) - moved == {"head.weight", "layers.0.mixer.qkv.weight"}


def test_experts_can_be_left_to_adamw() -> None:
    model = new_model("vaetki")
    optimizer = MuonAdamW(model, OptimConfig(muon_experts=False))
    assert {slot.name.rpartition(".")[2] for slot in optimizer.adam} >= {"gate_up", "down"}
    assert all(slot.parameter.ndim == 2 for slot in optimizer.muon)
    give_gradients(model, 0)
    optimizer.step(1.0)


def test_a_step_forgets_the_gradients() -> None:
    model = new_model("ax-k1")
    give_gradients(model, 0)
    MuonAdamW(model, OptimConfig()).step(1.0)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_state_carries_over_bit_for_bit(name: str) -> None:
    model, twin = new_model(name), new_model(name)
    first, second = MuonAdamW(model, OptimConfig()), MuonAdamW(twin, OptimConfig())
    give_gradients(model, 0)
    first.step(1.0)
    twin.load_state_dict(model.state_dict())
    for at, tensor in second.state_tensors().items():
        tensor.copy_(first.state_tensors()[at])
    second.steps = first.steps
    for step in (1, 2):
        for one, optimizer in ((model, first), (twin, second)):
            give_gradients(one, step)
            optimizer.step(0.5)
    for (at, one), (_, other) in zip(values(model).items(), values(twin).items(), strict=True):
        assert torch.equal(one, other), at


def test_a_larger_rate_makes_a_larger_step() -> None:
    sizes = []
    for rate in (0.0, 0.1, 1.0):
        model = new_model("solar-open")
        before = values(model)
        give_gradients(model, 0)
        MuonAdamW(model, OptimConfig()).step(rate)
        sizes.append(sum((value - before[at]).norm().item() for at, value in values(model).items()))
    assert sizes[0] == 0.0
    assert all(small < large for small, large in pairwise(sizes))


@pytest.mark.parametrize("name", NAMES)
def test_the_native_step_is_pytorchs(name: str) -> None:
    """Both near the same numbers after three steps, and the native one the same bits every time."""
    def three_steps() -> dict[str, Tensor]:
        model = new_model(name)
        optimizer = MuonAdamW(model, OptimConfig())
        for step, rate in enumerate(RATES):
            give_gradients(model, step)
            optimizer.step(rate)
        return values(model) | optimizer.state_tensors()

    ours, again = three_steps(), three_steps()
    with native.off():
        theirs = three_steps()
    for at, other in theirs.items():
        assert torch.equal(ours[at], again[at]), at
        assert (ours[at] - other).abs().max() <= 1e-4 * other.abs().max(), at

"""One decoder for every family: what it computes does not depend on how it is asked."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from pocket import CONTEXT, NAMES, VOCAB, pocket_model, pocket_spec, random_ids

from dokja.models.decoder import Decoder
from dokja.models.init import initialise


def test_windows_of_the_tests_are_shorter_than_their_sequences() -> None:
    windows = {layer.mixer.window for name in NAMES for layer in pocket_spec(name).layers}
    assert windows == {None, CONTEXT // 8}


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_a_cache_changes_nothing(name: str) -> None:
    """Pieces of any length, past the window, give the logits of the whole sequence."""
    model, ids = pocket_model(name), random_ids(0, 3, 40)
    whole = model(ids)
    cache, parts = model.new_cache(3, 50), []
    for begin, end in [(0, 1), (1, 14), (14, 15), (15, 33), (33, 40)]:
        parts.append(model(ids[:, begin:end], cache, torch.arange(begin, end).expand(3, -1)))
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=2e-5 * whole.abs().max().item())


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_the_future_is_not_seen(name: str) -> None:
    """A later token changes no earlier logits, and the last token sees all that its layers let through."""
    model, ids = pocket_model(name), random_ids(1, 1, 30)
    changed = ids.clone()
    changed[0, 20] = (changed[0, 20] + 1) % VOCAB
    before, after = model(ids), model(changed)
    torch.testing.assert_close(after[:, :20], before[:, :20], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(after[:, 20:], before[:, 20:], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_rows_of_a_batch_do_not_meet(name: str) -> None:
    model, ids = pocket_model(name), random_ids(2, 4, 24)
    together = model(ids)
    for row in range(4):
        torch.testing.assert_close(model(ids[row : row + 1])[0], together[row], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_new_model_knows_nothing_and_is_a_function_of_its_seed(name: str) -> None:
    models = []
    for seed in (5, 5, 6):
        model = Decoder(pocket_spec(name))
        initialise(model, seed)
        models.append(model)
    same, again, other = (torch.cat([x.flatten() for x in model.state_dict().values()]) for model in models)
    assert torch.equal(same, again)
    assert not torch.equal(same, other)
    assert torch.isfinite(same).all()
    ids = random_ids(3, 4, 33)
    loss, _ = models[0].losses(ids[:, :-1], ids[:, 1:])
    assert loss.item() == pytest.approx(math.log(VOCAB), abs=0.3)


def test_multipliers_change_no_function_of_a_new_model() -> None:
    """Embedding and logit multipliers move scale between weight and constant: the model starts like a plain one."""
    spec = pocket_spec("hyperclova-x-seed-think")
    plain = replace(spec, embedding_scale=1.0, logit_scale=1.0)
    ids, logits = random_ids(4, 2, 20), []
    for variant in (spec, plain):
        model = Decoder(variant)
        initialise(model, 0)
        logits.append(model(ids))
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-4, atol=1e-5)


def test_tied_tables_are_one_tensor() -> None:
    model = Decoder(replace(pocket_spec("solar-open"), tied=True))
    assert model.head.weight is model.embedding.weight


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    """Routers and MTP layers included; experts that no token chose excepted."""
    model, ids = pocket_model(name).train(), random_ids(5, 4, 33)
    main, further = model.losses(ids[:, :-1], ids[:, 1:])
    (main + sum(further)).backward()
    idle = [at for at, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert idle == []


def test_mtp_losses_are_one_number_a_layer_for_the_token_after_the_next() -> None:
    spec = pocket_spec("k-exaone")
    model, ids = pocket_model("k-exaone").train(), random_ids(6, 2, 33)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    main, further = model.losses(inputs, targets)
    assert len(further) == len(spec.mtp) == 1
    assert main.shape == further[0].shape == ()
    # Only what stands one token further counts: the first target is nobody's.
    masked = targets.clone()
    masked[:, 0] = -100
    assert torch.equal(model.losses(inputs, masked)[1][0], further[0])
    masked[:, 1] = -100
    assert not torch.equal(model.losses(inputs, masked)[1][0], further[0])


@torch.no_grad()
def test_an_mtp_layer_sees_the_next_token_and_none_after_it() -> None:
    """To predict the token at 11, it joins the trunk's state at 9 with the token at 10."""
    model, ids = pocket_model("k-exaone"), random_ids(11, 1, 20)
    targets = torch.full_like(ids, -100)
    targets[0, 10] = 7

    def loss_with(place: int) -> torch.Tensor:
        changed = ids.clone()
        changed[0, place] = (changed[0, place] + 1) % VOCAB
        return model.losses(changed, targets)[1][0]

    before = model.losses(ids, targets)[1][0]
    assert all(not torch.allclose(loss_with(place), before, rtol=1e-4) for place in (8, 9, 10))
    assert all(torch.allclose(loss_with(place), before, rtol=1e-5) for place in (11, 12, 19))


def test_mtp_gradients_reach_its_layer_and_the_trunk() -> None:
    model, ids = pocket_model("k-exaone").train(), random_ids(7, 2, 33)
    _, further = model.losses(ids[:, :-1], ids[:, 1:])
    further[0].backward()
    mine = {at: parameter for at, parameter in model.named_parameters() if at.startswith("mtp.")}
    assert len(mine) > 5
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in mine.values())
    assert model.layers[0].ffn.down.weight.grad.any()
    assert model.norm.weight.grad.any()  # it starts from what the final norm gives


def test_two_mtp_layers_chain() -> None:
    """The second starts from the first one's states and predicts one token further still."""
    spec = pocket_spec("k-exaone")
    model = Decoder(replace(spec, mtp=spec.mtp * 2))
    initialise(model, 0)
    ids = random_ids(8, 2, 33)
    targets = ids[:, 1:].clone()
    _, (first, second) = model.losses(ids[:, :-1], targets)
    targets[:, 1] = -100
    _, (first_masked, second_masked) = model.losses(ids[:, :-1], targets)
    assert not torch.equal(first, first_masked)
    assert torch.equal(second, second_masked)


def test_targets_that_do_not_count_do_not_count() -> None:
    model, ids = pocket_model("solar-open"), random_ids(9, 2, 21)
    inputs, targets = ids[:, :-1], ids[:, 1:].clone()
    targets[:, 5:] = -100
    loss, _ = model.losses(inputs, targets)
    logits = model(inputs)[:, :5].flatten(0, 1)
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, targets[:, :5].flatten()))
    nothing, _ = model.losses(inputs, torch.full_like(targets, -100))
    assert nothing.item() == 0.0


@pytest.mark.usefixtures("_kernels")
@pytest.mark.parametrize("name", ["k-exaone", "hyperclova-x-seed-think"])
def test_shares_make_the_loss_a_weighted_mean(name: str) -> None:
    """Of the main loss and of each MTP layer's; a logit multiplier acts in the loss as in the logits."""
    model, ids = pocket_model(name).train(), random_ids(10, 3, 25)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    share = torch.randint(0, 4, targets.shape, generator=torch.Generator().manual_seed(0)).float()
    weighted, further = model.losses(inputs, targets.masked_fill(share == 0, -100), share)
    each = torch.nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="none")
    torch.testing.assert_close(weighted, (each * share.flatten()).sum() / share.sum(), rtol=1e-4, atol=1e-4)
    assert torch.equal(model.losses(inputs, targets, torch.ones_like(share))[0], model.losses(inputs, targets)[0])
    if further:
        alone = torch.zeros_like(share)
        alone[:, 3] = 2.0  # whatever its size, a single share is all of the mean
        once = model.losses(inputs, targets.masked_fill(alone == 0, -100))[1][0]
        torch.testing.assert_close(model.losses(inputs, targets.masked_fill(alone == 0, -100), alone)[1][0], once)

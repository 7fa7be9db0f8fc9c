"""Documents in one row: each is computed as if it stood alone, in every family, forwards and backwards."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from tiny_teams import NAMES, VOCAB, tiny_spec

from dokja.build.packing import Weighted, pack
from dokja.build.post.logprobs import answer_logprobs, read_places
from dokja.models.decoder import Decoder
from dokja.models.init import initialise
from dokja.models.places import Places, separate, shared

pytestmark = pytest.mark.usefixtures("_one_thread")

LENGTHS = [20, 12, 9, 5, 7, 18]
END = 0


def twins(name: str) -> tuple[Decoder, Decoder]:
    model = Decoder(tiny_spec(name))
    initialise(model, 1)
    return model, deepcopy(model)


def rows() -> torch.Tensor:
    """Three that begin with the same nine tokens, two with the same three, and the last equal to the one before."""
    ids = torch.randint(1, VOCAB, (6, 20), generator=torch.Generator().manual_seed(1))
    ids[1, :9] = ids[2, :9] = ids[0, :9]
    ids[4, :3] = ids[3, :3]
    ids[5] = ids[4]
    return ids


def same_gradients(one: Decoder, other: Decoder) -> None:
    for (name, mine), its in zip(one.named_parameters(), other.parameters(), strict=True):
        if its.grad is None:
            assert mine.grad is None
        else:
            torch.testing.assert_close(mine.grad, its.grad, rtol=1e-3, atol=1e-4 * float(its.grad.abs().max()) + 1e-8,
                                       msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_begin_alike_share_their_beginning_and_nothing_changes(name: str) -> None:
    ours, plain = twins(name)
    ids = rows()
    places, place = shared(ids, LENGTHS)
    assert places.size == 48  # 20 + 3 + 0 + 5 + 4 + 11 = 43, to a multiple of 8; 71 tokens in all
    states, expected = ours.states(places)[place], plain.norm(plain.hidden(ids))
    inside = torch.arange(20) < torch.tensor(LENGTHS)[:, None]
    torch.testing.assert_close(states[inside], expected[inside], rtol=1e-4, atol=1e-5)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    (states * weight)[inside].sum().backward()
    (expected * weight)[inside].sum().backward()
    same_gradients(ours, plain)


@pytest.mark.parametrize("name", NAMES)
def test_packed_documents_cost_what_each_costs_alone(name: str) -> None:
    """With a document mask: the next token's loss, and the further one's of MTP layers where it is of the document."""
    ours, plain = twins(name)
    draws = torch.Generator().manual_seed(3)
    documents = [[*torch.randint(1, VOCAB, (length,), generator=draws).tolist(), END] for length in (9, 4, 14, 3, 26)]
    packed = pack([Weighted(ids, [1] * len(ids)) for ids in documents], 32, END, VOCAB)
    ids, targets, weights = packed.batch(0, 0, len(packed.tokens))
    loss, further = ours.losses(ids, targets, weights, end_of_text=END)
    alone = [torch.tensor([[END, *document]]) for document in documents]
    parts = [(row.shape[1] - 1, *plain.losses(row[:, :-1], row[:, 1:])) for row in alone]
    total = sum(count for count, _, _ in parts)
    expected = sum(count * mean for count, mean, _ in parts) / total  # type: ignore[misc]
    assert int((weights > 0).sum()) == total
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    for depth in range(1, len(further) + 1):
        share = weights.clone()
        for back in range(depth):  # without the places whose state is of the document before
            share[:, back:] *= (ids != END)[:, : ids.shape[1] - back]
        inside = ours.losses(ids, targets, share, end_of_text=END)[1][depth - 1]
        apart = sum((count - depth) * its[depth - 1] for count, _, its in parts)  # type: ignore[misc]
        torch.testing.assert_close(inside * (total - depth * len(parts)), apart, rtol=1e-4, atol=1e-4)
    (loss * total).backward()
    sum(count * mean for count, mean, _ in parts).backward()  # type: ignore[union-attr]
    same_gradients(ours, plain)


def test_what_follows_the_last_target_is_not_computed() -> None:
    ids = rows()
    targets = torch.full_like(ids, -100)
    targets[0, 5], targets[1, 2] = 7, 8
    assert read_places(ids, targets) == 8  # six tokens of the first row, all shared by the second
    model, _ = twins("k-exaone")
    assert (answer_logprobs(model, ids, targets) != 0).nonzero().tolist() == [[0, 5], [1, 2]]


def test_experts_count_a_token_once_and_no_padding() -> None:
    """The load that balances the routers is of the tokens that are there."""
    model, _ = twins("solar-open")
    places, _ = shared(rows(), LENGTHS)
    model.train().states(places)
    loads = [module.load_E for module in model.modules() if getattr(module, "load_E", None) is not None]
    active = next(module.moe.active for module in model.modules() if hasattr(module, "moe"))
    assert [int(load.sum()) for load in loads] == [places.size * active] * len(loads)


def test_a_place_knows_how_far_it_is_into_its_document() -> None:
    ids = torch.tensor([[END, 5, 6, END, 7, END, END, END]])
    places: Places = separate(ids, END)
    assert places.position[0].tolist() == [0, 1, 2, 0, 1, 0, 0, 0]
    assert sorted(bucket.shape for bucket in places.buckets) == [(1, 2), (1, 3), (3, 1)]

"""Documents in one row: each is computed as if it stood alone, in every family, forwards and backwards."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from tiny_teams import NAMES, VOCAB, tiny_spec

from dokja.build.packing import Weighted, pack
from dokja.build.post.logprobs import answer_logprobs, read_places
from dokja.build.post.places import Places, separate, shared
from dokja.models.decoder import Decoder
from dokja.models.init import initialise

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
            torch.testing.assert_close(mine.grad, its.grad, rtol=1e-3, atol=1e-5 * float(its.grad.abs().max()) + 1e-8,
                                       msg=name)


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_begin_alike_share_their_beginning_and_nothing_changes(name: str) -> None:
    ours, plain = twins(name)
    ids = rows()
    places, place = shared(ids, LENGTHS)
    assert places.size == 48  # 20 + 3 + 0 + 5 + 4 + 11 = 43, to a multiple of 8; 71 tokens in all
    states, expected = places.hidden(ours)[place], plain.norm(plain.hidden(ids))
    inside = torch.arange(20) < torch.tensor(LENGTHS)[:, None]
    torch.testing.assert_close(states[inside], expected[inside], rtol=1e-4, atol=1e-5)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    (states * weight)[inside].sum().backward()
    (expected * weight)[inside].sum().backward()
    same_gradients(ours, plain)


@pytest.mark.parametrize("name", NAMES)
def test_packed_documents_do_not_see_each_other(name: str) -> None:
    ours, plain = twins(name)
    draws = torch.Generator().manual_seed(3)
    documents = [[*torch.randint(1, VOCAB, (length,), generator=draws).tolist(), END] for length in (9, 4, 14, 3, 30)]
    packed = pack([Weighted(ids, [1] * len(ids)) for ids in documents], 32, END, VOCAB)
    ids = torch.from_numpy(packed.tokens[:, :-1].astype("int64"))
    states = separate(ids, END).hidden(ours)[: ids.numel()].unflatten(0, ids.shape)
    found = 0
    for document in documents:
        alone = torch.tensor([[END, *document[:-1]]])
        expected = plain.norm(plain.hidden(alone))[0]
        for row, column in (ids == END).nonzero().tolist():
            if ids[row, column : column + alone.shape[1]].tolist() == alone[0].tolist():
                torch.testing.assert_close(states[row, column : column + alone.shape[1]], expected, rtol=1e-4,
                                           atol=1e-5)
                found += 1
    assert found == len(documents)


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
    places.hidden(model.train())
    loads = [module.load_E for module in model.modules() if getattr(module, "load_E", None) is not None]
    active = next(module.moe.active for module in model.modules() if hasattr(module, "moe"))
    assert [int(load.sum()) for load in loads] == [places.size * active] * len(loads)


def test_a_place_knows_how_far_it_is_into_its_document() -> None:
    ids = torch.tensor([[END, 5, 6, END, 7, END, END, END]])
    places: Places = separate(ids, END)
    assert places.position[0].tolist() == [0, 1, 2, 0, 1, 0, 0, 0]
    assert sorted(bucket.shape for bucket in places.buckets) == [(1, 2), (1, 3), (3, 1)]

"""What a spec is said to cost is what the network has and does."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pocket import NAMES, pocket_spec, random_ids
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from dokja.models import native
from dokja.models.cost import (
    attention_flops,
    cache_bytes_per_token,
    forward_flops_per_token,
    parameters,
    training_flops_per_token,
    visible_positions,
)
from dokja.models.decoder import Decoder
from dokja.models.families import family
from dokja.models.spec import Indexer, LatentAttention, ModelSpec, Rope


def numbers_in(model: Decoder) -> int:
    """Parameters and router biases, tied ones once."""
    return sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))


def test_totals_are_the_published_ones() -> None:
    assert parameters(family("hyperclova-x-seed-think").spec).total == 14_748_112_896
    assert parameters(family("vaetki").spec).total == 112_191_900_672
    assert parameters(family("ax-k1").spec).total == 518_983_059_456
    assert parameters(family("solar-open").spec).total == 102_651_799_552


def test_k_exaone_is_the_published_trunk_and_mtp_layer() -> None:
    found = parameters(family("k-exaone").spec)
    assert found.total - found.mtp == 236_571_156_352
    assert found.mtp == 528_513_280


def test_active_parameters_are_the_published_ones() -> None:
    published = {
        "k-exaone": 23_668_285_312, "ax-k1": 32_779_332_608, "hyperclova-x-seed-think": 14_748_112_896,
        "vaetki": 10_270_313_472, "solar-open": 12_054_833_152,
    }
    assert {name: parameters(family(name).spec).active for name in published} == published


@pytest.mark.parametrize("name", NAMES)
def test_the_network_has_as_many_parameters_as_its_spec_says(name: str) -> None:
    with torch.device("meta"):
        for spec in (family(name).spec, pocket_spec(name), pocket_spec(name, total=2_000_000)):
            assert numbers_in(Decoder(spec)) == parameters(spec).total - spec.unused


@pytest.mark.parametrize("name", NAMES)
def test_the_cache_holds_as_many_bytes_as_its_spec_says(name: str) -> None:
    """For layers without a window; the cache here keeps all positions of a window layer, the cost only its window."""
    spec = pocket_spec(name)
    cache = Decoder(spec).new_cache(1, 32)
    for layer, kept in zip(spec.layers, cache, strict=True):
        alone = ModelSpec("one layer", spec.vocab, spec.width, (layer,), spec.context)
        expected = cache_bytes_per_token(alone, 32, bytes_per_value=4) * 32
        seen = min(32, layer.mixer.window or 32)
        assert (kept.k.nbytes + kept.v.nbytes) * seen / 32 == expected


@given(st.integers(1, 40), st.one_of(st.none(), st.integers(1, 60)))
def test_visible_positions_are_the_mean_row_of_the_mask(context: int, window: int | None) -> None:
    query, key = torch.arange(context)[:, None], torch.arange(context)
    mask = key <= query
    if window is not None:
        mask &= key > query - window
    assert visible_positions(window, context) == pytest.approx(mask.sum().item() / context)


@pytest.mark.parametrize("window", [None, 20])
def test_sparse_attention_costs_what_its_positions_cost_one_by_one(window: int | None) -> None:
    """A query scores all that it sees by the indexer's heads and attends to the best of them."""
    mixer = LatentAttention(3, 16, 8, 6, 4, 5, Rope(1e4), window=window, indexer=Indexer(heads=2, dim=8, top=7))
    expected = 0
    for position in range(50):
        seen = min(position + 1, window or 50)
        expected += seen * 2 * 2 * (8 + 1) + min(seen, 7) * 2 * 3 * (6 + 4 + 5)
    assert attention_flops(mixer, 50) == pytest.approx(expected / 50)


def test_forward_and_training_flops_are_those_that_pytorch_counts() -> None:
    """PyTorch counts attention over the whole T x T square; a causal model needs (T + 1) / 2 of each T positions, which
    is what the spec's number holds. All else agrees exactly, and backward is twice forward."""
    spec, length = pocket_spec("hyperclova-x-seed-think"), 48
    model, ids = Decoder(spec), random_ids(0, 2, length)
    # PyTorch's counter sees neither native kernels nor the fused attention of CPUs.
    with native.off(), sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as forward:
            logits = model(ids)
        with FlopCounterMode(display=False) as backward:
            logits.sum().backward()
    beyond_causal = sum(2 * 2 * layer.mixer.heads * layer.mixer.head_dim * (length - (length + 1) / 2)
                        for layer in spec.layers)
    per_token = forward.get_total_flops() / ids.numel()
    assert per_token == forward_flops_per_token(spec, length) + beyond_causal
    assert backward.get_total_flops() == 2 * forward.get_total_flops()
    assert training_flops_per_token(spec, length) == 3 * forward_flops_per_token(spec, length)


@pytest.mark.parametrize("name", NAMES)
def test_flops_grow_with_the_context_and_with_mtp(name: str) -> None:
    spec = family(name).spec
    assert forward_flops_per_token(spec, 4096) < forward_flops_per_token(spec, 8192)
    # 2 FLOPs a parameter met, the embedding table being looked up and not multiplied, plus attention.
    met = parameters(spec).active - (0 if spec.tied else spec.vocab * spec.width)
    assert forward_flops_per_token(spec, 1) == pytest.approx(2 * met, rel=1e-3)
    assert (forward_flops_per_token(spec, 4096, mtp=True) > forward_flops_per_token(spec, 4096)) is bool(spec.mtp)

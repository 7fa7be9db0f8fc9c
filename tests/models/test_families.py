"""Every family file: official totals to the unit, config.json there and back, names that are unique."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from dokja.models.checkpoint.layout import places
from dokja.models.cost import parameters
from dokja.models.decoder import Decoder
from dokja.models.families import FAMILIES, Family, Release, release
from dokja.models.spec import MLP, LatentAttention, MoE

RELEASES = [pytest.param(found, one, id=one.spec.name) for found in FAMILIES.values() for one in found.releases]


@pytest.mark.parametrize(("found", "one"), RELEASES)
def test_the_total_is_the_published_one(found: Family, one: Release) -> None:
    if one.total is None:
        pytest.skip("no total was published to the unit")
    assert parameters(one.spec).total == one.total


@pytest.mark.parametrize(("found", "one"), RELEASES)
def test_config_json_says_all_of_the_spec(found: Family, one: Release) -> None:
    layout = found.checkpoint
    assert layout is not None
    config = {"model_type": layout.model_types[0], **layout.write(one.spec)}
    with torch.device("meta"):
        tensors = places(Decoder(one.spec).state_dict(), one.spec, layout.names)
    assert replace(layout.read(config, tensors), name=one.spec.name, unused=one.spec.unused) == one.spec


def test_names_are_unique() -> None:
    names = [one.spec.name for found in FAMILIES.values() for one in found.releases]
    assert len(set(names)) == len(names)
    assert not set(names) & set(FAMILIES)


@pytest.mark.parametrize("name", ["vaetki-20b-a2b", "vaetki-7b-a1b"])
def test_the_total_leaves_one_choice_of_the_widths_that_no_report_gives(name: str) -> None:
    """Of all widths and latents in steps of 64 and experts in steps of 32, given what NC AI's report tells, the sizes
    of heads, and a dense feed-forward as wide as the experts that a token meets."""
    _, one = release(name)
    found, moe, depth = one.spec.layers[0].mixer, one.spec.layers[-1].ffn, len(one.spec.layers)
    assert isinstance(found, LatentAttention)
    assert isinstance(moe, MoE)
    heads, met = found.heads, moe.active + moe.shared
    choices = []
    for width, q_rank, kv_rank in itertools.product(range(512, 4097, 64), range(128, 2049, 64), range(64, 1025, 64)):
        attention = (width * q_rank + q_rank * heads * (128 + 64) + width * (kv_rank + 64)
                     + kv_rank * heads * (128 + 128) + heads * 128 * width + q_rank + kv_rank)
        routers, norms = (depth - 1) * width * moe.experts, (4 * depth + 1) * width
        left = (one.total or 0) - 2 * 137_216 * width - depth * attention - routers - norms
        expert, rest = divmod(left, 3 * width * (met + (depth - 1) * (moe.experts + moe.shared)))
        if rest == 0 and expert > 0 and expert % 32 == 0:
            choices.append((width, q_rank, kv_rank, expert))
    assert choices == [(one.spec.width, found.q_rank, found.kv_rank, moe.width)]
    assert one.spec.layers[0].ffn == MLP(width=met * moe.width)

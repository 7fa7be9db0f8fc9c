"""Every family file: official totals to the unit, config.json there and back, names that are unique."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dokja.models.checkpoint.layout import places
from dokja.models.cost import parameters
from dokja.models.decoder import Decoder
from dokja.models.families import FAMILIES, Family, Release

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

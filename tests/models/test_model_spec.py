"""A spec is plain data: it survives JSON, and what it does not know it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pocket import NAMES, pocket_spec

from dokja.errors import DokjaError
from dokja.models.families import family
from dokja.models.spec import MLP, Indexer, LatentAttention, ModelSpec, Rope


@pytest.mark.parametrize("name", NAMES)
def test_specs_survive_json(name: str) -> None:
    for spec in (family(name).spec, pocket_spec(name)):
        back = ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
        assert back == spec
        assert hash(back) == hash(spec)
        assert back.unverified == spec.unverified


def _changed(change: dict[str, Any], *path: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(json.dumps(pocket_spec("k-exaone").to_dict()))
    part: Any = data
    for step in path:
        part = part[step]
    part |= change
    return data


@pytest.mark.parametrize("path", [(), ("layers", 0), ("layers", 0, "mixer"), ("layers", 0, "mixer", "rope"),
                                  ("layers", 1, "ffn"), ("layers", 1, "ffn", "router")])
def test_an_unknown_field_fails_by_name(path: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="colour"):
        ModelSpec.from_dict(_changed({"colour": "green"}, *path))


def test_an_unknown_part_fails_by_name() -> None:
    with pytest.raises(ValueError, match="Mamba"):
        ModelSpec.from_dict(_changed({"type": "Mamba"}, "layers", 0, "mixer"))


@pytest.mark.parametrize("data", [{}, [], {"type": "Rope", "theta": 1.0}, {"type": "ModelSpec", "name": "x"}, "x",
                                  None])
def test_what_is_no_spec_fails(data: Any) -> None:
    with pytest.raises(ValueError, match=r"model spec|ModelSpec"):
        ModelSpec.from_dict(data)


def test_an_unknown_team_is_told_which_there_are() -> None:
    with pytest.raises(DokjaError, match=r"gpt-5.*k-exaone.*ax-k1.*hyperclova-x-seed-think.*vaetki.*solar-open"):
        family("gpt-5")


@pytest.mark.parametrize("part", [{"gate": True}, {"indexer": Indexer(2, 8, 4)}])
def test_what_reads_the_latent_of_the_queries_needs_one(part: dict[str, Any]) -> None:
    with pytest.raises(DokjaError, match="give q_rank"):
        LatentAttention(2, None, 8, 8, 4, 8, Rope(1e4), **part)


def test_the_clamped_activation_needs_a_gate() -> None:
    """There is no formula for it without one, and none is put in its place."""
    with pytest.raises(DokjaError, match="without a gate has no clamped_silu: choose silu or gelu_tanh"):
        MLP(8, "clamped_silu", gated=False)
    assert MLP(8, "clamped_silu").gated
    with pytest.raises(DokjaError, match="clamped_silu"):
        ModelSpec.from_dict(_changed({"activation": "clamped_silu", "gated": False}, "layers", 0, "ffn"))

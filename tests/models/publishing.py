"""A pocket model in a published folder."""

from __future__ import annotations

from pathlib import Path

import torch
from pocket import pocket_model

import dokja
from dokja.models.families import family

CONFIG = "config.json"


def published(path: Path, name: str = "k-exaone", **options: int) -> dokja.Model:
    """A pocket model of a family in a published folder, several shards of it."""
    model = dokja.Model(pocket_model(name), family=family(name), stop=(3, 5))
    dokja.save(model, path, **{"shard_bytes": 300_000, **options})
    return model


def equal(one: dokja.Model, other: dokja.Model) -> bool:
    mine, theirs = one.decoder.state_dict(), other.decoder.state_dict()
    return list(mine) == list(theirs) and all(torch.equal(mine[name], theirs[name]) for name in mine)

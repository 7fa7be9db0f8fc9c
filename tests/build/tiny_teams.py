"""The smallest teams that train: every family, a few thousand parameters, random data."""

from __future__ import annotations

import numpy as np

from dokja.build.packing import Sequences
from dokja.build.schedule import Schedule
from dokja.build.train import NextToken, NextTokenConfig, TrainConfig, Trainer
from dokja.models.families import FAMILIES
from dokja.models.scaling import scaled
from dokja.models.spec import ModelSpec

NAMES = list(FAMILIES)
TEAMS = NAMES[:5]  # the programme's: those that a season trains
VOCAB, CONTEXT = 96, 32


def tiny_spec(name: str) -> ModelSpec:
    """A family at about 60,000 parameters; windows see 4 tokens."""
    return scaled(FAMILIES[name].spec, 60_000, context=CONTEXT, vocab=VOCAB)


def tiny_data(seed: int = 0, count: int = 40) -> Sequences:
    """Sequences with something to learn: each token is the one before it plus a step that the sequence keeps. A token
    counts up to three times, or not at all."""
    draws = np.random.Generator(np.random.PCG64(seed))
    start, step = draws.integers(VOCAB, size=(count, 1)), draws.integers(1, 4, size=(count, 1))
    tokens = (start + step * np.arange(CONTEXT + 1)) % VOCAB
    return Sequences(tokens.astype(np.uint16), draws.integers(4, size=tokens.shape, dtype=np.uint8))


def trainer(name: str, *, seed: int = 3, data: Sequences | None = None, loss: NextTokenConfig | None = None,
            spec: ModelSpec | None = None, **config: object) -> Trainer:
    """A run of two stages of 6 and 10 steps."""
    return Trainer(spec or tiny_spec(name), NextToken(data or tiny_data(), loss or NextTokenConfig(batch=4), seed),
                   TrainConfig(seed=seed, **config), Schedule(ends=(6, 16), warmup=3))  # type: ignore[arg-type]

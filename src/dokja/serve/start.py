"""Models made ready to answer: loaded, their weights packed, given memory for what they keep of prompts and answers."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from ..errors import DokjaError
from ..models.loading import load, locate
from ..models.model import Model
from ..models.spec import ModelSpec
from .engine.engine import Engine
from .engine.lora import Adapters
from .engine.pages import PAGE, kinds_of
from .engine.sizing import Limits, page_totals
from .engine.types import TokenEngine
from .local import LocalService
from .memory import check_fits, free_memory, gibi
from .quantise import prepare
from .weights import Kind

log = logging.getLogger("dokja.serve")
Speculate = Literal["mtp", "ngram", "off"]
_SHARE = 0.5  # of the free memory, for the cache, where nothing else is said
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}


@dataclass(frozen=True)
class Setup:
    """How to run models. weights: what they are kept as. kv_memory: bytes of cache a model; None is what `batch`
    requests of full length take, within half of the free memory. batch: requests that run at once; queue: that wait.
    context: of prompt and answer together, None the model's own, as for more. loras: folders of the first model's
    adapters, by name. speculate: what drafts tokens; None is the MTP layer of a model that has one, n-grams else.
    """

    weights: Kind = "fp32"
    kv_memory: int | None = None
    batch: int = 32
    queue: int = 256
    context: int | None = None
    loras: Mapping[str, Path] = field(default_factory=dict)
    speculate: Speculate | None = None


def read_size(text: str, option: str) -> int:
    """Bytes of 512MiB, 2G, 1.5 GiB; DokjaError, naming the option, for what is no size or nothing."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?\s*", text.lower())
    if found is None:
        raise DokjaError(f"{option} {text!r} is no size: write it as 512MiB or 2GiB")
    size = int(float(found[1]) * _UNITS[found[2]])
    if not size:
        raise DokjaError(f"{option} {text!r} is nothing: give more, as 512MiB or 2GiB")
    return size


def read_models(sources: Sequence[str], names: Sequence[str], setup: Setup) -> dict[str, Model]:
    """Models by name (`named`), loaded; DokjaError for one that memory does not hold."""
    loaded = {}
    for name, source in named(sources, names).items():
        path = locate(source)
        check_fits(name, path, setup.weights)
        loaded[name] = load(path, dtype=torch.float32 if setup.weights == "fp32" else None)
    return loaded


def named(sources: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """What `models.loading.load` takes, by name. names: for the first sources; others have their folder's or file's.

    DokjaError for two of one name.
    """
    if len(names) > len(sources):
        raise DokjaError(f"{len(names)} names were given for {len(sources)} models: give one --name a model, in order")
    chosen = [*names, *(name_of(source) for source in sources[len(names):])]
    if len(set(chosen)) < len(chosen):
        chosen = [*names, *("-".join(Path(source).parts[-2:]) for source in sources[len(names):])]
    if len(set(chosen)) < len(chosen):
        raise DokjaError(f"two of the models have the same name: {', '.join(sources)}; give each one with --name")
    return dict(zip(chosen, sources, strict=True))


def name_of(source: str) -> str:
    """What a model is called that nobody named: its folder, a season's team, its file, or its name on the hub."""
    path = Path(source)
    if not path.exists():
        return source
    path = path.resolve()
    return path.parent.name if path.name.startswith("stage-") else path.stem if path.is_file() else path.name


def start(models: Mapping[str, Model], setup: Setup | None = None) -> LocalService:
    """A service over engines for these models, whose decoders it takes over; DokjaError where memory does not do."""
    setup = setup or Setup()
    engines: dict[str, TokenEngine] = {}
    for name, model in models.items():
        if taken := sorted(set(setup.loras) & set(models)):
            raise DokjaError(f"an adapter and a model are both called {taken[0]}: give the adapter another name")
        if setup.speculate == "mtp" and not model.spec.mtp:
            raise DokjaError(f"{name} has no MTP layer to draft with: leave --speculate out, or choose ngram")
        adapters = Adapters(model, setup.loras) if setup.loras and not engines else None  # read before it is prepared
        prepare(model.decoder, setup.weights)
        engine = Engine(model, limits_of(model, setup, name), queue=setup.queue, speculate=setup.speculate != "off",
                        adapters=adapters)
        engine.warm()
        engines[name] = engine
    return LocalService(engines, dict.fromkeys(setup.loras, next(iter(engines), "")))


def context_of(spec: ModelSpec, wanted: int | None, name: str) -> int:
    """The context that a model is served with: what was asked for, or the model's own, which the log says of more."""
    if wanted is not None and wanted > spec.context:
        log.warning("--context %s is more than the %s tokens that %s was made for: it is served with these",
                    f"{wanted:,}", f"{spec.context:,}", name)
    return min(wanted or spec.context, spec.context)


def limits_of(model: Model, setup: Setup, name: str) -> Limits:
    """The most tokens whose pages fit the cache's memory, and no more than `batch` requests of full length take."""
    context = context_of(model.spec, setup.context, name)
    memory = setup.kv_memory if setup.kv_memory is not None else int(free_memory() * _SHARE)
    size = model.decoder.embedding.weight.element_size()
    mtp = bool(model.spec.mtp) and setup.speculate in (None, "mtp")
    kinds = kinds_of(model.spec, mtp=mtp)

    def taken(context: int, tokens: int) -> int:
        totals = page_totals(kinds, Limits(context, tokens, setup.batch, mtp=mtp))
        return sum(total * kind.page_values * size for total, kind in zip(totals, kinds, strict=True))

    if setup.context is None and taken(context, context) > memory:  # the longest context that fits
        context = _most(lambda tokens: taken(tokens, tokens) <= memory, context)
    least = min(setup.context or 2 * PAGE, model.spec.context)
    if context < least or taken(context, context) > memory:
        raise DokjaError(f"the cache of {name} needs {gibi(taken(least, least))} for a context of {least:,} tokens and "
                         f"may take {gibi(memory)}: allow more with --kv-memory, or give less --context or --max-batch")
    tokens = _most(lambda tokens: taken(context, tokens) <= memory, setup.batch * context)
    return Limits(context, max(tokens, context), setup.batch, mtp=mtp)


def _most(fits: Callable[[int], bool], limit: int) -> int:
    """The largest number up to `limit` that fits, by bisection; 0 if none does."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low

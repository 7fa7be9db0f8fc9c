"""Models made ready to answer: loaded, quantised, given memory for what they keep of prompts and answers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import DokjaError
from ..models.model import Model
from .engine.engine import Engine
from .engine.pages import PAGE, kinds_of
from .engine.sizing import Limits, page_totals
from .local import LocalService

Weights = Literal["fp32", "int8", "int4"]
Speculate = Literal["mtp", "ngram", "off"]
_SHARE = 0.5  # of the free memory, for the cache, where nothing else is said


@dataclass(frozen=True)
class Setup:
    """How to run models. kv_memory: bytes of cache a model; None is what `batch` requests of full length take, within
    half of the free memory. batch: requests that run at once; queue: that wait. context: of prompt and answer
    together, None the model's own.
    """

    kv_memory: int | None = None
    batch: int = 32
    queue: int = 256
    context: int | None = None


def start(models: Mapping[str, Model], setup: Setup | None = None) -> LocalService:
    """A service over engines for these models; DokjaError where memory does not suffice."""
    setup = setup or Setup()
    return LocalService({name: Engine(model, limits_of(model, setup, name), queue=setup.queue)
                         for name, model in models.items()})


def limits_of(model: Model, setup: Setup, name: str) -> Limits:
    """The most tokens whose pages fit the cache's memory, and no more than `batch` requests of full length take."""
    context = min(setup.context or model.spec.context, model.spec.context)
    memory = setup.kv_memory if setup.kv_memory is not None else int(_free_memory() * _SHARE)
    size = model.decoder.embedding.weight.element_size()
    kinds = kinds_of(model.spec)

    def taken(context: int, tokens: int) -> int:
        limits = Limits(context, tokens, setup.batch)
        totals = page_totals(kinds, limits)
        return sum(total * kind.page_values * size for total, kind in zip(totals, kinds, strict=True))

    if taken(context, context) > memory and setup.context is None:  # the longest context that fits
        context = _most(lambda tokens: taken(tokens, tokens) <= memory, context)
    if context < min(model.spec.context, 2 * PAGE) or taken(context, context) > memory:
        need = taken(setup.context or min(model.spec.context, 2 * PAGE), PAGE)
        raise DokjaError(f"the cache of {name} needs {_mebi(need)} MiB at least and may take {_mebi(memory)} MiB: "
                         "allow more with --kv-memory, or less context with --context")
    tokens = _most(lambda tokens: taken(context, tokens) <= memory, setup.batch * context)
    return Limits(context, max(tokens, context), setup.batch)


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


def _free_memory() -> int:
    """Bytes that may be taken without swapping, as far as the system tells."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _mebi(size: int) -> str:
    return f"{-(-size // 2**20):,}"

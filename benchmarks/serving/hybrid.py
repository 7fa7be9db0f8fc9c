"""Hybrid attention at 32K: what the cache holds against the spec's arithmetic, and what a decode step costs there.

Memory is that of the official models: their sequences are scheduled, without weights, to 32K as the engine schedules
them. Time is that of one sliding-window layer of official shape, int8; of a mixture only the experts that one token
meets are made.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from typing import Any

from bars import Bar, at_most

from dokja.models.cost import cache_numbers
from dokja.models.decoder import Decoder
from dokja.models.families import family
from dokja.models.init import initialise
from dokja.models.spec import ModelSpec, MoE
from dokja.serve.engine.pages import Pages, kinds_of
from dokja.serve.engine.runner import Runner
from dokja.serve.engine.scheduler import Scheduler, Sequence, Work
from dokja.serve.engine.sizing import Limits, page_totals
from dokja.serve.engine.types import Request, SamplingParams
from dokja.serve.quantise import prepare

FAMILIES = ("k-exaone", "exaone-4", "vaetki")
SHORT, LONG = 1024, 32_768
STEPS = 20


def run(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], list[Bar]]:
    """Bytes and times of each family, and their bars."""
    rows: list[dict[str, Any]] = []
    bars: list[Bar] = []
    print(f"\n{'at 32K':16s}{'KV MiB':>9s}{'by the spec':>13s}{'window layer ms':>17s}{'at 1K':>8s}{'ratio':>7s}")
    for name in FAMILIES:
        spec = family(name).spec
        held, told = _held(spec), 4 * cache_numbers(spec, LONG)
        times = _times(spec, arguments.rounds)
        ratio = statistics.median(long / short for short, long in zip(*times, strict=True))
        short, long = (1000 * statistics.median(one) for one in times)
        print(f"{name:16s}{held / 2**20:9.0f}{told / 2**20:13.0f}{long:17.2f}{short:8.2f}{ratio:7.2f}")
        rows.append({"family": name, "bytes": held, "spec": told, "short": times[0], "long": times[1], "ratio": ratio})
        bars += [at_most(f"{name}, KV bytes at 32K, share off the spec's", abs(held / told - 1), 0.03),
                 at_most(f"{name}, a sliding-window layer's decode at 32K against 1K", ratio, 1.3)]
    return rows, bars


def _scheduler(spec: ModelSpec) -> Scheduler:
    """With pages for one sequence of each length."""
    limits, kinds = Limits(LONG + 512, LONG + SHORT + 512, rows=2), kinds_of(spec)
    pages = Pages(kinds, page_totals(kinds, limits), limits.rows, limits.context)
    return Scheduler(pages, rows=limits.rows, budget=limits.budget)


def _arrive(scheduler: Scheduler, length: int) -> Work:
    """Schedule a sequence up to its last token, in chunks as the engine takes them; the step that computes it."""
    sequence = Sequence(length, Request(str(length), (0,), SamplingParams()), [0] * length, None)
    scheduler.add(sequence)
    while sequence.computed < length - 1:
        works = scheduler.plan()
        scheduler.advance(works)
        scheduler.trim(works)
    return next(work for work in scheduler.plan() if work.sequence is sequence)


def _held(spec: ModelSpec) -> int:
    """Bytes of float32 in pages when the last of 32K tokens is computed."""
    scheduler = _scheduler(spec)
    _arrive(scheduler, LONG)
    return 4 * scheduler.pages.values


def _times(spec: ModelSpec, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of a decode step through one sliding-window layer at 1K and at 32K, by round."""
    layer = next(layer for layer in spec.layers if layer.mixer.window)
    if isinstance(layer.ffn, MoE):
        layer = replace(layer, ffn=replace(layer.ffn, experts=layer.ffn.active))
    alone = replace(spec, vocab=512, layers=(layer,), mtp=(), skips=(), unused=0)
    decoder = Decoder(alone)
    initialise(decoder, 1)
    prepare(decoder, "int8")
    scheduler = _scheduler(alone)
    runner = Runner(decoder, scheduler.pages, LONG + 512)
    for entries in runner.cache.layers[0].tensors:
        entries.normal_()  # pages never written would all be one page of zeros to the processor
    works = [_arrive(scheduler, length) for length in (SHORT, LONG)]
    found: tuple[list[float], list[float]] = ([], [])
    for counted in range(-1, rounds):
        for times, work in zip(found, works, strict=True):
            start = time.perf_counter()
            for _ in range(STEPS):
                runner.run([work])
            if counted >= 0:
                times.append((time.perf_counter() - start) / STEPS)
    return found

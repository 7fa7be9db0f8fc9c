"""Bits per byte of held-out Korean after the same wall-clock, and what each of our choices does for it.

Everybody reads the same text with the same tokenizer on the same shape. A contestant first trains for a quarter of the
time with each of three learning rates, and with further ones, by factors of two, while the best is at an end; then in
full with the best. The clock starts after two steps (compilers).
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

from bars import Bar, at_least
from contestants import Contestant
from shapes import RACE, SMALL


def our_rates(muon: float) -> dict[str, Any]:
    return {"optim": {"muon_lr": muon, "adam_lr": 1.2 * muon, "embedding_lr": 40 * muon}}


OURS: dict[str, Any] = {
    "muon": True, "fitted": True, "schedule": "wsd", **our_rates(0.005),
    "loss": {"z_weight": 1e-4}, "spec": {"qk_norm": True}}
# Where each begins to look, and how it takes a rate: Muon's, nanochat's own times so much, AdamW's.
RATES: dict[str, tuple[float, Callable[[float], dict[str, Any]]]] = {
    "dokja": (0.005, our_rates),
    "nanochat": (4.0, lambda rate: {"rate": rate}),
    "transformers": (2e-3, lambda rate: {"learning": {"lr": rate}})}
TRIES = 6  # at most
MODES = {"dokja": ("native",), "nanochat": ("eager", "compile"), "transformers": ("eager", "compile")}
BASE = {"dokja": OURS, "nanochat": {"recipe": True}, "transformers": {}}
PROBE = 6  # steps to find out which mode is faster

# Each of our choices off, one at a time; what is named replaces that part of the recipe.
ABLATIONS: dict[str, dict[str, Any]] = {
    "all choices": {},
    "AdamW for Muon": {"muon": False, "optim": {"adam_lr": 0.004}},
    "cosine for WSD": {"schedule": "cosine"},
    "constant rate for WSD": {"schedule": "constant"},
    "end to end for fitted sequences": {"fitted": False},
    "no z-loss": {"loss": {"z_weight": 0.0}},
    "no QK-norm": {"spec": {"qk_norm": False}},
    "no rate of the embedding's own": {"optim": {**OURS["optim"], "embedding_lr": None}},
    "one MTP layer": {"spec": {**OURS["spec"], "mtp": 1}},
    "tied embeddings": {"spec": {**OURS["spec"], "tied": True}},
}


def shape_of(arguments: argparse.Namespace) -> dict[str, Any]:
    return SMALL if arguments.small else RACE


def job_of(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    shape = shape_of(arguments)
    files = arguments.files / str(shape["context"])
    return {"tokens": str(files / "tokens.npy"), "packed": str(files / "packed.npz"),
            "heldout": str(files / "heldout.npz"), "shape": shape, "batch": arguments.batch,
            "seed": seed, "threads": arguments.threads, "cpu_time": arguments.cpu_time}


def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Bar]]:
    """The race: probe modes, try learning rates, train in full; the table and the bars."""
    figures: dict[str, Any] = {}
    found: dict[str, float] = {}
    print(f"\nbits per byte after {arguments.seconds:.0f} s each on {arguments.threads} threads: {shape_of(arguments)}")
    for peer, (middle, options) in RATES.items():
        if arguments.only and peer not in arguments.only.split(","):
            continue
        mode, reason = _fastest(arguments, peer)
        if not mode:
            print(f"{peer:13s} not measured: {reason}")
            figures[peer] = {"absent": reason}
            continue
        tries: dict[float, float] = {}
        todo = [middle / 2, middle, middle * 2]
        while todo and len(tries) < TRIES:
            rate = todo.pop(0)
            result = _train(arguments, peer, mode, options(rate), arguments.seconds / 4, 1)
            tries[rate] = result["bpb"] if result else float("inf")
            best = min(tries, key=tries.__getitem__)
            if not todo and best in (min(tries), max(tries)):
                todo = [best / 2 if best == min(tries) else best * 2]
        result = _train(arguments, peer, mode, options(best), arguments.seconds, 1)
        figures[peer] = {"mode": mode, "tries": tries, "rate": best}
        if result is None:
            print(f"{peer:13s} not measured: it did not end")
            continue
        found[peer] = result["bpb"]
        steps, seconds = len(result["seconds"]) + 1, sum(result["cpu" if arguments.cpu_time else "seconds"])
        tokens = steps * arguments.batch * shape_of(arguments)["context"]
        figures[peer] |= {"bpb": result["bpb"], "steps": steps, "tokens": tokens, "seconds": seconds,
                          "parameters": result["parameters"]}
        print(f"{peer:13s} {result['bpb']:.4f} bits/byte  {steps} steps, {tokens / 1e6:.2f} M tokens in "
              f"{seconds:.0f} s ({mode}; rate {best:g} of "
              f"{', '.join(f'{rate:g}: {bpb:.4f}' for rate, bpb in sorted(tries.items()))})", flush=True)
    none = float("nan")
    ours = found.get("dokja", none)
    return figures, [
        at_least("bits per byte, nanochat's over ours after the same time", found.get("nanochat", none) / ours, 1.0),
        at_least("bits per byte, a plain AdamW transformers run's over ours", found.get("transformers", none) / ours,
                 1 / 0.9)]


def ablations(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Bar]]:
    """Each choice off, over three seeds; mean and spread."""
    seconds = arguments.ablation_seconds
    print(f"\nour choices one at a time, {seconds:.0f} s each, {arguments.seeds} seeds, bits per byte", flush=True)
    table: dict[str, list[float]] = {}
    wanted = [name for name in ABLATIONS if not arguments.choices or name in arguments.choices.split(",")]
    for seed in range(1, arguments.seeds + 1):
        for name in wanted:
            result = _train(arguments, "dokja", "native", ABLATIONS[name], seconds, seed)
            if result:
                table.setdefault(name, []).append(result["bpb"])
    base = table.get("all choices", [])
    for name, values in table.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        pairs = [value - other for value, other in zip(values, base, strict=False)]
        change = f"{statistics.fmean(pairs):+.4f}" if pairs else ""
        print(f"{name:34s} {statistics.fmean(values):.4f} +- {spread:.4f}  {change}")
    return {"seconds": seconds, "bpb": table}, []


def _fastest(arguments: argparse.Namespace, peer: str) -> tuple[str, str]:
    """Its fastest mode, and why it has none."""
    times, reason = {}, ""
    for mode in MODES[peer]:
        one = Contestant(peer, mode, options=BASE[peer])
        if len(MODES[peer]) == 1:
            return (mode, "") if one.python(arguments.peers) else ("", "no environment")
        job = {**job_of(arguments, 1), "heldout": None, "steps": PROBE}
        if one.run(job, arguments.peers, 900.0):
            times[mode] = one.step(3, "cpu" if arguments.cpu_time else "seconds")
        reason = one.absent
    return (min(times, key=times.__getitem__), "") if times else ("", reason)


def _train(arguments: argparse.Namespace, peer: str, mode: str, options: dict[str, Any], seconds: float,
           seed: int) -> dict[str, Any] | None:
    one = Contestant(peer, mode, options={**BASE[peer], **options})
    result = one.run({**job_of(arguments, seed), "seconds": seconds}, arguments.peers, seconds + 900.0)
    if result is None:
        print(f"{one.name}: {one.absent}")
    return result

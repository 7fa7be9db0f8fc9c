"""Tokens a second of everybody on one dense shape and on one mixture of experts."""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from bars import Bar, at_least
from contestants import Contestant, Limit
from shapes import DENSE, MIXTURE, flops_per_token

WARM = 4  # steps that are not counted
TIMEOUT = 900.0  # seconds, a compiler's included


def dense_contestants() -> list[Contestant]:
    """In float32 everybody in both modes; in bfloat16 those who can, as it comes."""
    peers = ("transformers", "litgpt", "olmo", "nanochat")
    ours = [Contestant("dokja", mode) for mode in ("native", "plain", "compile")]
    half = [Contestant(peer, "native" if peer == "dokja" else "eager", "bf16") for peer in ("dokja", *peers)]
    return [*ours, *(Contestant(peer, mode) for peer in peers for mode in ("eager", "compile")), *half]


def mixture_contestants() -> list[Contestant]:
    """transformers with each of its implementations of experts; its batched_mm copies the weights of every token's
    experts, which is 10 GB here, and is left out."""
    ours = [Contestant("dokja", mode) for mode in ("native", "plain", "compile")]
    return [*ours, *(Contestant("transformers", mode, options={"experts": experts}, note=experts)
                     for experts in ("eager", "grouped_mm") for mode in ("eager", "compile")),
            Contestant("dokja", "native", "bf16"), Contestant("transformers", "eager", "bf16", note="grouped_mm",
                                                              options={"experts": "grouped_mm"})]


def run(arguments: argparse.Namespace, kind: str) -> tuple[dict[str, Any], list[Bar]]:
    """Measure in turn, round after round; print the table; the bars."""
    shape = DENSE if kind == "dense" else MIXTURE
    everybody = dense_contestants() if kind == "dense" else mixture_contestants()
    everybody = [one for one in everybody if not arguments.only or one.peer in arguments.only.split(",")]
    clock = "cpu" if arguments.cpu_time else "seconds"
    now = time.process_time if arguments.cpu_time else time.perf_counter
    limits = {"fp32": Limit(torch.float32, now), "bf16": Limit(torch.bfloat16, now)}
    files = arguments.files / str(shape["context"])
    job = {"tokens": str(files / "tokens.npy"), "shape": shape, "batch": arguments.batch,
           "steps": arguments.steps, "seed": 1, "threads": arguments.threads,
           "options": {"raw": str(files / "tokens.bin")}}
    for turn in range(arguments.rounds):
        for one in everybody:
            if one.absent or (turn and one.precision == "bf16"):
                continue
            for limit in limits.values():
                limit.look()
            one.run(job, arguments.peers, TIMEOUT)
            print(".", end="", flush=True)
    for limit in limits.values():
        limit.look()
    tokens = arguments.batch * shape["context"]
    bound = limits["fp32"].flops
    print(f"\n\n{kind}: {shape}, batch {arguments.batch}, AdamW; matrix products reach {bound / 1e9:.0f} GFLOP/s "
          f"(float32) and {limits['bf16'].flops / 1e9:.0f} (bfloat16) on {arguments.threads} threads")
    print(f"{'contestant':38s} {'tokens/s':>9s}  {'slowest to fastest':>19s}  {'GFLOP/s':>8s}  {'of limit':>8s}  "
          f"{'GB':>4s}  last loss")
    rates: dict[str, float] = {}
    rows = []
    for one in everybody:
        if not one.results:
            print(f"{one.name:38s} not measured: {one.absent}")
            rows.append(one.facts())
            continue
        last = one.results[-1]
        flops = flops_per_token(shape, last.get("matrices"))
        rate = rates[one.name] = tokens / one.step(WARM, clock)
        fast, slow = (tokens / seconds for seconds in one.spread(WARM, clock))
        share = rate * flops / limits[one.precision].flops
        loss = last["losses"][-1] if last["losses"] else float("nan")
        print(f"{one.name:38s} {rate:9.0f}  {slow:8.0f} to {fast:7.0f}  {rate * flops / 1e9:8.1f}  {share:8.1%}  "
              f"{last['gigabytes']:4.1f}  {loss:.3f}")
        rows.append({**one.facts(), "tokens/s": rate, "rounds": [fast, slow], "flops/token": flops, "share": share,
                     "loss": loss})
    figures = {"shape": shape, "batch": arguments.batch, "limit": {name: limit.flops for name, limit in limits.items()},
               "rows": rows}
    return figures, bars(kind, everybody, rates, shape, bound)


def bars(kind: str, everybody: list[Contestant], rates: dict[str, float], shape: dict[str, Any],
         bound: float) -> list[Bar]:
    """What issue and documents promise; what was not measured is short."""
    none = float("nan")
    ours = max((rates[one.name] for one in everybody
                if one.peer == "dokja" and one.precision == "fp32" and one.name in rates), default=none)
    share = ours * flops_per_token(shape) / bound

    def best(mode: str | None) -> float:
        return max((rates[one.name] for one in everybody if one.name in rates and one.peer != "dokja"
                    and one.precision == "fp32" and mode in (None, one.mode)), default=none)

    if kind == "dense":
        missing = sorted({one.name for one in everybody
                          if not one.results and one.peer != "dokja" and one.precision == "fp32"})
        said = f" (not measured: {', '.join(missing)})" if missing else ""
        return [at_least("dense training, share of the fp32 GEMM limit", share, 0.85),
                at_least(f"dense tokens/s against the fastest peer, compiled or not{said}", ours / best(None), 1.0),
                at_least(f"dense tokens/s against the fastest eager peer{said}", ours / best("eager"), 1.1)]
    return [at_least("mixture training, share of the fp32 GEMM limit", share, 0.5),
            at_least("mixture tokens/s against transformers at its fastest", ours / best(None), 2.0)]

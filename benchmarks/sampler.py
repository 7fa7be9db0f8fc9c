"""What choosing tokens costs at batch 32: `python benchmarks/sampler.py` (milliseconds a step, by settings), and with
a model's folder the share that everything but the network takes of a step of the engine.

Logits are random with a few likely tokens, as a model's are; the vocabulary is Gemma's, the largest of all families.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

import dokja
from dokja.serve.engine import core as engine_core
from dokja.serve.engine.sampler import Counts, Logits, Row, sample
from dokja.serve.engine.sizing import Limits
from dokja.serve.engine.speculate import Speculator
from dokja.serve.engine.types import Request, SamplingParams
from dokja.serve.quantise import prepare

BATCH, VOCAB = 32, 262_144
SETTINGS = {
    "greedy": SamplingParams(temperature=0.0),
    "temperature 1": SamplingParams(),
    "top_k 50": SamplingParams(top_k=50),
    "top_p 0.95": SamplingParams(top_p=0.95),
    "top_k, top_p, min_p": SamplingParams(temperature=0.7, top_k=50, top_p=0.9, min_p=0.02),
    "penalties": SamplingParams(repetition_penalty=1.1, presence_penalty=0.5),
    "grammar mask": SamplingParams(),
    "logprobs 5": SamplingParams(temperature=0.0, logprobs=5),
}


def median_ms(work: Callable[[], Any], times: int = 9) -> float:
    work()
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return 1000 * statistics.median(taken)


def by_settings() -> dict[str, float]:
    """Milliseconds of one step of the sampler."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(BATCH, VOCAB, generator=generator) * 2
    likely = torch.randint(VOCAB, (BATCH, 40), generator=generator)
    logits.scatter_add_(1, likely, torch.linspace(18, 8, 40).expand(BATCH, -1))
    mask = np.packbits(np.random.default_rng(0).random(VOCAB) < 0.3, bitorder="little")
    counts = Counts(range(0, 40_000, 40))
    for token in range(0, 9000, 30):
        counts.add(token)
    out = {}
    for name, its in SETTINGS.items():
        rows = [Row(replace(its, seed=i), 5, counts, mask=mask if "mask" in name else None) for i in range(BATCH)]
        out[name] = median_ms(lambda rows=rows: sample(Logits(logits), rows))
    return out


def share_of_step(folder: str, weights: str, sampling: SamplingParams) -> dict[str, float]:
    """Milliseconds of a step that decodes 32 sequences: the network, the sampler, and all the rest of the engine."""
    model = dokja.load(folder, dtype="float32")
    decoder = prepare(model.decoder.eval(), weights)  # type: ignore[arg-type]
    core = engine_core.Core(decoder, Limits(context=256, tokens=256 * BATCH, rows=BATCH), Speculator(decoder))
    spent = {"network": 0.0, "sampler": 0.0}

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            begin = time.perf_counter()
            try:
                return work(*given)
            finally:
                spent[name] += time.perf_counter() - begin
        return run

    core.runner.run = timed("network", core.runner.run)  # type: ignore[method-assign]
    core.runner.logits = timed("network", core.runner.logits)  # type: ignore[method-assign]
    engine_core.sample = timed("sampler", sample)  # type: ignore[assignment]
    draws = torch.Generator().manual_seed(0)
    for i in range(BATCH):
        prompt = torch.randint(1000, model.spec.vocab, (64,), generator=draws).tolist()
        core.add(Request(str(i), tuple(prompt), replace(sampling, max_tokens=48, seed=i)))
    while core.stats().generated_tokens < 4 * BATCH:
        core.step()
    steps: list[tuple[float, float, float]] = []
    while core.stats().running == BATCH:
        spent.update(network=0.0, sampler=0.0)
        begin = time.perf_counter()
        core.step()
        steps.append((time.perf_counter() - begin, spent["network"], spent["sampler"]))
    whole, network, sampler = (1000 * statistics.median(column) for column in zip(*steps, strict=True))
    return {"step": whole, "network": network, "sampler": sampler, "rest": whole - network - sampler,
            "share": 1 - network / whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", help="a model, for the share of a step")
    parser.add_argument("--weights", default="int8", choices=["fp32", "int8", "int4"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result: dict[str, dict[str, float]] = {"sampler, ms": by_settings()}
    if options.folder:
        for name in ("greedy", "temperature 1", "top_p 0.95"):
            result[f"step, {name}, ms"] = share_of_step(options.folder, options.weights, SETTINGS[name])
    if options.json:
        print(json.dumps(result))
        return
    for title, figures in result.items():
        print(title)
        for name, value in figures.items():
            print(f"  {name:22}{value:8.3f}")


if __name__ == "__main__":
    main()

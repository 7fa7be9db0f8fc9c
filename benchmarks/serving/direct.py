"""Engines called directly, without HTTP: speed beside peers, and what quantisation costs in quality."""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bars import Bar, at_least, at_most
from weights import Files
from worker import HERE, Worker, python_of

from dokja.build.read import Texts
from dokja.models.cost import forward_flops_per_token

JOBS: dict[str, dict[str, Any]] = {
    "prefill 512": {"do": "prefill", "tokens": 512},
    "batch 1": {"do": "generate", "batch": 1, "steps": 32},
    "batch 8": {"do": "generate", "batch": 8, "steps": 16},
    "batch 32": {"do": "generate", "batch": 32, "steps": 8},
}
OURS = ("fp32", "int8", "int4")
# Against the best of llama.cpp's kinds, and against transformers.
LLAMA_GOALS = {"prefill 512": 1.4, "batch 1": 1.1, "batch 8": 1.5, "batch 32": 1.4}
TRANSFORMERS_GOALS = {"batch 1": 8.0, "batch 32": 4.0}


def run(title: str, files: Files, arguments: argparse.Namespace, machine: dict[str, Any], *,
        quality: bool) -> tuple[dict[str, Any], list[Bar]]:
    """Speed of every engine on one model, and its quality where that is asked for."""
    workers = started(files, arguments)
    measure(workers, arguments.rounds)
    rows = table(title, workers, files, machine)
    bars = speed_bars(title, workers)
    found = measure_quality(workers, arguments.text, files) if quality else {}
    for worker in workers:
        worker.end()
    return ({"rows": rows, "quality": found, "versions": {one.name: one.versions for one in workers}},
            bars + quality_bars(title, found))


def started(files: Files, arguments: argparse.Namespace) -> list[Worker]:
    """Every engine that is installed, its model loaded."""
    llama, vllm = python_of(arguments.peers / "llama-cpp"), python_of(arguments.peers / "vllm")
    threads, here = str(arguments.threads), [sys.executable]
    workers = [Worker(f"dokja {kind}", [*here, str(HERE / "dokja_peer.py"), str(files.hf), threads, kind])
               for kind in OURS]
    workers.append(Worker("transformers fp32", [*here, str(HERE / "transformers_peer.py"), str(files.hf), threads]))
    if llama:
        workers += [Worker(f"llama.cpp {kind}", [str(llama), str(HERE / "llama_cpp_peer.py"), str(path), threads])
                    for kind, path in files.gguf.items()]
    else:
        print("llama.cpp is not installed: make bench-peers")
    if vllm:
        workers.append(Worker("vLLM fp32", [str(vllm), str(HERE / "vllm_peer.py"), str(files.hf), threads]))
    ready = []
    for worker in workers:
        log = arguments.files / f"{worker.name.replace(' ', '-')}.log"
        try:
            worker.start(log)
            ready.append(worker)
        except RuntimeError as error:
            print(f"{error} ({log})")
    return ready


def measure(workers: list[Worker], rounds: int) -> None:
    """Every job of every engine in turn, after a round that is not counted."""
    for counted in range(-1, rounds):
        for job, asked in JOBS.items():
            for worker in workers:
                figure = worker.ask(**asked)
                if counted >= 0:
                    worker.figures.setdefault(job, []).append(figure)


def table(title: str, workers: list[Worker], files: Files, machine: dict[str, Any]) -> list[dict[str, Any]]:
    """Print the medians, and how near each engine comes to what the machine can do; the rows as data.

    read: bytes of weights that a token needs at batch 1, over the memory's rate; FLOPs: those of a prompt's tokens,
    whose last alone meets the head, over the rate of a float32 product (which integer arithmetic may pass).
    """
    tokens = JOBS["prefill 512"]["tokens"]
    flops = forward_flops_per_token(files.spec, tokens) - 2 * files.spec.vocab * files.spec.width * (1 - 1 / tokens)
    print(f"\n{title}, tokens/s" + "".join(f"{job:>14s}" for job in JOBS) + f"{'read':>9s}{'FLOPs':>9s}")
    rows = []
    for worker in workers:
        row = {job: round(worker.median(job), 1) for job in JOBS}
        read = _weight_bytes(worker, files) * row["batch 1"] / 1e9 / machine["GB/s"]
        computed = flops * row["prefill 512"] / 1e9 / machine["GFLOP/s"]
        print(f"{worker.name:<{len(title) + 10}s}" + "".join(f"{row[job]:14.1f}" for job in JOBS)
              + f"{read:9.0%}{computed:9.0%}")
        rows.append({"engine": worker.name, **row, "read_share": read, "flops_share": computed, "all": worker.figures})
    return rows


def _weight_bytes(worker: Worker, files: Files) -> int:
    """What one token reads: all weights, for both models tie their embedding to the head."""
    name, kind = worker.name.rsplit(" ", 1)
    if name == "llama.cpp":
        return files.gguf[kind].stat().st_size
    held: int | None = worker.versions.get("bytes")
    return held or sum(file.stat().st_size for file in files.hf.glob("*.safetensors"))


def speed_bars(title: str, workers: list[Worker]) -> list[Bar]:
    """Our best kind against the best of llama.cpp's, and against transformers."""
    def best(prefix: str, job: str) -> float:
        return max((one.median(job) for one in workers if one.name.startswith(prefix)), default=math.nan)

    goals = [("llama.cpp's best", "llama.cpp", LLAMA_GOALS), ("transformers", "transformers", TRANSFORMERS_GOALS)]
    return [at_least(f"{title}, {job} against {name}", best("dokja", job) / best(prefix, job), goal)
            for name, prefix, wanted in goals for job, goal in wanted.items()]


def measure_quality(workers: list[Worker], text: Path, files: Files) -> dict[str, dict[str, float]]:
    """KL to float32 in nats a token, top-1 agreement, and bits per byte of held-out Korean text, by engine."""
    from tokenizers import Tokenizer

    samples = held_out(text)
    if not samples:
        print(f"there is no text in {text}: quality is not measured")
        return {}
    tokenizer = Tokenizer.from_file(str(files.hf / "tokenizer.json"))
    asked = [worker for worker in workers if worker.name.startswith(("dokja", "llama.cpp"))]
    asked.sort(key=lambda worker: worker.name != "dokja fp32")  # what the others are held against comes first
    sums = {worker.name: np.zeros(3) for worker in asked}
    size = count = 0
    with tempfile.TemporaryDirectory() as folder:
        for sample in samples:  # one at a time: the logits of all would not fit beside the engines
            ids = tokenizer.encode(sample).ids[:384]
            size, count = size + len(tokenizer.decode(ids[1:]).encode()), count + len(ids)
            full: torch.Tensor | None = None
            for worker in asked:
                worker.ask(do="logits", ids=ids, out=f"{folder}/logits.npy")
                log = torch.from_numpy(np.load(f"{folder}/logits.npy")).double().log_softmax(-1)
                full = log if full is None else full
                bits = -float(log[:-1].gather(-1, torch.tensor(ids[1:])[:, None]).sum()) / math.log(2)
                sums[worker.name] += (float((full.exp() * (full - log)).sum()),
                                      int((full.argmax(-1) == log.argmax(-1)).sum()), bits)
    quality: dict[str, dict[str, float]] = {}
    print(f"\n{f'quality on {size} bytes of Korean':40s}{'KL':>10s}{'top-1':>9s}{'bits/byte':>11s}")
    for name, (kl, same, bits) in ((name, found.tolist()) for name, found in sums.items()):
        quality[name] = {"kl": kl / count, "top1": same / count, "bits_per_byte": bits / size}
        print(f"{name:40s}{kl / count:10.5f}{same / count:9.2%}{bits / size:11.4f}")
    return quality


def held_out(text: Path, count: int = 6) -> list[str]:
    """The beginnings of some documents of a folder of text."""
    if not text.exists():
        return []
    long = (document.content[:1000] for document in Texts([text]) if len(document.content) > 1000)
    return list(islice(long, 0, 40 * count, 40))


def quality_bars(title: str, quality: dict[str, dict[str, float]]) -> list[Bar]:
    """The bars of int8 and int4; how much worse bits per byte are, in per cent of float32's."""
    if not quality:
        return []
    full = quality["dokja fp32"]["bits_per_byte"]
    int8, int4 = quality["dokja int8"], quality["dokja int4"]
    worse8, worse4 = (100 * (one["bits_per_byte"] / full - 1) for one in (int8, int4))
    return [at_most(f"{title}, int8 KL to float32", int8["kl"], 0.02),
            at_least(f"{title}, int8 top-1 agreement %", 100 * int8["top1"], 98.0),
            at_most(f"{title}, int8 bits per byte, % worse", worse8, 0.5),
            at_most(f"{title}, int4 bits per byte, % worse", worse4, 2.0)]

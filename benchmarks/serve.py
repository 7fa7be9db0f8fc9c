"""Speed and quality of the serving engine beside its peers, all with the same weights: `make bench-serve`.

Every engine loads its model once, in a process of its own, and is then asked in turn, round after round; figures are
medians. llama.cpp and vLLM live in environments of their own (`benchmarks/serving/peers`), and are left out with a word
where they are not installed. Peers' tokens are given to them; Dokja's figures include its scheduler and its sampler.
The last lines are one a bar.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

sys.path.insert(0, str(Path(__file__).parent / "serving"))
import weights as model_files

from dokja.build.read import Texts

HERE = Path(__file__).parent / "serving"
JOBS: dict[str, dict[str, Any]] = {
    "prefill 512": {"do": "prefill", "tokens": 512},
    "batch 1": {"do": "generate", "batch": 1, "steps": 48},
    "batch 8": {"do": "generate", "batch": 8, "steps": 32},
    "batch 32": {"do": "generate", "batch": 32, "steps": 24},
}
OURS = ("fp32", "int8", "int4")
# Against the best of llama.cpp's kinds, and against transformers.
LLAMA_GOALS = {"prefill 512": 1.4, "batch 1": 1.1, "batch 8": 1.5, "batch 32": 1.4}
TRANSFORMERS_GOALS = {"batch 1": 8.0, "batch 32": 4.0}


@dataclass
class Worker:
    """One engine in its process."""

    name: str
    command: list[str]
    figures: dict[str, list[float]] = field(default_factory=dict)

    def start(self, log: Path) -> None:
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=log.open("w"), text=True, env=os.environ | {"PYTHONPATH": str(HERE)})
        self.versions = self._read()

    def ask(self, **job: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended: see its log")
        return json.loads(line)["result"]

    def median(self, job: str) -> float:
        return statistics.median(self.figures[job])

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def main() -> None:
    """Measure, print the tables and the bars, and write them as JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", default="gemma,llama")
    parser.add_argument("--peers", type=Path, default=HERE / "peers", help="folder of the peers' environments")
    parser.add_argument("--files", type=Path, default=Path(tempfile.gettempdir()) / "dokja-bench-serve")
    parser.add_argument("--text", type=Path, default=Path("../shared/corpus"), help="held-out Korean text for quality")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    machine = {"dokja": commit.strip(), "torch": torch.__version__, "python": platform.python_version(),
               "cores": psutil.cpu_count(), "instructions": torch.backends.cpu.get_cpu_capability(), **limits()}
    print(" ".join(f"{name} {value}" for name, value in machine.items()))
    llama = python_of(arguments.peers / "llama-cpp")
    done: dict[str, Any] = {"machine": machine}
    bars: list[tuple[str, float, float, bool]] = []
    makers = {"gemma": ("Gemma 3 270M", model_files.gemma), "llama": ("Llama-shaped 1.2B", model_files.llama_1b)}
    for key in arguments.models.split(","):
        title, make = makers[key]
        files = make(arguments.files, llama)
        workers = started(files, llama, python_of(arguments.peers / "vllm"), arguments)
        measure(workers, arguments.rounds)
        rows = table(title, workers, machine)
        bars += speed_bars(title, workers)
        quality = {} if key != "gemma" else measure_quality(workers, arguments.text, files)
        bars += quality_bars(title, quality)
        for worker in workers:
            worker.end()
        done[title] = {"rows": rows, "quality": quality, "versions": {one.name: one.versions for one in workers}}
    print()
    for name, ours, goal, fine in bars:
        print(f"{'ok' if fine else 'short'}  {name}  {ours:.3g}  {goal:.3g}")
    if arguments.out:
        done["bars"] = [{"name": name, "ours": ours, "goal": goal, "ok": fine} for name, ours, goal, fine in bars]
        arguments.out.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def limits() -> dict[str, float]:
    """What memory and arithmetic of this machine give: GB/s read, GFLOP/s of a float32 product."""
    block = torch.ones(64 << 20)
    a, b = torch.randn(1536, 1536), torch.randn(1536, 1536)
    read, multiplied = [], []
    for _ in range(7):
        start = time.perf_counter()
        block.sum()
        read.append(time.perf_counter() - start)
        start = time.perf_counter()
        a @ b
        multiplied.append(time.perf_counter() - start)
    return {"GB/s": round(block.nbytes / statistics.median(read) / 1e9, 1),
            "GFLOP/s": round(2 * 1536**3 / statistics.median(multiplied) / 1e9, 1)}


def python_of(environment: Path) -> Path | None:
    """The Python of a peer's environment."""
    found = environment / "bin" / "python"
    return found if found.exists() else None


def started(files: model_files.Files, llama: Path | None, vllm: Path | None,
            arguments: argparse.Namespace) -> list[Worker]:
    """Every engine that is installed, its model loaded."""
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


def table(title: str, workers: list[Worker], machine: dict[str, Any]) -> list[dict[str, Any]]:
    """Print the medians; the rows as data."""
    print(f"\n{title}, tokens/s" + "".join(f"{job:>14s}" for job in JOBS))
    rows = []
    for worker in workers:
        row = {job: round(worker.median(job), 1) for job in JOBS}
        print(f"{worker.name:<{len(title) + 10}s}" + "".join(f"{row[job]:14.1f}" for job in JOBS))
        rows.append({"engine": worker.name, **row, "all": worker.figures})
    return rows


def speed_bars(title: str, workers: list[Worker]) -> list[tuple[str, float, float, bool]]:
    """Our best kind against the best of llama.cpp's, and against transformers."""
    def best(prefix: str, job: str) -> float:
        return max((one.median(job) for one in workers if one.name.startswith(prefix)), default=math.nan)

    goals = [("llama.cpp's best", "llama.cpp", LLAMA_GOALS), ("transformers", "transformers", TRANSFORMERS_GOALS)]
    return [(f"{title}, {job} against {name}", ratio := best("dokja", job) / best(prefix, job), goal, ratio >= goal)
            for name, prefix, wanted in goals for job, goal in wanted.items()]


def measure_quality(workers: list[Worker], text: Path, files: model_files.Files) -> dict[str, dict[str, float]]:
    """KL to float32 in nats a token, top-1 agreement, and bits per byte of held-out Korean text, by engine."""
    from tokenizers import Tokenizer

    samples = held_out(text)
    if not samples:
        print(f"there is no text in {text}: quality is not measured")
        return {}
    tokenizer = Tokenizer.from_file(str(files.hf / "tokenizer.json"))
    encoded = [tokenizer.encode(sample).ids[:384] for sample in samples]
    sizes = [len(tokenizer.decode(ids[1:]).encode()) for ids in encoded]
    found: dict[str, list[np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for worker in workers:
            if not worker.name.startswith(("dokja", "llama.cpp")):
                continue
            for number, ids in enumerate(encoded):
                out = f"{folder}/{number}.npy"
                worker.ask(do="logits", ids=ids, out=out)
                found.setdefault(worker.name, []).append(np.load(out))
    reference = [torch.from_numpy(rows).double().log_softmax(-1) for rows in found["dokja fp32"]]
    quality: dict[str, dict[str, float]] = {}
    print(f"\n{'quality on ' + str(sum(sizes)) + ' bytes of Korean':40s}{'KL':>10s}{'top-1':>9s}{'bits/byte':>11s}")
    for name, rows in found.items():
        kl, same, bits, count = 0.0, 0, 0.0, 0
        for ids, full, own in zip(encoded, reference, rows, strict=True):
            log = torch.from_numpy(own).double().log_softmax(-1)
            kl += float((full.exp() * (full - log)).sum())
            same += int((full.argmax(-1) == log.argmax(-1)).sum())
            bits -= float(log[:-1].gather(-1, torch.tensor(ids[1:])[:, None]).sum()) / math.log(2)
            count += len(ids)
        quality[name] = {"kl": kl / count, "top1": same / count, "bits_per_byte": bits / sum(sizes)}
        print(f"{name:40s}{kl / count:10.5f}{same / count:9.2%}{bits / sum(sizes):11.4f}")
    return quality


def held_out(text: Path, count: int = 6) -> list[str]:
    """The beginnings of some documents of a folder of text."""
    if not text.exists():
        return []
    long = (document.content[:1000] for document in Texts([text]) if len(document.content) > 1000)
    return list(islice(long, 0, 40 * count, 40))


def quality_bars(title: str, quality: dict[str, dict[str, float]]) -> list[tuple[str, float, float, bool]]:
    """The bars of int8 and int4; how much worse bits per byte are, in per cent of float32's."""
    if not quality:
        return []
    full = quality["dokja fp32"]["bits_per_byte"]
    int8, int4 = quality["dokja int8"], quality["dokja int4"]
    worse8, worse4 = (100 * (one["bits_per_byte"] / full - 1) for one in (int8, int4))
    return [(f"{title}, int8 KL to float32", int8["kl"], 0.02, int8["kl"] <= 0.02),
            (f"{title}, int8 top-1 agreement %", 100 * int8["top1"], 98.0, int8["top1"] >= 0.98),
            (f"{title}, int8 bits per byte, % worse", worse8, 0.5, worse8 <= 0.5),
            (f"{title}, int4 bits per byte, % worse", worse4, 2.0, worse4 <= 2.0)]


if __name__ == "__main__":
    main()

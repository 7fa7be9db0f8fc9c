"""Speed and quality of the serving engine beside its peers, all with the same weights: `make bench-serve`.

direct: every engine loads its model once, in a process of its own, and is then asked in turn, round after round.
Peers' tokens are given to them; Dokja's figures include its scheduler and its sampler. http: our server beside
llama.cpp's and transformers', and what of our steps is not the network. drafts: speculative decoding. hybrid: memory
and time at 32K. Figures are medians; peers live in environments of their own (`benchmarks/serving/peers`), and are left
out with a word where they are not installed. The last lines are one a bar.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch

sys.path.insert(0, str(Path(__file__).parent / "serving"))
import direct
import drafts
import hybrid
import over_http
import weights
from bars import Bar
from worker import HERE, python_of

PARTS = ("direct", "http", "drafts", "hybrid")
MODELS = {"gemma": ("Gemma 3 270M", weights.gemma), "llama": ("Llama-shaped 1.2B", weights.llama_1b)}


def main() -> None:
    """Measure, print the tables and the bars, and write them as JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="3 take about 40 minutes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts to measure, of {','.join(PARTS)}")
    parser.add_argument("--models", default=",".join(MODELS), help=f"of the direct part, of {','.join(MODELS)}")
    parser.add_argument("--peers", type=Path, default=HERE / "peers", help="folder of the peers' environments")
    parser.add_argument("--files", type=Path, default=Path(tempfile.gettempdir()) / "dokja-bench-serve")
    parser.add_argument("--text", type=Path, default=Path("../shared/corpus"), help="held-out Korean text for quality")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown parts {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    arguments.files.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    machine = {"dokja": commit.strip(), "torch": torch.__version__, "python": platform.python_version(),
               "cores": psutil.cpu_count(), "instructions": torch.backends.cpu.get_cpu_capability(), **limits()}
    print(" ".join(f"{name} {value}" for name, value in machine.items()))
    done: dict[str, Any] = {"machine": machine}
    bars: list[Bar] = []

    def note(name: str, found: tuple[Any, list[Bar]]) -> None:
        done[name] = found[0]
        bars.extend(found[1])
        done["bars"] = [bar._asdict() for bar in bars]
        if arguments.out:  # after every part: what is measured is kept, whatever befalls the next
            arguments.out.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    llama = python_of(arguments.peers / "llama-cpp")
    if "direct" in parts:
        for key in arguments.models.split(","):
            title, make = MODELS[key]
            note(title, direct.run(title, make(arguments.files, llama), arguments, machine, quality=key == "gemma"))
    if "http" in parts:
        note("http", over_http.run(arguments, weights.gemma(arguments.files, llama)))
    if "drafts" in parts:
        note("drafts", drafts.run(arguments))
    if "hybrid" in parts:
        note("hybrid", hybrid.run(arguments))
    print()
    for bar in bars:
        print(bar)


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


if __name__ == "__main__":
    main()

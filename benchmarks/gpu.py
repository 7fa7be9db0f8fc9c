"""Training on one GPU beside nanochat and transformers, at the size of nanochat's d12: `make bench-gpu`.

bfloat16, AdamW for everybody, random tokens (speed alone is measured), each run a process of its own, in turn. MFU is
against the data sheet's dense bfloat16 peak. The table goes to benchmarks/results/gpu-DEVICE.json. On a machine without
a GPU `--device cpu --small` tries the way out; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent / "serving"))
sys.path.insert(0, str(Path(__file__).parent / "building"))
from bars import at_least
from contestants import Contestant
from shapes import D12, SMALL, flops_per_token

from dokja.build.machine import peak_flops

HERE = Path(__file__).parent
WARM = 4  # steps that are not counted
TIMEOUT = 900.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="a small shape, to try it out")
    parser.add_argument("--batch", type=int, default=16, help="sequences a step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--peers", type=Path, default=HERE / "building" / "peers", help="folder of their environments")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no GPU that this torch can use: run it where there is one, with a CUDA build of torch in .venv")
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu"
    shape, peak = SMALL if arguments.small else D12, peak_flops(device)
    everybody = [Contestant(peer, mode, "bf16") for peer in ("dokja", "transformers", "nanochat")
                 for mode in ("eager", "compile")]
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens.npy"
        drawn = np.random.Generator(np.random.PCG64(1)).integers(shape["vocab"], size=4_000_000, dtype=np.uint16)
        np.save(tokens, drawn)
        job = {"tokens": str(tokens), "shape": shape, "batch": arguments.batch, "steps": arguments.steps, "seed": 1,
               "threads": torch.get_num_threads(), "device": arguments.device}
        for _ in range(arguments.rounds):
            for one in everybody:
                if not one.absent:
                    one.run(job, arguments.peers, TIMEOUT)
                    print(".", end="", flush=True)
    rates: dict[str, float] = {}
    rows: list[dict[str, Any]] = []
    print(f"\n\n{name}: {shape}, batch {arguments.batch}, bfloat16, AdamW, torch {torch.__version__}")
    for one in everybody:
        if not one.results:
            print(f"{one.name:28s} not measured: {one.absent}")
            rows.append(one.facts())
            continue
        last = one.results[-1]
        flops = flops_per_token(shape, last.get("matrices"))
        rate = rates[one.name] = arguments.batch * shape["context"] / one.step(WARM)
        share = rate * flops / peak if peak else float("nan")
        print(f"{one.name:28s} {rate:11.0f} tokens/s  MFU {share:6.1%}  {last['gigabytes']:5.1f} GB")
        rows.append({**one.facts(), "tokens/s": rate, "flops/token": flops, "mfu": share})

    def best(peer: str) -> float:
        return max((rate for its, rate in rates.items() if its.startswith(peer)), default=float("nan"))

    bars = [at_least("tokens/s against nanochat at its fastest", best("dokja") / best("nanochat"), 1.0),
            at_least("tokens/s against transformers at its fastest", best("dokja") / best("transformers"), 1.0)]
    if device.type == "cuda":
        table = {"device": name, "torch": torch.__version__, "shape": shape, "batch": arguments.batch, "rows": rows,
                 "bars": [bar._asdict() for bar in bars]}
        path = arguments.results / f"gpu-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"
        path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print()
    for bar in bars:
        print(bar)


if __name__ == "__main__":
    main()

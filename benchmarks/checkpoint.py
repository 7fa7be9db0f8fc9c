"""What asynchronous checkpoints take of training: a model of 20 million parameters, a checkpoint every 200 steps.

    python benchmarks/checkpoint.py --out benchmarks/results/checkpoint.json

Two things stall a run: the copy that `save` makes before it returns, and the writer's thread, which shares the
processor with the steps beside it. Both are measured, the second as what the steps under it take longer than the median
of those that have the machine to themselves, taken in turn; their sum is divided by the time of the 200 steps.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent / "serving"))
from bars import at_most

from dokja.build.packing import Sequences
from dokja.build.schedule import Schedule
from dokja.build.train import Checkpoints, NextToken, NextTokenConfig, TrainConfig, Trainer
from dokja.models.families import family
from dokja.models.scaling import scaled

EVERY, ROUNDS, ALONE = 200, 5, 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", default="hyperclova-x-seed-think")
    parser.add_argument("--parameters", type=float, default=20e6)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    spec = scaled(family(args.family).spec, int(args.parameters), context=256, vocab=8192)
    draws = np.random.Generator(np.random.PCG64(1))
    tokens = draws.integers(8192, size=(512, 257)).astype(np.uint16)
    data = Sequences(tokens, np.ones_like(tokens, dtype=np.uint8))
    run = Trainer(spec, NextToken(data, NextTokenConfig(batch=args.batch), 1), TrainConfig(seed=1), Schedule([10**6]))
    size = sum(tensor.nbytes for tensor in run.tensors().values())
    for _ in range(3):
        run.step()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), keep=2)
        checkpoints.save(run)  # the first one makes the buffers that the others use
        checkpoints.wait()
        for _ in range(ROUNDS):
            alone = [_timed(run) for _ in range(ALONE)]
            start = time.perf_counter()
            checkpoints.save(run)
            copy = time.perf_counter() - start
            beside: list[float] = []
            while checkpoints.writing:
                beside.append(_timed(run))
            usual = statistics.median(alone)
            stall = copy + sum(step - usual for step in beside)
            rows.append({"step": usual, "copy": copy, "steps_beside": len(beside), "beside": sum(beside),
                         "stall": stall, "share": stall / (EVERY * usual + stall)})
            print(f"step {usual * 1e3:6.0f} ms  copy {copy * 1e3:5.0f} ms  {len(beside):2} steps beside the writer, "
                  f"{(stall - copy) * 1e3:5.0f} ms longer  {rows[-1]['share']:.2%} of {EVERY} steps", flush=True)
    share = statistics.median(row["share"] for row in rows)
    bar = at_most(f"asynchronous checkpoints of {size / 1e6:.0f} MB every {EVERY} steps, share of training", share,
                  0.01)
    if args.out:
        table = {"spec": spec.name, "bytes": size, "every": EVERY, "rows": rows, "share": share,
                 "bars": [bar._asdict()],
                 "versions": {"torch": torch.__version__, "python": platform.python_version()}}
        args.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(bar)


def _timed(run: Trainer) -> float:
    start = time.perf_counter()
    run.step()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

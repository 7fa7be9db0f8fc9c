"""What writing down a step takes: metrics.jsonl alone, and with TensorBoard, against a step of 100 ms.

    python benchmarks/metrics.py --out benchmarks/results/metrics.json
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import statistics
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent / "serving"))
from bars import at_most

from dokja.build.watch import Progress, open_sinks

STEP, RECORDS, ROUNDS = 0.1, 2000, 5
RECORD = {"loss": 3.14159, "rate": 1.0, "gradient_norm": 0.5, "skipped": False, "mtp": 3.3, "balance": 1.01}
FACTS = {"steps": RECORDS, "parameters": 10, "active": 10, "tokens_per_step": 4096, "flops_per_token": 6e7,
         "spec": {"name": "a model"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    kinds = {"metrics.jsonl": []} | ({"and TensorBoard": ["tensorboard"]} if find_spec("tensorboard") else {})
    taken: dict[str, list[float]] = {name: [] for name in (*kinds, "and a terminal's bar")}
    for _ in range(ROUNDS):
        for name, further in kinds.items():
            taken[name].append(_each(further))
        taken["and a terminal's bar"].append(_each([], bar=True))
    found = {name: statistics.median(rounds) for name, rounds in taken.items()}
    for name, seconds in found.items():
        print(f"{name:24} {seconds * 1e6:7.1f} us a step, {seconds / STEP:.3%} of a step of {STEP * 1e3:.0f} ms")
    bar = at_most(f"logging, share of a step of {STEP * 1e3:.0f} ms", max(found.values()) / STEP, 0.01)
    if args.out:
        table = {"seconds": found, "rounds": taken, "bars": [bar._asdict()],
                 "versions": {"python": platform.python_version()}}
        args.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    print(bar)


def _each(further: list[str], *, bar: bool = False) -> float:
    """Seconds a record, everything flushed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        sinks = open_sinks(Path(folder), further, {}, 0)
        shown = Progress(Console(file=io.StringIO(), force_terminal=bar), peak=1e12)
        with shown:
            shown.log({"event": "start", "step": 0, **FACTS})
            start = time.perf_counter()
            for step in range(1, RECORDS + 1):
                record = {"step": step, "tokens": step * 4096, "flops": step * 1e12, "seconds": step * STEP, **RECORD}
                sinks.log(record)
                if bar:
                    shown.log(record)
            sinks.close()
            return (time.perf_counter() - start) / RECORDS


if __name__ == "__main__":
    main()

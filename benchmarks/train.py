"""Speed and quality of training beside transformers' Trainer, litgpt, OLMo-core and nanochat: `make bench-train`.

dense, mixture: tokens a second on one shape each, everybody in turn, round after round, each run a process of its own
that takes a few steps; figures are medians over rounds. quality: bits per byte of held-out Korean after the same
wall-clock. ablation: our choices one at a time over seeds. Peers live in environments of their own
(`make bench-peers-build`) and are left out with a word where they are not installed. The last lines are one a bar.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import torch

sys.path.insert(0, str(Path(__file__).parent / "serving"))
sys.path.insert(0, str(Path(__file__).parent / "building"))
import quality
import text
import throughput
from bars import Bar
from shapes import DENSE, RACE

HERE = Path(__file__).parent
PARTS = ("dense", "mixture", "quality", "ablation")


def main() -> None:
    """Measure, print the tables and the bars, and write them as JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", default=",".join(PARTS), help=f"what to measure, of {','.join(PARTS)}")
    parser.add_argument("--only", default="", help="contestants: dokja, transformers, litgpt, olmo, nanochat; all else")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8, help="of each run of dense and mixture, the first 4 uncounted")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="count CPU seconds, for a draft with --threads 1 on a "
                        "machine that others use")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=240.0, help="of training in the quality part, each")
    parser.add_argument("--ablation-seconds", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3, help="of the ablation")
    parser.add_argument("--small", action="store_true", help="quality and ablation on a small shape, to try them out")
    parser.add_argument("--choices", default="", help="rows of the ablation; all else")
    parser.add_argument("--peers", type=Path, default=HERE / "building" / "peers", help="folder of their environments")
    parser.add_argument("--files", type=Path, default=Path(tempfile.gettempdir()) / "dokja-bench-train")
    parser.add_argument("--text", type=Path, default=Path("../shared/corpus"), help="Korean text to train and judge on")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    parts = arguments.part.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown parts {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    torch.set_num_threads(arguments.threads)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    machine = {"dokja": commit.strip(), "torch": torch.__version__, "python": platform.python_version(),
               "cores": psutil.cpu_count(), "instructions": torch.backends.cpu.get_cpu_capability(),
               "load": round(psutil.getloadavg()[0], 1)}
    print(" ".join(f"{name} {value}" for name, value in machine.items()))
    out, bars = arguments.out, list[Bar]()
    done: dict[str, Any] = json.loads(out.read_text(encoding="utf-8")) if out and out.exists() else {}
    for part in parts:
        shape = DENSE if part in ("dense", "mixture") else RACE
        found = text.prepare(arguments.text, arguments.files / str(shape["context"]), vocab=shape["vocab"],
                             context=shape["context"], train_bytes=24_000_000, heldout_bytes=300_000)
        print(", ".join(f"{name} {value}" for name, value in found.items() if name != "wanted"), flush=True)
        if part in ("dense", "mixture"):
            figures, its = throughput.run(arguments, part)
        else:
            figures, its = (quality.run if part == "quality" else quality.ablations)(arguments)
        bars += its
        done[part] = {"machine": machine, "text": found, **figures, "bars": [bar._asdict() for bar in its]}
        if out:  # after every part: what is measured is kept, whatever befalls the next; other parts stay as they were
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(done, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print()
    for bar in bars:
        print(bar)


if __name__ == "__main__":
    main()

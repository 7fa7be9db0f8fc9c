"""Who trains, in which environment and how, and one run of it as a process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent


@dataclass
class Contestant:
    """A peer, or us, in one mode; `results` are the answers of its runs."""

    peer: str
    mode: str
    precision: str = "fp32"
    options: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    results: list[dict[str, Any]] = field(default_factory=list)
    absent: str = ""

    @property
    def name(self) -> str:
        return " ".join(filter(None, (self.peer, self.mode, self.note, "" if self.precision == "fp32" else "bf16")))

    def python(self, peers: Path) -> Path | None:
        """Of its environment; ours runs in this one."""
        found = Path(sys.executable) if self.peer == "dokja" else peers / self.peer / "bin" / "python"
        return found if found.exists() else None

    def run(self, job: dict[str, Any], peers: Path, timeout: float) -> dict[str, Any] | None:
        """One run, its answer added to `results`; None, with the reason in `absent`, when it does not come to one."""
        python = self.python(peers)
        if python is None:
            self.absent = f"no environment at {peers / self.peer}: make bench-peers-build"
            return None
        job = {**job, "mode": self.mode, "precision": self.precision,
               "options": {**job.get("options", {}), **self.options}}
        environment = os.environ | {
            "OMP_NUM_THREADS": str(job["threads"]), "TORCHDYNAMO_DISABLE": "0" if self.mode == "compile" else "1",
            "DOKJA_NATIVE": "0" if self.mode == "plain" else "1", "HF_HUB_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false"}
        command = [str(python), str(HERE / f"{self.peer}_run.py"), json.dumps(job)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=HERE, timeout=timeout,
                                  check=False)
        except subprocess.TimeoutExpired:
            self.absent = f"no answer within {timeout:.0f} s"
            return None
        lines = [line for line in done.stdout.splitlines() if line.startswith('{"result":')]
        if not lines:
            self.absent = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1][:160]
            return None
        result: dict[str, Any] = json.loads(lines[-1])["result"]
        self.results.append(result)
        return result

    def step(self, warm: int, clock: str = "seconds") -> float:
        """Seconds a step: the median over rounds of the medians after `warm` steps; `clock` may be "cpu"."""
        return statistics.median(self._medians(warm, clock))

    def spread(self, warm: int, clock: str = "seconds") -> tuple[float, float]:
        """The same of the fastest and the slowest round."""
        medians = self._medians(warm, clock)
        return min(medians), max(medians)

    def facts(self) -> dict[str, Any]:
        """For a table: its name and what its last run said but for the lists of steps, or why there is none."""
        if not self.results:
            return {"name": self.name, "absent": self.absent}
        return {"name": self.name, **{key: value for key, value in self.results[-1].items()
                                      if key not in ("seconds", "cpu", "losses", "flops")}}

    def _medians(self, warm: int, clock: str) -> list[float]:
        return [statistics.median(result[clock][warm - 1 :]) for result in self.results]


class Limit:
    """What a matrix product reaches on as many threads, looked at again and again between the runs."""

    SIDES = (1024, 1536, 2048)

    def __init__(self, dtype: torch.dtype, now: Callable[[], float]) -> None:
        self.dtype, self.now = dtype, now
        self.samples: dict[int, list[float]] = {side: [] for side in self.SIDES}

    def look(self) -> None:
        for side in self.SIDES:
            a, b = (torch.randn(side, side).to(self.dtype) for _ in range(2))
            out = torch.empty_like(a)
            torch.mm(a, b, out=out)
            times = []
            for _ in range(5):
                start = self.now()
                torch.mm(a, b, out=out)
                times.append(self.now() - start)
            self.samples[side].append(2 * side**3 / statistics.median(times))

    @property
    def flops(self) -> float:
        """FLOP/s of the best size, each by the median of its samples."""
        return max(statistics.median(samples) for samples in self.samples.values())

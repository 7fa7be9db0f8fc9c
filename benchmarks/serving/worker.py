"""A process of the benchmark's own that holds one engine or server and is asked over its standard input."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


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
        for line in self.process.stdout:
            if line.startswith('{"result":'):  # else what a library printed while the model was loaded
                return json.loads(line)["result"]
        raise RuntimeError(f"{self.name} ended: see its log")

    def median(self, job: str) -> float:
        return statistics.median(self.figures[job])

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:  # a server whose threads do not end by themselves
            self.process.kill()
            self.process.wait()


def python_of(environment: Path) -> Path | None:
    """The Python of a peer's environment."""
    found = environment / "bin" / "python"
    return found if found.exists() else None

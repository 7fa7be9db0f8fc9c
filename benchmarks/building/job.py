"""What every contestant's runner shares: the job, its batches, a clock on the optimizer's steps and the answer.

A runner is a script of ours that trains with a peer's own code, in the peer's environment, so this file needs torch and
numpy alone. The job is JSON on the command line; the answer is the last line of standard output, `{"result": ...}`.
"""

from __future__ import annotations

import json
import math
import os
import random
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

FREE_STEPS = 2  # a quality run's clock starts after them: compilers and allocators are not what is compared


class Job:
    """The job and what is derived from it. `train` stops the process with an answer when the job is done."""

    def __init__(self) -> None:
        job = json.loads(sys.argv[1])
        self.shape: dict[str, Any] = job["shape"]
        self.batch: int = job["batch"]
        self.steps: int | None = job.get("steps")
        self.seconds: float | None = job.get("seconds")
        self.mode: str = job["mode"]
        self.precision: str = job.get("precision", "fp32")
        self.device = torch.device(job.get("device", "cpu"))
        self.options: dict[str, Any] = job.get("options", {})
        self.seed: int = job["seed"]
        self.context: int = self.shape["context"]
        self.tokens = np.load(job["tokens"], mmap_mode="r")
        self.tokens_path: str = job["tokens"]
        self.heldout: str | None = job.get("heldout")
        self.packed: str | None = job.get("packed")
        self.now = time.process_time if job.get("cpu_time") else time.perf_counter
        self.losses: list[float] = []
        self.times: list[float] = []
        self.cpu: list[float] = []
        self.about: dict[str, Any] = {}
        self.nats: Callable[[torch.Tensor, torch.Tensor], float] | None = None
        torch.set_num_threads(job["threads"])
        random.seed(self.seed)
        np.random.seed(self.seed)
        torch.manual_seed(self.seed)

    @property
    def compiled(self) -> bool:
        return self.mode == "compile"

    def rows(self, step: int) -> torch.Tensor:
        """The batch of a step, [batch, context + 1], from a fixed order of the rows that lie end to end in the text."""
        count = (len(self.tokens) - 1) // self.context
        if not hasattr(self, "_order"):
            self._order = np.random.Generator(np.random.PCG64(self.seed)).permutation(count)
        chosen = [self._order[index % count] * self.context
                  for index in range(step * self.batch, (step + 1) * self.batch)]
        return torch.from_numpy(np.stack([self.tokens[at : at + self.context + 1] for at in chosen]).astype(np.int64))

    def progress(self) -> float:
        """Which share of the run is over: by time where the job gives seconds, by steps else."""
        if self.seconds is None:
            return len(self.times) / (self.steps or 1)
        if len(self.times) < FREE_STEPS:
            return 0.0
        begun = (self.times if self.now is time.perf_counter else self.cpu)[FREE_STEPS - 1]
        return min(1.0, (self.now() - begun) / self.seconds)

    @property
    def taken(self) -> int:
        """Optimizer steps so far."""
        return len(self.times)

    def watch(self, nats: Callable[[torch.Tensor, torch.Tensor], float] | None = None, *, hook: bool = True) -> None:
        """Begin: the clock runs on every optimizer's step of this process (or on `tick`), and ends it.

        nats: inputs and targets [rows, T], -100 where none counts, to the sum of the losses, without training.
        """
        self.nats = nats
        if hook:
            register_optimizer_step_post_hook(lambda *_: self.tick())

    def tick(self) -> None:
        """A step has ended."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        self.cpu.append(time.process_time())
        if self.progress() >= 1.0:
            self.answer()

    def answer(self) -> None:
        """Print the result and end the process, whatever loop it is in."""
        seconds = np.diff(self.times).tolist()
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        if self.device.type == "cuda":
            held = torch.cuda.max_memory_allocated() / 1e9
        result: dict[str, Any] = {
            "seconds": seconds, "cpu": np.diff(self.cpu).tolist(), "losses": self.losses, "torch": torch.__version__,
            "gigabytes": held, **self.about}
        if self.heldout and self.nats:
            result |= self._judge()
        print("\n" + json.dumps({"result": result}), flush=True)
        os._exit(0)

    def _judge(self) -> dict[str, float]:
        """Bits per byte of the held-out text: rows of documents' first tokens after an end of text."""
        assert self.heldout is not None
        assert self.nats is not None
        with np.load(self.heldout) as data:
            tokens, counts, size = data["tokens"].astype(np.int64), data["counts"], int(data["bytes"])
        total = 0.0
        with torch.no_grad():
            for at in range(0, len(tokens), 16):
                ids = torch.from_numpy(tokens[at : at + 16])
                ends = torch.from_numpy(counts[at : at + 16].astype(np.int64))
                places = torch.arange(self.context)[None] < ends[:, None]
                targets = ids[:, 1:].masked_fill(~places, -100)
                total += self.nats(ids[:, :-1].contiguous().to(self.device), targets.contiguous().to(self.device))
        return {"bpb": total / math.log(2) / size, "nats_per_token": total / float(counts.sum())}


def trapezoid(progress: float, *, warm: float, decay: float, floor: float) -> float:
    """Warm-up, stable, linear decay (WSD) over a run's progress from 0 to 1."""
    rising = 1.0 if warm == 0 else (progress + 1e-3) / warm
    falling = floor + (1 - floor) * (1 - progress) / decay if decay else 1.0
    return min(1.0, rising, falling)


def cosine(progress: float, *, warm: float, floor: float) -> float:
    """Warm-up, then half a cosine down to `floor`."""
    if progress < warm:
        return (progress + 1e-3) / warm
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (progress - warm) / (1 - warm)))

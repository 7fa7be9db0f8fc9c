"""Ours: the Decoder and the Trainer, with AdamW alone for throughput and with our recipe for quality.

Modes: native (kernels in C++), plain (PyTorch's operations), compile (torch.compile, block by block).
"""

from __future__ import annotations

from typing import Any

import torch
from job import Job, cosine, trapezoid
from shapes import spec_of

from dokja.build import optim
from dokja.build.packing import Sequences
from dokja.build.train import NextToken, NextTokenConfig, TrainConfig, Trainer
from dokja.models import native
from dokja.models.cost import parameters, training_flops_per_token


class Rows:
    """The job's rows, as everybody else sees them."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def batch(self, seed: int, start: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rows = self.job.rows(start // size)
        return rows[:, :-1], rows[:, 1:], torch.ones(rows.shape[0], rows.shape[1] - 1)


def adamw_alone(optimizer: optim.MuonAdamW) -> None:
    """AdamW on every parameter, matrices with decay."""
    for slot in optimizer.muon:
        slot.state = {"first": torch.zeros_like(slot.parameter), "second": torch.zeros_like(slot.parameter)}
    optimizer.adam += optimizer.muon
    optimizer.muon = []


class Rates:
    """A schedule over the job's progress."""

    def __init__(self, job: Job, schedule: str) -> None:
        self.job, self.schedule = job, schedule

    def rate(self, step: int) -> float:
        progress = self.job.progress()
        if self.schedule == "constant":
            return trapezoid(progress, warm=0.02, decay=0.0, floor=1.0)
        if self.schedule == "cosine":
            return cosine(progress, warm=0.02, floor=0.05)
        return trapezoid(progress, warm=0.02, decay=0.5, floor=0.05)


def main() -> None:
    job = Job()
    options = job.options
    if options.get("keep_pages", True):
        native.keep_pages()
    spec = spec_of(job.shape, **options.get("spec", {}))
    config = TrainConfig(seed=job.seed, precision=job.precision,  # type: ignore[arg-type]
                         compile=job.compiled, device=str(job.device),
                         optim=optim.OptimConfig(**options.get("optim", {"adam_lr": 1e-3})))
    source: Any = Rows(job) if not options.get("fitted") else Sequences.load(job.packed)  # type: ignore[arg-type]
    objective = NextToken(source, NextTokenConfig(batch=job.batch, **options.get("loss", {})), job.seed)
    trainer = Trainer(spec, objective, config, Rates(job, options.get("schedule", "wsd")))  # type: ignore[arg-type]
    if not options.get("muon"):
        adamw_alone(trainer.optimizer)
    job.about = {"dokja": options.get("commit", ""), "parameters": parameters(spec).total,
                 "flops": training_flops_per_token(spec, job.context)}

    def nats(ids: torch.Tensor, targets: torch.Tensor) -> float:
        trainer.model.eval()
        loss, _ = trainer.model.losses(ids, targets)
        return float(loss) * float((targets != -100).sum())

    job.watch(nats, hook=False)
    while True:
        job.losses.append(trainer.step().loss)
        job.tick()


if __name__ == "__main__":
    main()

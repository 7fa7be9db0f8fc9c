"""`dokja build train`: one run, by a recipe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import DokjaError

# What makes the sampler of reinforcement learning. This room knows no engine: whoever knows both sets it (cli.py).
new_sampler: Callable[[], Any] | None = None


def train(
    recipe: Annotated[str, typer.Argument(
        help="pretrain, midtrain, sft, dpo, simpo, grpo or distil; a .py file with a function recipe(); or the folder "
             "of a run whose recipe to take.")] = "pretrain",
    out: Annotated[Path, typer.Option(help="Folder of the run; a run that is there goes on.")] = Path("run"),
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE",
                                                       help="Change one value, as train.seed=7; repeatable.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin again: what is in the folder is deleted.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and end.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads; sums depend on their number.")] = None,
) -> None:
    """Train a model by a recipe, or go on where the run in the folder stands.

    Example: `dokja build train pretrain --out run --set model.parameters=2e6 --set schedule.steps=300`

    Example: `dokja build train midtrain --out longer --set model.start=run`
    """
    from .recipe import resolve
    from .recipes import find

    resolved = resolve(find(recipe), settings or [])
    if dry_run:
        print(json.dumps(resolved.to_dict(), ensure_ascii=False, indent=1))
        return
    import torch

    from ..machine import device_of, peak_flops
    from ..parallel import make_parallel
    from ..watch import Progress
    from .loop import RECORD, run

    if threads:
        torch.set_num_threads(threads)
    parallel = make_parallel(resolved.parallel, precision=resolved.train.precision)
    if fresh and parallel.count > 1:
        raise DokjaError(f"--fresh would delete {out} again whenever torchrun starts the processes anew: delete it "
                         "yourself")
    if fresh and out.exists():
        if any(out.iterdir()) and not (out / RECORD).exists():
            raise DokjaError(f"{out} holds something that is no run: delete it yourself if it is to go")
        shutil.rmtree(out)
    peak = peak_flops(parallel.device or device_of(resolved.train.device)) if parallel.index == 0 else None
    with Progress(peak=peak) if parallel.index == 0 else nullcontext() as progress:
        outcome = run(resolved, out, progress.log if progress else lambda line: None, parallel,
                      new_sampler() if new_sampler and resolved.task.kind == "grpo" else None)
    parallel.close()
    if parallel.index:
        return
    if outcome.stopped_by:
        print(f"stopped by {outcome.stopped_by} after step {outcome.step:,} of {outcome.steps:,}: the same command "
              "goes on from there")
        if parallel.count > 1:
            return  # torchrun would start the processes again
        raise typer.Exit(130 if outcome.stopped_by == "SIGINT" else 143)
    print(f"{out / 'model'}: done, {outcome.steps:,} steps. `dokja serve {out / 'model'}` serves it")

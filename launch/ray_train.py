"""Train on a Ray cluster: the run of `dokja build train`, with Ray Train in torchrun's place.

    python launch/ray_train.py pretrain --workers 8 --gpu --out /shared/run --set parallel.shard=8

--out lies where all workers see it. A worker that dies is replaced, and all go on from the last checkpoint.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def work(task: dict[str, Any]) -> None:
    """What each worker does: Ray has joined the processes, the recipe says how they divide the work."""
    from dokja.build.parallel import make_parallel
    from dokja.build.train.loop import run
    from dokja.build.train.recipe import resolve
    from dokja.build.train.recipes import find

    recipe = resolve(find(task["recipe"]), task["settings"])
    parallel = make_parallel(recipe.parallel, precision=recipe.train.precision)

    def show(record: dict[str, Any]) -> None:
        if "message" in record:
            print(record["message"], flush=True)
        elif "loss" in record and record["step"] % 10 == 0:
            print(f"step {record['step']:,}: loss {record['loss']:.4f}", flush=True)

    run(recipe, Path(task["out"]), show, parallel)


def main() -> None:
    """Read the command line and wait for the run."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    parser = argparse.ArgumentParser(description="Dokja's training on a Ray cluster.")
    parser.add_argument("recipe", nargs="?", default="pretrain")
    parser.add_argument("--out", type=Path, default=Path("run"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--gpu", action="store_true", help="one GPU for each worker")
    parser.add_argument("--restarts", type=int, default=3)
    given = parser.parse_args()
    out = given.out.absolute()
    task = {"recipe": given.recipe, "settings": given.settings, "out": str(out)}
    TorchTrainer(
        work, train_loop_config=task,
        scaling_config=ScalingConfig(num_workers=given.workers, use_gpu=given.gpu),
        run_config=RunConfig(name=out.name, storage_path=str(out.parent / "ray"),
                             failure_config=FailureConfig(max_failures=given.restarts)),
    ).fit()


if __name__ == "__main__":
    main()

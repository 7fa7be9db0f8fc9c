"""`torchrun -m dokja build train`: the same command on several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dokja.build.command import app
from dokja.build.watch.sinks import read_metrics
from dokja.models.folder import load_folder

pytestmark = pytest.mark.usefixtures("_one_thread")

SETTINGS = ("model.family=exaone-3.5", "model.parameters=1e5", "model.context=32", "data.train_bytes=60000",
            "data.heldout_bytes=4000", "data.vocab=320", "task.batch=4", "schedule.steps=8", "watch.sample=8",
            "watch.evaluate=8", "watch.checkpoint=4")


def torchrun(processes: int, *arguments: str) -> str:
    """launch/torchrun.sh as it is."""
    script = Path(__file__).parents[3] / "launch" / "torchrun.sh"
    done = subprocess.run([str(script), *arguments], capture_output=True, text=True, timeout=280, check=False,
                          env={**os.environ, "PYTHON": sys.executable, "PROCESSES": str(processes)})
    return f"{done.returncode}\n{done.stdout}\n{done.stderr}"


def test_two_processes_train_by_the_same_command_and_one_of_them_speaks(tmp_path: Path) -> None:
    """The same losses and held-out bits; one line a step, one model, in one piece."""
    settings = [part for setting in SETTINGS for part in ("--set", setting)]
    one, two = tmp_path / "one", tmp_path / "two"
    alone = CliRunner().invoke(app, ["train", "pretrain", "--out", str(one), *settings])
    assert alone.exit_code == 0, alone.output
    said = torchrun(2, "pretrain", "--out", str(two), *settings, "--set", "parallel.shard=2")
    assert said.startswith("0\n"), said[-6000:]
    assert said.count("done, 8 steps") == 1
    mine, theirs = read_metrics(one), read_metrics(two)
    assert len(mine) == len(theirs)
    for a, b in zip(mine, theirs, strict=True):
        for key in ("loss", "heldout"):
            if key in a:
                assert b[key] == pytest.approx(a[key], rel=1e-4)
    assert [path.name for path in sorted((two / "checkpoints").iterdir())] == ["step-00000004", "step-00000008"]
    weights = [load_folder(folder / "model").decoder.state_dict() for folder in (one, two)]
    assert all(weights[1][name].shape == tensor.shape for name, tensor in weights[0].items())
    # And one process goes on from what two have saved: nothing is left to do.
    again = CliRunner().invoke(app, ["train", "pretrain", "--out", str(two), *settings])
    assert again.exit_code == 0, again.output
    assert len(read_metrics(two)) == len(theirs) + 1  # "going on at step 8"

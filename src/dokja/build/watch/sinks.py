"""Where a run's numbers go: metrics.jsonl always, TensorBoard, trackio and Weights & Biases when asked.

A record is a plain dictionary with "step"; one with "event" tells of something that happened at that step, any other is
a training step. A step that is taken again after a restart is written again: what came after the checkpoint is dropped.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ...errors import DokjaError

METRICS, SAMPLES = "metrics.jsonl", "samples.jsonl"
_FLUSH = 1.0  # seconds between two writes to the file: a kill loses no more, and steps wait for no disk


class Sink(Protocol):
    """One further place for numbers."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class Sinks:
    """All places of one run."""

    def __init__(self, folder: Path, further: Sequence[Sink]) -> None:
        self._file = open(folder / METRICS, "a", encoding="utf-8", buffering=1 << 20)  # noqa: SIM115 (closed by close)
        self._further = further
        self._flushed = time.monotonic()

    def log(self, record: Mapping[str, Any]) -> None:
        """Write one record. What a restart depends on is in checkpoints, so a line may be late by a second."""
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        now = time.monotonic()
        if now - self._flushed > _FLUSH or "event" in record:
            self._file.flush()
            self._flushed = now
        if self._further:
            numbers = {name: float(value) for name, value in record.items()
                       if isinstance(value, int | float) and name != "step"}
            for sink in self._further:
                sink.log(record["step"], numbers)

    def close(self) -> None:
        """Write what is held and leave."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        for sink in self._further:
            sink.close()


def check_sinks(names: Sequence[str]) -> None:
    """Raise DokjaError for a package that is missing, before anything is trained."""
    from importlib.util import find_spec

    for name in names:
        package, extra = _PACKAGES[name]
        if find_spec(package) is None:
            raise DokjaError(f"watch.log asks for {name}, which is not installed: `pip install dokja[{extra}]` "
                             "brings it")


def open_sinks(folder: Path, names: Sequence[str], config: Mapping[str, Any], resume_step: int) -> Sinks:
    """The sinks of a run that goes on at `resume_step`: later records of metrics.jsonl are dropped.

    names: of "tensorboard", "trackio" and "wandb". config: what the run is, for those that show it. Raises DokjaError
    for a package that is missing.
    """
    check_sinks(names)
    forget(folder / METRICS, resume_step)
    return Sinks(folder, [_FURTHER[name](folder, config) for name in names])


def forget(path: Path, step: int) -> None:
    """Drop the records of a .jsonl file that are later than a step, and a line that was cut off."""
    if not path.exists():
        return
    kept, whole = 0, 0
    with open(path, "rb") as file:
        for line in file:
            whole += len(line)
            try:
                if line.endswith(b"\n") and json.loads(line)["step"] <= step:
                    kept += len(line)
                    continue
            except (ValueError, KeyError, TypeError):
                pass
            break
    if kept < os.path.getsize(path):
        os.truncate(path, kept)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The records of a run, also of one that is being written: a line that is not whole yet is left out.

    Raises DokjaError when there are none.
    """
    if not (folder / METRICS).is_file():
        raise DokjaError(f"{folder} holds no run with numbers: {METRICS} is missing")
    return read_lines(folder / METRICS)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a .jsonl file up to a line that is not whole; none where there is no file."""
    found = []
    try:
        content = path.read_bytes()
    except OSError:
        return []
    for line in content.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


class _TensorBoard:
    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))  # type: ignore[no-untyped-call]

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._writer.close()  # type: ignore[no-untyped-call]


class _Tracker:
    """trackio and wandb have one interface."""

    def __init__(self, module: str, folder: Path, config: Mapping[str, Any]) -> None:
        from importlib import import_module

        self._module = import_module(module)
        recipe = config.get("recipe", config)
        self._module.init(project="dokja", name=f"{recipe.get('name', 'run')}-{folder.name}", config=dict(recipe),
                          resume="allow")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self._module.log(dict(numbers), step=step)

    def close(self) -> None:
        self._module.finish()


_PACKAGES = {"tensorboard": ("tensorboard", "tensorboard"), "trackio": ("trackio", "trackio"),
             "wandb": ("wandb", "wandb")}
_FURTHER: dict[str, Callable[[Path, Mapping[str, Any]], Sink]] = {
    "tensorboard": _TensorBoard,
    "trackio": lambda folder, config: _Tracker("trackio", folder, config),
    "wandb": lambda folder, config: _Tracker("wandb", folder, config),
}

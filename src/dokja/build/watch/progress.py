"""What a terminal shows of a run: a bar with loss, tokens a second, utilisation and time left; lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_QUIET_EVERY = 15.0  # seconds between lines where there is no terminal
_SMOOTH = 0.9  # of the loss that is shown


class Progress:
    """Shows the records of a run (`sinks.Sinks.log` takes the same)."""

    def __init__(self, console: Console | None = None, peak: float | None = None) -> None:
        """peak: FLOPs a second of the machine's matrix products, of which utilisation is a share."""
        self.console, self.peak = console or Console(), peak
        self._bar: Bar | None = None
        self._task: Any = None
        self._steps = 0
        self._loss = self._bits = float("nan")
        self._first: dict[str, Any] | None = None
        self._said = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def log(self, record: dict[str, Any]) -> None:
        """Take in one record; tells of events at once, of steps as often as it is readable."""
        if record.get("event") == "start":
            self._start(record)
        elif "message" in record:
            self.console.print(f"{_at(record)}{record['message']}", highlight=False, markup=False, soft_wrap=True)
        elif record.get("event") == "evaluation":
            self._bits = record["heldout"]
            if self._bar is None:
                self.console.print(f"{_at(record)}held-out bits per byte {self._bits:.4f}", highlight=False,
                                   soft_wrap=True)
        elif "loss" in record:
            self._step(record)

    def _start(self, record: dict[str, Any]) -> None:
        self._steps = record["steps"]
        active = f", {record['active']:,} active" if record["active"] != record["parameters"] else ""
        tokens = self._steps * record["tokens_per_step"]
        self.console.print(f"{record['spec']['name']}: {record['parameters']:,} parameters{active}; {self._steps:,} "
                           f"steps of {record['tokens_per_step']:,} tokens, {tokens * record['flops_per_token']:.3g} "
                           "FLOPs", highlight=False, soft_wrap=True)
        if self.console.is_terminal:
            self._bar = Bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                            TextColumn("{task.fields[told]}"), TimeRemainingColumn(), console=self.console)
            self._task = self._bar.add_task("training", total=self._steps, completed=record["step"], told="")
            self._bar.start()

    def _step(self, record: dict[str, Any]) -> None:
        loss = record["loss"]
        self._loss = loss if self._loss != self._loss else _SMOOTH * self._loss + (1 - _SMOOTH) * loss
        self._first = self._first or record
        told = self._told(record)
        if self._bar is not None:
            self._bar.update(self._task, completed=record["step"], told=told)
            return
        now = time.monotonic()
        if now - self._said > _QUIET_EVERY or record["step"] == self._steps or self._first is record:
            self._said = now
            self.console.print(f"step {record['step']:,} of {self._steps:,}: {told}", highlight=False, soft_wrap=True)

    def _told(self, record: dict[str, Any]) -> str:
        first = self._first
        assert first is not None
        parts = [f"loss {self._loss:.3f}"]
        if self._bits == self._bits:
            parts.append(f"bpb {self._bits:.3f}")
        if record is not first and (seconds := record["seconds"] - first["seconds"]) > 0:
            parts.append(f"{(record['tokens'] - first['tokens']) / seconds:,.0f} tokens/s")
            flops = (record["flops"] - first["flops"]) / seconds
            parts.append(f"MFU {flops / self.peak:.0%}" if self.peak else f"{flops / 1e9:,.0f} GFLOP/s")
            left = (self._steps - record["step"]) * seconds / (record["step"] - first["step"])
            parts.append(f"{_duration(left)} left")
        return ", ".join(parts)


def _at(record: dict[str, Any]) -> str:
    return f"step {record['step']:,}: " if record.get("step") else ""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"

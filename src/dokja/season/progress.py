"""What a player sees while a season runs: a bar a team on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..models.families import family
from .plan import Plan
from .rules import Rules, StageRule

_QUIET_EVERY = 15.0  # seconds between lines where there is no terminal


class _TeamLine:
    def __init__(self, tokens_per_step: int) -> None:
        self.tokens_per_step = tokens_per_step
        self.note = "waiting"
        self.step, self.begin, self.end, self.last = 0, 0, 0, 0
        self.loss = float("nan")
        self.seconds = 0.0
        self.rate = 0.0  # steps a second, smoothed
        self.out = False


class Progress:
    """Bars with steps, tokens a second, loss and time left for each team, and the time left of the season."""

    def __init__(self, console: Console, rules: Rules, plan: Plan) -> None:
        self.console, self.rules, self.workers = console, rules, plan.workers
        self.lines = {name: _TeamLine(plan.batch(plan.spec(name)) * plan.context) for name in rules.teams}
        self.started = self._said = time.monotonic()
        self.stage = 1
        self.message = ""
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, message: str) -> None:
        """A line of its own."""
        self.console.print(f"[bold]{message}[/bold]", highlight=False)

    def corpus(self, read: int) -> None:
        """Bytes of text read so far."""
        self.message = f"read {read / 1e6:.0f} MB of text"
        if self._live is not None:
            self._live.update(Text(self.message), refresh=True)

    def team(self, name: str, note: str) -> None:
        """What a team is doing; names that are no team's are ignored."""
        if name in self.lines:
            self.lines[name].note = note

    def training(self, name: str, step: int, ends: Sequence[int], stage: int, seconds: float) -> None:
        """A team goes on training from `step` in a stage."""
        line = self.lines[name]
        line.note, line.step, line.last, line.seconds = "training", step, ends[-1], seconds
        line.begin, line.end = (ends[stage - 2] if stage > 1 else 0), ends[stage - 1]
        self.stage = stage

    def step(self, name: str, step: int, loss: float, seconds: float) -> None:
        """A step that a worker reported; `seconds` of training in all."""
        line = self.lines[name]
        if seconds > line.seconds and step > line.step:
            rate = (step - line.step) / (seconds - line.seconds)
            line.rate = rate if line.rate == 0 else 0.8 * line.rate + 0.2 * rate
        line.step, line.loss, line.seconds = step, loss, seconds

    def refresh(self) -> None:
        """Draw, or now and then print a line."""
        now = time.monotonic()
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
        elif now - self._said >= _QUIET_EVERY:
            self._said = now
            parts = [f"{family(name).title} " + (f"{line.step}/{line.end} loss {line.loss:.2f}"
                                                 if line.note == "training" else line.note)
                     for name, line in self.lines.items() if not line.out and line.note != "waiting"]
            left = self.remaining()
            self.console.print(f"{_clock(now - self.started)} stage {self.stage}: " + (", ".join(parts) or "waiting")
                               + (f"; season about {_clock(left)} left" if left == left else ""),
                               highlight=False, soft_wrap=True)

    def decided(self, stage: int, rule: StageRule, rows: list[dict[str, Any]], xz: float) -> None:
        """A stage was decided: its table."""
        table = Table(title=f"{rule.title_ko} ({rule.title_en}): the first {rule.keep} of {len(rows)} "
                            f"{'stay' if rule.keep > 1 else 'wins'}", title_justify="left")
        for column in ("", "team", "score [95 %]", "bits per byte", "skills above chance", "P(last)", ""):
            table.add_column(column)
        for row in rows:
            line = self.lines[row["team"]]
            line.note = "waiting" if row["kept"] else f"out in stage {stage}"
            line.out = not row["kept"]
            skills = row["skills"].values()
            verdict = "out" if not row["kept"] else "stays" if rule.keep > 1 else "wins"
            table.add_row(
                str(row["rank"]), family(row["team"]).title,
                f"{row['score']:.1f} [dim]\\[{row['score_low']:.1f}, {row['score_high']:.1f}][/dim]",
                f"{row['bpb']['value']:.3f}" + ("" if row["bpb"]["high"] < xz else " (not under xz)"),
                f"{sum(skill['beats_chance'] for skill in skills)} of {len(row['skills'])}",
                f"{row['p_last']:.0%}", verdict,
            )
        self.console.print(table)
        self.console.print(f"bits per byte of xz -9: {xz:.3f}", highlight=False)

    def remaining(self) -> float:
        """Seconds left of the season, from the rates so far; teams that may still go out are counted by the rules."""
        known = [line for line in self.lines.values() if line.rate]
        if not known:
            return float("nan")
        whole = sum(line.last / line.rate for line in known) / len(known)  # one team, all stages
        left, staying = 0.0, len(self.lines)
        for number, stage in enumerate(self.rules.stages, start=1):
            if number > self.stage:
                left += staying * stage.share * whole
            elif number == self.stage:
                left += sum((line.end - line.step) / line.rate for line in known if not line.out)
                left += (staying - sum(1 for line in known if not line.out)) * stage.share * whole
            staying = stage.keep
        return left / self.workers

    def _table(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for name, line in self.lines.items():
            bar = ProgressBar(total=max(1, line.end - line.begin), completed=max(0, line.step - line.begin), width=24)
            left = (line.end - line.step) / line.rate if line.rate else float("nan")
            active = line.note == "training"
            table.add_row(
                Text(family(name).title, style="dim strike" if line.out else "bold"), bar,
                f"{line.step}/{line.end}" if line.end else "",
                f"{line.rate * line.tokens_per_step:,.0f} tokens/s" if active else "",
                f"loss {line.loss:.3f}" if line.loss == line.loss else "",
                f"{_clock(left)} left" if active else line.note,
            )
        spent = time.monotonic() - self.started
        return Group(table, Text(f"stage {self.stage} of {len(self.rules.stages)}   {_clock(spent)} so far   "
                                 f"season about {_clock(self.remaining())} left"))


def _clock(seconds: float) -> str:
    return "?" if seconds != seconds else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"

"""What the command line asks of a season: play it, show it, write it down."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ..errors import DokjaError
from ..models.families import family
from .plan import SIZE, Plan, make_plan
from .play import DATABASE, Interrupted, new_season, open_season, play, remove
from .progress import Progress
from .rules import Rules, load_rules
from .store import Store
from .summary import summarise

DEFAULT_MINUTES = 8.5


@dataclass(frozen=True)
class Wish:
    """What a player asked for; None where nothing was said."""

    minutes: float | None
    flops: float | None
    texts: tuple[str, ...]
    seed: int | None
    teams: tuple[str, ...] | None
    workers: int | None
    rules: Path | None


def play_season(home: Path, wish: Wish, *, fresh: bool, console: Console) -> None:
    """Begin or go on with the season in `home` and write its report. Bad wishes raise DokjaError."""
    if fresh:
        remove(home)
    exists = (home / DATABASE).exists()
    if exists:
        season, store = open_season(home)
        plan, rules, finished = season.plan, season.rules, store.setting("state") == "finished"
        store.close()
        _require_same(wish, plan, rules, home)
        if finished:
            console.print(f"The season in {home} is finished; --fresh (FRESH=1 with make) begins another.",
                          highlight=False)
            return
        console.print(f"Going on with the season in {home}.", highlight=False)
    else:
        rules = _rules(wish)
        plan = _plan(wish, rules)
    _announce(plan, rules, console)
    with Progress(console, rules, plan) as progress:
        if not exists:
            home.mkdir(parents=True, exist_ok=True)
            new_season(home, plan, rules, progress)
        try:
            play(home, progress=progress)
        except Interrupted:
            console.print("Stopped. The same command goes on from here.")
            raise SystemExit(130) from None
    print_winner(read_summary(home), console)
    console.print(f"Report: {write_report(home, None)}", highlight=False)


def read_summary(home: Path) -> dict[str, Any]:
    """The season in `home` as plain data; DokjaError when there is none."""
    store = Store.open(home / DATABASE)
    try:
        return summarise(store)
    finally:
        store.close()


def write_report(home: Path, out: Path | None) -> Path:
    """Write the season's report as one HTML file and return where."""
    from .report import render

    path = out or home / "report.html"
    html = render(read_summary(home))
    draft = path.with_name(path.name + ".draft")
    try:
        draft.write_text(html, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise DokjaError(f"cannot write the report {path}: {os.strerror(error.errno or 0)}") from error
    return path


def print_status(summary: dict[str, Any], console: Console) -> None:
    """The season as tables on a terminal."""
    console.print(f"season {summary['season']}, seed {summary['seed']}: {summary['state']}", highlight=False)
    titles = {team["name"]: team["title"] for team in summary["teams"]}
    for stage in summary["stages"]:
        console.print(f"\n[bold]{stage['title']} ({stage['title_en']})[/bold]: {stage['state']}", highlight=False)
        if stage["table"]:
            console.print(_standings(stage, titles))
    console.print("\n[bold]teams[/bold]", highlight=False)
    console.print(_costs(summary["teams"]))
    if summary["state"] == "finished":
        print_winner(summary, console)


def print_winner(summary: dict[str, Any], console: Console) -> None:
    """Who won, and what that does and does not mean."""
    winner = summary["winner"]
    if winner is None:
        return
    chosen = family(winner)
    console.print(f"\n[bold]{chosen.title}[/bold] ({chosen.company}'s published architecture) wins the season. These "
                  "are published architectures at pocket size and budget, trained here from random weights: not the "
                  "companies' models, and no statement about them.", highlight=False)


def _standings(stage: dict[str, Any], titles: dict[str, str]) -> Table:
    """A judged stage with its baselines, in 80 columns."""
    table = _narrow("", "team", "score   95 %", "bits/byte   95 %", ">chance", "P(last)", "", right=(0, 4, 5))
    for row in stage["table"]:
        bpb, skills = row["bpb"], row["skills"].values()
        fate = "out" if not row["kept"] else "stays" if stage["keep"] > 1 else "wins"
        table.add_row(str(row["rank"]), titles[row["team"]],
                      f"{row['score']:5.1f} [dim]{row['score_low']:.1f}-{row['score_high']:.1f}[/dim]",
                      f"{bpb['value']:.3f} [dim]{bpb['low']:.3f}-{bpb['high']:.3f}[/dim]",
                      f"{sum(skill['beats_chance'] for skill in skills)}/{len(skills)}", f"{row['p_last']:.0%}", fate,
                      style="" if row["kept"] else "dim")
    for name, value in stage["baselines"].items():
        table.add_row("", name, "", f"{value:.3f}", "", "", "", style="italic")
    return table


def _costs(teams: list[dict[str, Any]]) -> Table:
    """What each team is made of and has used, in 80 columns."""
    table = _narrow("team", "state", "steps", "params", "active", "KV B/tok", "FLOPs", right=(2, 3, 4, 5, 6))
    for team in teams:
        made = "parameters" in team
        table.add_row(team["title"], f"out, stage {team['out_stage']}" if team["out_stage"] else team["state"],
                      f"{team['step']}/{team['steps']}" if made else "",
                      *((_count(team["parameters"]), _count(team["active"]), f"{team['kv_bytes_per_token']:,.0f}",
                         f"{team['flops']:.3g}") if made else ("", "", "", "")))
    return table


def _count(value: int) -> str:
    return f"{value / 1e6:,.2f}M" if value >= 1e6 else f"{value:,}"


def _narrow(*columns: str, right: tuple[int, ...]) -> Table:
    """A table without frame whose numbers never wrap; long team names do where there is no room."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in right else "left", no_wrap=column != "team",
                         overflow="fold")
    return table


def measure_text(model: Path, texts: list[Path], max_bytes: int) -> dict[str, Any]:
    """Bits per byte of a model folder on up to `max_bytes` of text, with its interval, and of xz -9 on the same."""
    from ..build.packing import encode
    from ..build.read import Texts
    from ..judge.baselines import xz_bits_per_byte
    from ..judge.likelihood import document_bits
    from ..judge.statistics import ratio_interval
    from ..models.folder import load_folder

    loaded = load_folder(model)
    chosen, size = [], 0
    for document in Texts(texts):
        chosen.append(document)
        size += len(document.content.encode())
        if size >= max_bytes:
            break
    bits = document_bits(loaded.decoder, list(encode(loaded.codec, chosen)), loaded.codec.end_of_text)
    sizes = [len(document.content.encode()) for document in chosen]
    if len(chosen) < 2:
        value = sum(bits) / size
        interval: dict[str, Any] = {"value": value, "low": None, "high": None, "n": 1}
    else:
        interval = ratio_interval(bits, sizes).to_dict()
    return {**interval, "bytes": size, "xz": xz_bits_per_byte([document.content for document in chosen])}


def _rules(wish: Wish) -> Rules:
    rules = load_rules(wish.rules)
    if wish.teams is None:
        teams = rules.teams
    else:
        teams = tuple(name.strip() for name in wish.teams if name.strip())
        if len(set(teams)) != len(teams) or len(teams) < 2:
            raise DokjaError(f"a season needs two or more different teams, not {', '.join(teams) or 'none'}")
    for name in teams:
        family(name)
    stages = tuple(replace(stage, keep=min(stage.keep, len(teams))) for stage in rules.stages)
    return replace(rules, teams=teams, stages=stages)


def _plan(wish: Wish, rules: Rules) -> Plan:
    if wish.minutes is not None and wish.flops is not None:
        raise DokjaError("give either --minutes or --flops, not both")
    if wish.minutes is not None and not 0.2 <= wish.minutes <= 1e5:
        raise DokjaError(f"--minutes {wish.minutes:g} is outside 0.2 to 100000")
    if wish.workers is not None and wish.workers < 1:
        raise DokjaError(f"--workers {wish.workers} must be at least 1")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = wish.workers or min(cores, len(rules.teams))
    minutes = DEFAULT_MINUTES if wish.minutes is None and wish.flops is None else wish.minutes
    return make_plan(rules, seed=1 if wish.seed is None else wish.seed, texts=wish.texts, workers=workers,
                     threads=max(1, cores // workers), minutes=minutes, flops=wish.flops)


def _require_same(wish: Wish, plan: Plan, rules: Rules, home: Path) -> None:
    """A season goes on as it was begun; a different wish is refused, never silently dropped."""
    asked: dict[str, tuple[Any, Any]] = {
        "--text": (wish.texts or None, plan.texts), "--seed": (wish.seed, plan.seed),
        "--teams": (wish.teams, rules.teams), "--workers": (wish.workers, plan.workers),
        "--flops": (wish.flops, plan.team_flops), "--minutes": (wish.minutes, plan.minutes),
    }
    for option, (now, then) in asked.items():
        if now is not None and now != then:
            begun = (then is None and f"without {option}") or (then == () and "the built-in text") or (
                f"{option} {','.join(then) if isinstance(then, tuple) else format(then, 'g')}")
            raise DokjaError(f"the season in {home} was begun with {begun}: go on without {option}, choose another "
                             "folder with --home, or begin again with --fresh")


def _announce(plan: Plan, rules: Rules, console: Console) -> None:
    """The dial and what followed from it."""
    console.print(
        f"Season {rules.name}: {len(rules.teams)} teams, {' -> '.join(str(n) for n in _counts(rules))}; "
        f"{plan.team_flops:.2g} training FLOPs for a finalist; models of {plan.size / 1e6:.1f}M parameters "
        f"({SIZE} x sqrt(FLOPs)); sequences of {plan.context} tokens; up to "
        f"{plan.train_bytes / 1e6:.1f} MB of text; {plan.workers} teams at once, {plan.threads} thread"
        f"{'s' if plan.threads > 1 else ''} each.", highlight=False)
    console.print("Published architectures at pocket size, trained here from random weights: not the companies' "
                  "models.", highlight=False)


def _counts(rules: Rules) -> list[int]:
    return [len(rules.teams), *(stage.keep for stage in rules.stages)]

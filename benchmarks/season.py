"""The bars of the pocket season, measured: `make bench-season`.

Plays the default season in a folder of its own and watches the whole process tree, then measures how near training
comes to the machine's matrix rate. Its last lines are one a bar: ok or short, the bar, ours, the goal.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from dokja.build.packing import Sequences
from dokja.build.schedule import Schedule
from dokja.build.train import NextToken, NextTokenConfig, TrainConfig, Trainer
from dokja.models.families import family
from dokja.models.spec import ModelSpec, MoE
from dokja.season.command import read_summary
from dokja.season.plan import Plan
from dokja.season.play import open_season

BARS = {"minutes": 10.0, "gigabytes": 4.0, "skills": 5, "dense": 0.55, "mixture": 0.35}
ROUNDS = 9
SLICE = 0.6  # seconds of training between two measurements of the matrix rate


def play(home: Path, options: list[str]) -> tuple[float, float]:
    """Minutes and peak gigabytes (resident, all processes together) of one season."""
    start = time.monotonic()
    command = [sys.executable, "-m", "dokja", "season", "play", "--home", str(home), "--no-serve", *options]
    process = psutil.Popen(command)
    peak = 0
    while process.poll() is None:
        try:
            tree = [process, *process.children(recursive=True)]
            peak = max(peak, sum(member.memory_info().rss for member in tree))
        except psutil.Error:
            pass  # a process ended while it was looked at
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"the season ended with exit code {process.returncode}")
    return (time.monotonic() - start) / 60, peak / 1e9


def share_of_gemm(home: str, name: str, plan: Plan, spec: dict[str, Any], ready: Any) -> list[float]:
    """Training FLOPs a second over matrix-product FLOPs a second, taken in turn on the same thread, one a round."""
    torch.set_num_threads(plan.threads)
    its = ModelSpec.from_dict(spec)
    data = Sequences.load(Path(home) / "teams" / name / "sequences.npz")
    objective = NextToken(data, NextTokenConfig(batch=plan.batch(its)), seed=1)
    trainer = Trainer(its, objective, TrainConfig(seed=1), Schedule([10_000]))
    a, b, out = torch.randn(1024, 1024), torch.randn(1024, 1024), torch.empty(1024, 1024)
    trainer.step()
    ready.wait()
    shares = []
    for _ in range(ROUNDS):
        products, start = 0, time.perf_counter()
        while time.perf_counter() - start < SLICE / 2:
            torch.mm(a, b, out=out)
            products += 1
        gemm = products * 2 * 1024**3 / (time.perf_counter() - start)
        steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < SLICE:
            trainer.step()
            steps += 1
        shares.append(steps * objective.batch(trainer.model, 0).flops / (time.perf_counter() - start) / gemm)
    return shares


def rates(home: Path) -> dict[str, list[float]]:
    """For each team the shares of each round, with as many teams at once as the season trains."""
    season, store = open_season(home)
    teams = [(team.name, team.spec) for team in store.teams()]
    store.close()
    plan: Plan = season.plan
    context = multiprocessing.get_context("spawn")
    found: dict[str, list[float]] = {}
    with context.Manager() as manager, context.Pool(plan.workers) as pool:
        # Every team beside another one, so that all cores are busy as they are in a season.
        for index, (name, spec) in enumerate(teams):
            group = [(name, spec), *(teams[(index + k) % len(teams)] for k in range(1, plan.workers))]
            ready = manager.Barrier(len(group))
            jobs = [pool.apply_async(share_of_gemm, (str(home), team, plan, its, ready))
                    for team, its in group]
            found[name] = jobs[0].get()
            for job in jobs[1:]:
                job.get()
    return found


def main() -> None:
    """Measure, print the tables and the bars, and write them as JSON with --out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="play (or read a finished season) here instead of a temporary folder")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("options", nargs="*", help="more options for `dokja season play`, after --")
    arguments = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    print(f"dokja {commit.strip()}, torch {torch.__version__}, Python {platform.python_version()}, "
          f"{psutil.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        home = arguments.home or Path(scratch) / "season"
        minutes, gigabytes = play(home, arguments.options)
        summary, shares = read_summary(home), rates(home)
    judged = [stage for stage in summary["stages"] if stage["table"]]
    second = {row["team"]: row for row in judged[1]["table"]}
    xz = judged[1]["baselines"]["xz -9"]
    print("\nteam                       parameters  active     bits/byte  skills  of GEMM rate (median, min to max)")
    figures = []
    for team in summary["teams"]:
        name = team["name"]
        rows = [row for stage in judged for row in stage["table"] if row["team"] == name]
        above = [sum(skill["beats_chance"] for skill in row["skills"].values()) for row in rows]
        median = statistics.median(shares[name])
        mixture = any(isinstance(layer.ffn, MoE) for layer in family(name).spec.layers)
        figures.append({"team": name, "bpb": [row["bpb"]["value"] for row in rows], "skills": above, "share": median,
                        "mixture": mixture, "parameters": team["parameters"], "active": team["active"]})
        print(f"{team['title']:25s}  {team['parameters']:10,}  {team['active']:9,}  "
              f"{' '.join(format(row['bpb']['value'], '.3f') for row in rows):17s}  {' '.join(map(str, above)):8s} "
              f"{median:.0%} ({min(shares[name]):.0%} to {max(shares[name]):.0%})"
              f"{'' if mixture else '  dense'}")
    print(", ".join(f"{name} {value:.3f} bits per byte" for name, value in judged[-1]["baselines"].items()))
    worst = max(row["bpb"]["value"] for row in second.values())
    fewest = min(sum(skill["beats_chance"] for skill in row["skills"].values()) for row in second.values())
    dense = min(figure["share"] for figure in figures if not figure["mixture"])
    mixture = min(figure["share"] for figure in figures if figure["mixture"])
    bars = [
        ("default season ends, minutes", minutes, "at most 10", minutes <= BARS["minutes"]),
        ("memory of all processes, GB", gigabytes, "at most 4", gigabytes <= BARS["gigabytes"]),
        ("worst team's bits per byte in stage 2", worst, f"under xz -9, {xz:.3f}", worst < xz),
        ("fewest skills above chance of a team in stage 2", fewest, "at least 5", fewest >= BARS["skills"]),
        ("training of the dense team, share of GEMM rate", dense, "at least 0.55", dense >= BARS["dense"]),
        ("training of the slowest mixture, share of GEMM rate", mixture, "at least 0.35", mixture >= BARS["mixture"]),
    ]
    print()
    for title, ours, goal, reached in bars:
        print(f"{'ok' if reached else 'short'}  {title}: {ours:.3g} (goal: {goal})")
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({
            "commit": commit.strip(), "torch": torch.__version__, "minutes": minutes, "gigabytes": gigabytes,
            "xz": xz, "teams": figures, "plan": summary["plan"],
            "bars": [{"bar": title, "ours": ours, "goal": goal, "ok": bool(reached)}
                     for title, ours, goal, reached in bars],
        }, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""A whole small season through the command line: played, killed, resumed, refused."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from dokja.season.command import read_summary
from dokja.season.store import Store

pytestmark = pytest.mark.timed

RULES = """
name = "small"
teams = ["k-exaone", "vaetki", "hyperclova-x-seed-think"]
exercise_share = 0.3
answer_weight = 4
[score]
text_points = 50
exercise_points = 50
items = 12
[[stage]]
title_ko = "1차"
title_en = "Stage 1"
share = 0.5
keep = 2
[[stage]]
title_ko = "결선"
title_en = "Final"
share = 0.5
keep = 1
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "small.toml"
    path.write_text(RULES, encoding="utf-8")
    return path


def command(home: Path, rules: Path | None = None, *more: str) -> list[str]:
    options = ["--rules", str(rules)] if rules else []
    return [sys.executable, "-m", "dokja", "season", "play", "--home", str(home), "--flops", "2e10", "--no-serve",
            "--workers", "2", *options, *more]


def run(arguments: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, timeout=240, check=False, **options)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, rules: Path) -> Path:
    """One season, never interrupted."""
    home = tmp_path_factory.mktemp("played") / "season"
    done = run(command(home, rules))
    assert done.returncode == 0, done.stderr
    return home


def outcome(home: Path) -> tuple[object, ...]:
    """Everything that a season's numbers are: judgements item by item, decisions, curves, baselines."""
    store = Store.open(home / "season.db")
    try:
        teams = [(team.name, team.state, team.out_stage, team.step, team.curve) for team in store.teams()]
        judged = [(row.stage, row.team, row.raw, row.result) for row in store.judgements()]
        return teams, sorted(judged, key=lambda row: row[:2]), [(b.name, b.bits_per_byte) for b in store.baselines()]
    finally:
        store.close()


def test_season_ends_with_a_winner_and_a_report(played: Path) -> None:
    summary = read_summary(played)
    assert summary["state"] == "finished"
    assert [len(stage["table"]) for stage in summary["stages"]] == [3, 2]
    states = sorted(team["state"] for team in summary["teams"])
    assert states == ["out", "out", "winner"]
    assert (played / "report.html").stat().st_size > 10_000
    for team in summary["teams"]:
        # The same budget: nobody trained on more than their stages paid for, nor left a whole step unspent.
        paid = (0.5 if team["out_stage"] == 1 else 1.0) * summary["budget_flops"]
        step = team["flops"] / team["step"]
        assert paid - step < team["flops"] <= paid


def test_playing_a_finished_season_changes_nothing(played: Path, rules: Path) -> None:
    before = outcome(played)
    done = run(command(played, rules))
    assert done.returncode == 0
    assert "finished" in done.stdout
    assert outcome(played) == before


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_season_ends_with_the_same_numbers(played: Path, rules: Path, tmp_path: Path,
                                                        sent: signal.Signals) -> None:
    home = tmp_path / "season"
    moments = random.Random(int(sent))
    for attempt in range(30):
        # The first cuts come early, so that every kind of work is hit; later ones leave more and more time.
        process = subprocess.Popen(command(home, rules), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   start_new_session=True)
        try:
            _, errors = process.communicate(timeout=moments.uniform(1, 4) + 2 * attempt)
        except subprocess.TimeoutExpired:
            process.send_signal(sent)
            _, errors = process.communicate(timeout=60)
        if process.returncode == 0:  # the signal may come a moment after the last line
            break
        assert process.returncode in (-sent, 130), errors
    assert attempt > 0, "nothing was interrupted: make the season longer"
    assert outcome(home) == outcome(played)
    for folder in sorted((played / "teams").glob("*/stage-*")):
        ours = load_file(home / folder.relative_to(played) / "model.safetensors")
        for name, tensor in load_file(folder / "model.safetensors").items():
            assert tensor.equal(ours[name]), f"{folder.name} {name}"


def test_season_left_before_its_last_decision_is_decided(played: Path, rules: Path, tmp_path: Path) -> None:
    home = tmp_path / "season"
    shutil.copytree(played, home)
    with sqlite3.connect(home / "season.db") as database:  # as the last judgement's transaction left it
        database.execute("UPDATE judgements SET result = NULL WHERE stage = 2")
        database.execute("UPDATE teams SET state = 'in', out_stage = NULL WHERE state = 'winner' OR out_stage = 2")
        database.execute("UPDATE settings SET value = '\"playing\"' WHERE name = 'state'")
    done = run(command(home, rules))
    assert done.returncode == 0, done.stderr
    assert outcome(home) == outcome(played)


def test_workers_end_with_a_killed_parent(rules: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(command(tmp_path / "season", rules), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)
    group = process.pid
    deadline = time.monotonic() + 60
    while len(members(group)) < 3 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(members(group)) >= 3, "no workers were started"
    process.kill()
    process.wait()
    while members(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not members(group)


def members(group: int) -> list[int]:
    """Living processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a refusal with exit code 2."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("dokja: ")
    return lines[0]


def test_unknown_team_is_refused(tmp_path: Path) -> None:
    assert "solar-open" in refused(run(command(tmp_path / "s", None, "--teams", "k-exaone,gpt-9")))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(("content", "word"), [
    (None, "does not exist"), (b"", ""), ("가나다".encode("euc-kr") * 9000, "UTF-8"), ("짧은 글. ".encode(), "small"),
])
def test_bad_text_is_refused_and_leaves_no_season(tmp_path: Path, content: bytes | None, word: str) -> None:
    text = tmp_path / "text.txt"
    if content is not None:
        text.write_bytes(content)
    sentence = refused(run(command(tmp_path / "s", None, "--text", str(text))))
    assert word in sentence
    assert not (tmp_path / "s" / "season.db").exists()


def test_port_in_use_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments = [word for word in command(tmp_path / "s") if word != "--no-serve"]
        sentence = refused(run([*arguments, "--port", str(port)]))
    assert str(port) in sentence
    assert not (tmp_path / "s").exists()


def test_state_of_another_version_is_refused_and_kept(played: Path, tmp_path: Path, rules: Path) -> None:
    home = tmp_path / "season"
    shutil.copytree(played, home)
    with sqlite3.connect(home / "season.db") as database:
        database.execute("UPDATE settings SET value = '999' WHERE name = 'schema'")
    before = (home / "teams").stat().st_mtime
    assert "999" in refused(run(command(home, rules)))
    assert (home / "teams").stat().st_mtime == before


def test_damaged_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "season.db").write_bytes(b"not a database" * 100)
    assert "damaged" in refused(run(command(tmp_path / "s")))


def test_another_wish_for_a_begun_season_is_refused(played: Path) -> None:
    assert "--seed" in refused(run(command(played, None, "--seed", "2")))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_full_disk_is_one_sentence_and_the_season_goes_on_afterwards(played: Path, rules: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(disk)], check=False,
                      capture_output=True).returncode:
        pytest.skip("this machine does not allow mounting a tmpfs")
    try:
        assert "no space left" in refused(run(command(disk / "season", rules)))
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        assert run(command(disk / "season", rules)).returncode == 0
        assert outcome(disk / "season") == outcome(played)
    finally:
        subprocess.run(["umount", str(disk)], check=False)


@pytest.mark.parametrize("verb", [[], ["season"], ["season", "play"], ["season", "status"], ["season", "report"],
                                  ["season", "serve"], ["serve"], ["build"], ["build", "text"], ["build", "exercises"],
                                  ["judge"], ["judge", "text"], ["models"], ["models", "list"], ["models", "show"]])
def test_every_help_shows_an_example(verb: list[str]) -> None:
    done = run([sys.executable, "-m", "dokja", *verb, "--help"])
    assert done.returncode == 0
    assert "Example: dokja" in " ".join(done.stdout.split())

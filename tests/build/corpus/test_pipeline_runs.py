"""However `dokja build corpus` is run, stopped and started: the same bytes, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_corpus import END, contents, prose, recipe, stop_at, write
from tokenizers import Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

from dokja.build.corpus.engine import engine
from dokja.build.corpus.pipeline import build
from dokja.build.corpus.shards import open_shards
from dokja.errors import DokjaError

# What a script begins with that builds a corpus of the first argument's helpers in a process of its own.
IN_A_PROCESS = """import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tiny_corpus import recipe
from dokja.build.corpus.pipeline import build
"""

# The same bytes.


def test_workers_order_of_files_and_place_do_not_matter(folder: Path, tokenizer: Path) -> None:
    one = build(recipe(folder, tokenizer=str(tokenizer)), folder / "one")
    three = build(recipe(folder, tokenizer=str(tokenizer)), folder / "three", workers=3)
    assert contents(one.path) == contents(three.path)
    moved = folder / "moved"
    for name in ("가", "나"):
        for number, path in enumerate(sorted((folder / name).iterdir(), reverse=True)):
            target = moved / name / f"{number}.jsonl"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    assert build(recipe(moved, tokenizer=str(tokenizer)), folder / "other").manifest == one.manifest
    other = build(recipe(folder, tokenizer=str(tokenizer), seed=2), folder / "seed")
    assert other.manifest["hash"] != one.manifest["hash"]


def test_an_interrupted_run_goes_on_to_the_same_bytes(folder: Path, tokenizer: Path) -> None:
    whole = build(recipe(folder, tokenizer=str(tokenizer)), folder / "whole")
    for phase, after in (("read", 1), ("read", 4), ("near", 1), ("finish", 2), ("join", 1)):
        out = folder / f"{phase}{after}"
        with pytest.raises(KeyboardInterrupt):
            build(recipe(folder, tokenizer=str(tokenizer)), out, progress=stop_at(phase, after))
        with pytest.raises(DokjaError, match="holds no finished corpus"):
            open_shards(out)
        done: list[str] = []
        build(recipe(folder, tokenizer=str(tokenizer)), out, progress=lambda name, at, of, done=done: done.append(name))
        assert done.count("read") == (6 if phase == "read" and after == 1 else 3 if phase == "read" else 1)
        assert contents(out) == contents(whole.path)


def test_a_run_that_is_killed_goes_on_to_the_same_bytes(folder: Path) -> None:
    whole = build(recipe(folder), folder / "whole")
    code = (f"import os, signal\n{IN_A_PROCESS}"
            "left = int(sys.argv[3])\n"
            "def replace(*names, real=os.replace):\n"
            "    global left\n"
            "    left -= 1\n"
            "    left or os.kill(os.getpid(), signal.SIGKILL)\n"
            "    real(*names)\n"
            "os.replace = replace\n"
            "build(recipe(Path(sys.argv[2])), Path(sys.argv[2]) / 'out')")
    for moment in (2, 9):
        done = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(folder), str(moment)])
        assert done.returncode == -signal.SIGKILL
        assert not (folder / "out" / "manifest.json").exists()
    build(recipe(folder), folder / "out")
    assert contents(folder / "out") == contents(whole.path)


def test_another_recipe_or_other_files_begin_anew(folder: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(recipe(folder), folder / "out", progress=stop_at("finish"))
    write(folder / "나" / "more.jsonl", [prose(random.Random(3))])
    whole = build(recipe(folder, seed=5), folder / "whole")
    assert contents(build(recipe(folder, seed=5), folder / "out").path) == contents(whole.path)


def test_a_tokenizer_and_benchmarks_that_changed_are_read_again(folder: Path, tokenizer: Path) -> None:
    own = folder / "tokenizer.json"
    shutil.copyfile(tokenizer, own)
    text = json.loads((folder / "가" / "0.jsonl").read_text(encoding="utf-8").splitlines()[0])["text"]
    write(folder / "bench" / "test.jsonl", ["어느 글에도 없는 물음을 여기에 길게 적어 두니 겹치는 것이 없어야 한다"])
    more = {"tokenizer": str(own), "decontaminate": {"benchmarks": [str(folder / "bench")], "action": "report"}}
    made = build(recipe(folder, **more), folder / "out")
    assert (made.path / "hits.jsonl").read_text(encoding="utf-8") == ""
    write(folder / "bench" / "test.jsonl", [text])
    one_a_byte = {token: number for number, token in enumerate([END, *pre_tokenizers.ByteLevel.alphabet()])}
    plain = Tokenizer(models.BPE(one_a_byte, []))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.save(str(own))
    again = build(recipe(folder, **more), folder / "out", fresh=True)
    assert (again.path / "hits.jsonl").read_text(encoding="utf-8") != ""
    assert again.tokens("나")[0][1][0] == len(next(again.texts("나")).encode()) + 1


# What can go wrong.


@contextlib.contextmanager
def tiny_disk(at: Path) -> Iterator[None]:
    at.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(at)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a disk of 200 KB cannot be mounted here: " + mounted.stderr.decode().strip())
    try:
        yield
    finally:
        subprocess.run(["umount", str(at)], check=True)


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="mounting a tiny disk needs root on Linux")
def test_a_disk_that_is_full(folder: Path) -> None:
    with tiny_disk(folder / "disk"):
        for workers in (1, 2):
            with pytest.raises(DokjaError, match=r"the disk of .* is full; free some space"):
                build(recipe(folder), folder / "disk" / "out", workers=workers)
            assert not (folder / "disk" / "out" / "manifest.json").exists()
        subprocess.run(["mount", "-o", "remount,size=50m", str(folder / "disk")], check=True)
        made = build(recipe(folder), folder / "disk" / "out")
        assert made.manifest["sources"]["가"]["out"]["documents"] > 100


def test_a_finished_corpus_is_only_replaced_on_demand_and_once_the_new_one_is_whole(folder: Path) -> None:
    first = build(recipe(folder), folder / "out")
    with pytest.raises(DokjaError, match="replace it with --fresh"):
        build(recipe(folder), folder / "out")
    with pytest.raises(KeyboardInterrupt):
        build(recipe(folder, seed=3), folder / "out", fresh=True, progress=stop_at("finish"))
    assert open_shards(folder / "out") == first
    first.verify()
    second = build(recipe(folder, seed=3), folder / "out", fresh=True)
    second.verify()
    assert second.manifest["hash"] != first.manifest["hash"]
    (folder / "other").mkdir()
    (folder / "other" / "mine.txt").write_text("내 것", encoding="utf-8")
    with pytest.raises(DokjaError, match="holds files that are no corpus"):
        build(recipe(folder), folder / "other")


def test_a_corpus_that_was_changed_is_told(folder: Path, tokenizer: Path) -> None:
    made = build(recipe(folder, tokenizer=str(tokenizer)), folder / "out")
    made.verify()
    for shard in (made.files("가", "tokens")[0]["file"], made.files("나", "text")[0]["file"]):
        path = made.path / shard
        whole = path.read_bytes()
        path.write_bytes(whole[:-2] + bytes([whole[-2] ^ 1, whole[-1]]))
        with pytest.raises(DokjaError, match=f"{path.name} has changed"):
            made.verify()
        path.write_bytes(whole)
    path = made.path / made.files("가", "tokens")[0]["file"]
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DokjaError, match="is not as long as"):
        made.tokens("가")
    with pytest.raises(DokjaError, match="has no source '다'; it has 가, 나"):
        made.tokens("다")
    manifest = made.path / "manifest.json"
    told = manifest.read_text(encoding="utf-8")
    manifest.write_text(told.replace("CC0-1.0", "MIT"), encoding="utf-8")
    with pytest.raises(DokjaError, match="has changed since"):
        open_shards(made.path)


def test_what_cannot_be_done_is_said_before_any_work(folder: Path, tokenizer: Path) -> None:
    for more, told in (({"tokenizer": "none.json"}, "none.json does not exist"),
                       ({"tokenizer": str(tokenizer), "end_of_text": "<end>"}, "has no token '<end>'"),
                       ({"decontaminate": {"benchmarks": [str(folder / "none")]}}, "none does not exist")):
        with pytest.raises(DokjaError, match=re.escape(told)):
            build(recipe(folder, **more), folder / "out")
    with pytest.raises(DokjaError, match="unknown engine 'spark'"):
        build(recipe(folder), folder / "out", engine_name="spark")
    with pytest.raises(DokjaError, match=r"no text is left of 210 documents \(210 language: ko\)"):
        build(recipe(folder, language={"keep": ["fr"]}), folder / "out")


def test_two_runs_do_not_share_a_folder(folder: Path) -> None:
    with pytest.raises(DokjaError, match="another run is working in"):
        build(recipe(folder), folder / "out", progress=lambda name, done, whole: build(
            recipe(folder), folder / "out") and None)


# Size.


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """Of 18 MB more text less than 4 MB show in the peak: buffers that were not full at first."""
    code = (f"import re\n{IN_A_PROCESS}"
            "sizes = {'run_bytes': 1 << 20, 'bucket_bytes': 1 << 20}\n"
            "build(recipe(Path(sys.argv[2]), quality=None, sizes=sizes), Path(sys.argv[2]) / 'out')\n"
            "print(re.search(r'VmHWM:\\s+([0-9]+) kB', Path('/proc/self/status').read_text())[1])")
    peaks, sizes = [], []
    for times in (1, 10):
        folder, rng = tmp_path / str(times), random.Random(times)
        for name in ("가", "나"):
            write(folder / name / "a.jsonl", [prose(rng, 450) for _ in range(25 * times)])
        sizes.append(sum(path.stat().st_size for path in folder.rglob("*.jsonl")))
        done = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(folder)],
                              capture_output=True, text=True, check=True)
        peaks.append(1024 * int(done.stdout))
    assert sizes[1] - sizes[0] > 15_000_000
    assert peaks[1] - peaks[0] < 4_000_000


# The command, and Ray.


def test_the_command_builds_what_its_recipe_says(folder: Path, tokenizer: Path) -> None:
    from dokja.build.command import app

    made = folder / "recipe.yaml"
    made.write_text(f"name: 시험\nsources:\n- {{name: 가, paths: [{folder / '가'}], licence: CC0-1.0, origin: 시험}}\n",
                    encoding="utf-8")
    run = ["corpus", str(made), "--out", str(folder / "out"), "--workers", "1", "--set", f"tokenizer={tokenizer}"]
    told = CliRunner().invoke(app, run)
    assert told.exit_code == 0, told.output
    assert "| 가 | 150 |" in told.output
    assert open_shards(folder / "out").manifest["hash"][:16] in told.output
    manifest = CliRunner().invoke(app, [*run, "--fresh", "--json"])
    assert json.loads(manifest.stdout) == open_shards(folder / "out").manifest
    resolved = CliRunner().invoke(app, [*run, "--dry-run"])
    assert json.loads(resolved.stdout)["tokenizer"] == str(tokenizer)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_an_interrupt_does_not_reach_workers_not_even_while_they_begin() -> None:
    def children() -> set[int]:
        return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}

    before, done = children(), threading.Event()

    def interrupt() -> None:
        while not done.wait(0.01):
            for pid in children() - before:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with engine("local", 2) as runner:
            assert sorted(runner.map(abs, [-1, -2, -3])) == [1, 2, 3]
    finally:
        done.set()
        thread.join()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_ctrl_c_while_workers_begin_is_one_sentence(folder: Path) -> None:
    made = folder / "recipe.yaml"
    made.write_text(f"name: 시험\nsources:\n- {{name: 가, paths: [{folder / '가'}], licence: CC0-1.0, origin: 시험}}\n",
                    encoding="utf-8")
    code = "from dokja.cli import main; main()"
    running = subprocess.Popen([sys.executable, "-c", code, "build", "corpus", str(made), "--out", str(folder / "out"),
                                "--workers", "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    while running.poll() is None and len(children.read_text().split()) < 2:
        time.sleep(0.005)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal sends it: to all of them
    _, told = running.communicate(timeout=60)
    assert (running.returncode, told) == (130, f"interrupted: the same command goes on from what is done in "
                                               f"{folder / 'out'}\n")


@pytest.mark.slow
def test_ray_makes_the_same_corpus(folder: Path, tokenizer: Path) -> None:
    pytest.importorskip("ray")
    here = build(recipe(folder, tokenizer=str(tokenizer)), folder / "here")
    there = build(recipe(folder, tokenizer=str(tokenizer)), folder / "there", engine_name="ray", workers=2)
    assert contents(there.path) == contents(here.path)
    (folder / "가" / "broken.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(DokjaError, match="is not JSON"):
        build(recipe(folder), folder / "broken", engine_name="ray", workers=2)

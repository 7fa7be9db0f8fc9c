"""What a run wrote down is read back whole: curves, page, card, and the places where numbers go."""

from __future__ import annotations

import io
import json
import os
import re
import threading
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from rich.console import Console

from dokja.build.machine import gemm_rate, peak_flops
from dokja.build.train.loop import run
from dokja.build.train.recipe import Recipe, resolve
from dokja.build.train.recipes import find
from dokja.build.watch import Progress, check_sinks, model_card, open_sinks, read_metrics
from dokja.build.watch.curves import Line, chart, names, series, smoothed, thinned, ticks
from dokja.build.watch.page import body, page
from dokja.build.watch.server import make_server
from dokja.errors import DokjaError

pytestmark = pytest.mark.usefixtures("_one_thread")


def tiny(*settings: str) -> Recipe:
    return resolve(find("pretrain"), [
        "model.parameters=60e3", "model.context=32", "data.vocab=512", "data.train_bytes=80e3",
        "data.heldout_bytes=8e3", "schedule.steps=24", "task.batch=4", "watch.evaluate=8", "watch.sample=12",
        *settings])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "finished"
    run(tiny(), folder, lambda record: None)
    return folder


def test_a_line_that_was_cut_off_is_left_out_and_written_again(tmp_path: Path) -> None:
    sinks = open_sinks(tmp_path, [], {}, 0)
    for step in (1, 2, 3):
        sinks.log({"step": step, "loss": 4.0 - step})
    sinks.close()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 4, "lo')
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2, 3]
    sinks = open_sinks(tmp_path, [], {}, 2)  # a restart from the checkpoint of step 2
    sinks.log({"step": 3, "loss": 0.5})
    sinks.close()
    assert [(record["step"], record["loss"]) for record in read_metrics(tmp_path)] == [(1, 3.0), (2, 2.0), (3, 0.5)]


def test_what_is_logged_is_on_the_disk_within_seconds(tmp_path: Path) -> None:
    sinks = open_sinks(tmp_path, [], {}, 0)
    sinks.log({"step": 1, "loss": 1.0})
    sinks.log({"event": "evaluation", "step": 1, "heldout": 2.0})  # events are written at once
    assert len(read_metrics(tmp_path)) == 2
    sinks.close()


def test_a_missing_package_is_said_before_anything_is_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DokjaError, match=r"pip install dokja\[wandb\]"):
        check_sinks(["wandb"])
    with pytest.raises(DokjaError, match=r"pip install dokja\[tensorboard\]"):
        run(tiny("watch.log=[tensorboard]"), tmp_path / "run", lambda record: None)
    assert not (tmp_path / "run").exists()


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator",
                                      reason="TensorBoard is not installed")
    sinks = open_sinks(tmp_path, ["tensorboard"], {}, 0)
    for step in (1, 2, 3):
        sinks.log({"step": step, "loss": 4.0 / step, "skipped": False})
    sinks.close()
    read = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [(event.step, event.value) for event in read.Scalars("loss")] == [(1, 4.0), (2, 2.0),
                                                                             (3, pytest.approx(4 / 3))]


def shown(records: list[dict[str, Any]], *, terminal: bool, peak: float | None = None) -> str:
    out = io.StringIO()
    with Progress(Console(file=out, force_terminal=terminal, width=200), peak=peak) as progress:
        for record in records:
            progress.log(record)
    return out.getvalue()


def test_progress_without_a_terminal_is_plain_lines(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text(encoding="utf-8"))
    said = shown([{"event": "start", "step": 0, **record["facts"]}, *read_metrics(finished)], terminal=False, peak=1e12)
    assert "\x1b" not in said
    assert "step 1 of 24: loss" in said
    last = said.splitlines()[-2]
    assert re.search(r"step 24 of 24: loss [\d.]+, bpb [\d.]+, [\d,]+ tokens/s, MFU \d+%, 0 s left", last)
    assert "held-out bits per byte" in said.splitlines()[-1]


def test_progress_on_a_terminal_goes_on_where_a_run_was(finished: Path) -> None:
    record = json.loads((finished / "run.json").read_text(encoding="utf-8"))
    lines = [line for line in read_metrics(finished) if line["step"] > 12]
    said = shown([{"event": "start", "step": 12, **record["facts"]}, *lines], terminal=True)
    assert "24/24" in said


def test_the_machines_rate_is_a_rate() -> None:
    measured = peak_flops(torch.device("cpu"))
    assert measured is not None
    assert 1e9 < measured < 1e14
    assert 0.3 < gemm_rate(1, 0.2) / measured < 3
    assert peak_flops(torch.device("meta")) is None


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2, 7.9), (0.001, 0.0013), (1e6, 9e9)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 7
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)
    steps = {round((b - a) / (high - low), 6) for a, b in pairwise(found)}
    assert len(steps) == 1


def test_thinning_keeps_means_and_the_end() -> None:
    points = [(float(step), float(step % 2)) for step in range(1, 10_001)]
    few = thinned(points, 100)
    assert len(few) == 100
    assert few[-1][0] == 10_000
    assert all(value == pytest.approx(0.5) for _, value in few)
    assert thinned(points[:50], 100) == points[:50]
    assert smoothed([(float(step), 1.0) for step in range(200)])[-1] == (199.0, 1.0)


def test_a_chart_is_well_formed_and_stays_in_its_frame(finished: Path) -> None:
    lines = read_metrics(finished)
    drawn = chart("loss & <more>", [Line("a", series(lines, "loss")), Line("나", series(lines, "mtp"))], noisy=True,
                  alone=True)
    root = ElementTree.fromstring(drawn)
    width, height = (float(root.get(side) or 0) for side in ("width", "height"))
    for path in root.iter("{http://www.w3.org/2000/svg}path"):
        for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path.get("d") or ""):
            assert 0 <= float(x) <= width
            assert 0 <= float(y) <= height
    assert chart("one", [Line("a", [(1.0, 2.0)])]) == ""
    assert {"loss", "heldout", "rate", "gradient_norm", "tokens_per_second", "mtp"} <= set(names(lines))
    assert all(value > 0 for _, value in series(lines, "tokens_per_second"))


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_page_shows_every_run_and_what_keeps_one_from_being_shown(finished: Path, tmp_path: Path,
                                                                      lang: Any) -> None:
    waiting = tmp_path / "<waiting>"
    waiting.mkdir()
    (waiting / "run.json").write_bytes((finished / "run.json").read_bytes())
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    (stopped / "run.json").write_bytes((finished / "run.json").read_bytes())
    whole = (finished / "metrics.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (stopped / "metrics.jsonl").write_text("".join(whole[:9]) + '{"step": 1', encoding="utf-8")
    os.utime(stopped / "metrics.jsonl", (1e9, 1e9))
    said = page([finished, waiting, stopped, tmp_path / "none"], lang)
    for expected in {"en": ["finished, 24 steps", "no step yet", "stopped at step 8 of 24", "no run:", "learning rate"],
                     "ko": ["끝남, 24스텝", "아직 스텝이 없음", "24스텝 가운데 8에서 멈춤", "실행이 없음:",
                            "학습률"]}[lang]:
        assert expected in said
    assert "<waiting>" not in said
    assert "&lt;waiting&gt;" in said
    assert f'<html lang="{lang}">' in said
    sample = json.loads((finished / "samples.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert sample["prompt"].split()[0] in said
    assert "muon_lr" in said
    assert body([finished], lang) in page([finished], lang)


def test_the_page_is_served_in_the_readers_language_and_nothing_else(finished: Path) -> None:
    server = make_server([finished], "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with urllib.request.urlopen(urllib.request.Request(base + "/", headers={"Accept-Language": "ko-KR"})) as got:
            assert 'lang="ko"' in got.read().decode()
            assert "default-src 'self'" in got.headers["Content-Security-Policy"]
        with urllib.request.urlopen(base + "/?lang=en") as got:
            assert 'lang="en"' in got.read().decode()
        with urllib.request.urlopen(base + "/body?lang=en") as got:
            assert got.read().decode().startswith('<section class="runs">')
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(base + "/run.json")
        with pytest.raises(DokjaError, match="choose another with --port"):
            make_server([finished], "127.0.0.1", int(server.server_address[1]))
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("lang", ["en", "ko"])
def test_the_card_says_what_the_run_did_and_not_more(finished: Path, lang: Any) -> None:
    record = json.loads((finished / "run.json").read_text(encoding="utf-8"))
    said, last = model_card(finished, lang), read_metrics(finished)[-2]
    for expected in (f"{record['facts']['parameters']:,}", record["digest"], f"{last['flops']:.3g} FLOPs", "10^26",
                     "korean/story", '"muon_lr": 0.01', "24 / 24", "k-exaone"):
        assert expected in said, expected
    assert {"en": "not the company's model", "ko": "그 회사의 모델이 아니"}[lang] in said
    name = {"en": "README.md", "ko": "README.ko.md"}[lang]
    assert (finished / "model" / name).read_text(encoding="utf-8") == said


def test_a_card_of_nothing_is_one_sentence(tmp_path: Path, finished: Path) -> None:
    with pytest.raises(DokjaError, match="is not a run's folder"):
        model_card(tmp_path)
    (tmp_path / "run.json").write_bytes((finished / "run.json").read_bytes())
    with pytest.raises(DokjaError, match="holds no run with numbers"):
        model_card(tmp_path)

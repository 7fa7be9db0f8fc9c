"""A run in its folder: killed wherever it stands, started again, it ends as if nothing had happened."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dokja.build.train.checkpoint import read
from dokja.build.train.loop import Outcome, run
from dokja.build.train.next_token import NextTokenConfig
from dokja.build.train.recipe import Recipe, resolve
from dokja.build.train.recipes import find
from dokja.cli import main
from dokja.errors import DokjaError
from dokja.models.folder import load_folder

pytestmark = pytest.mark.usefixtures("_one_thread")

STEPS = 60


def tiny(steps: int = STEPS) -> Recipe:
    """Half a second of training: a mixture with MTP and router biases, checkpoints every 7 steps."""
    return resolve(find("pretrain"), [
        "model.parameters=60e3", "model.context=32", "data.vocab=512", "data.train_bytes=80e3",
        "data.heldout_bytes=8e3", f"schedule.steps={steps}", "task.batch=4", "watch.checkpoint=7", "watch.evaluate=25",
        "watch.sample=30", "watch.prompts=[오늘]"])


def quiet(record: dict[str, Any]) -> None: ...


def lines(path: Path) -> list[dict[str, Any]]:
    """Records without the clock, and without what only tells of a restart."""
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found
            if line.get("event") != "resume"]


def same_runs(one: Path, other: Path) -> None:
    """Metrics, samples, weights, optimizer and state of two runs are equal to the last bit."""
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert lines(one / name) == lines(other / name)
    last = sorted((one / "checkpoints").iterdir())[-1].name
    (mine, record), (its, its_record) = read(one / "checkpoints" / last), read(other / "checkpoints" / last)
    assert mine.keys() == its.keys()
    assert all(torch.equal(mine[name], its[name]) for name in mine)
    assert record["state"] == its_record["state"]
    assert (one / "model" / "model.safetensors").read_bytes() == (other / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing happens to."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("straight") / "run"
    assert run(tiny(), folder, quiet) == Outcome(STEPS, STEPS, None)
    return folder


def child(folder: Path, recipe: Recipe, show: Callable[[dict[str, Any]], None] = quiet) -> Any:
    """The run in a process of its own, which can be killed; forked, so that it starts at once."""
    process = multiprocessing.get_context("fork").Process(target=run, args=(recipe, folder, show))
    process.start()
    return process


def step_of(folder: Path) -> int:
    """The last step that the run has written down."""
    try:
        written = (folder / "metrics.jsonl").read_bytes().splitlines()
    except FileNotFoundError:
        return 0
    return sum(b'"loss"' in line for line in written)


def killed_at(folder: Path, step: int) -> None:
    """Kill the run with SIGKILL at about that step, wherever in it that is."""
    process = child(folder, tiny())
    end = time.monotonic() + 60
    while process.is_alive() and step_of(folder) < step and time.monotonic() < end:
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_a_run_killed_at_twenty_random_steps_is_the_uninterrupted_one_bit_for_bit(straight: Path,
                                                                                  tmp_path: Path) -> None:
    """SIGKILL, wherever in the step or in the writing of a checkpoint it comes."""
    for step in sorted(random.Random(5).sample(range(1, STEPS), 20)):
        killed_at(tmp_path / "run", step)
    process = child(tmp_path / "run", tiny())
    process.join(120)
    assert process.exitcode == 0
    same_runs(straight, tmp_path / "run")


def test_a_signal_ends_the_run_after_its_step_and_it_goes_on(straight: Path, tmp_path: Path) -> None:
    """SIGTERM is what Slurm and Kubernetes send before they take the machine away."""
    folder = tmp_path / "run"

    def stop_at_ten(record: dict[str, Any]) -> None:
        if record.get("step") == 10 and "loss" in record:
            os.kill(os.getpid(), signal.SIGTERM)

    assert run(tiny(), folder, stop_at_ten) == Outcome(10, STEPS, "SIGTERM")
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-00000007", "step-00000010"]
    assert run(tiny(), folder, quiet) == Outcome(STEPS, STEPS, None)
    same_runs(straight, folder)


def run_to_a_full_disk(folder: Path, said: Path) -> None:
    """From step 17 on no file may grow over 40,000 bytes: the next checkpoint finds the disk full, metrics do not."""
    def fill(record: dict[str, Any]) -> None:
        if record.get("step") == 17:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    try:
        run(tiny(), folder, fill)
    except DokjaError as error:
        said.write_text(str(error), encoding="utf-8")


def test_a_full_disk_ends_the_run_in_a_sentence_and_with_room_it_goes_on(straight: Path, tmp_path: Path) -> None:
    folder, said = tmp_path / "run", tmp_path / "said.txt"
    process = multiprocessing.get_context("fork").Process(target=run_to_a_full_disk, args=(folder, said))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert re.fullmatch(r"no space left for the checkpoint .*step-00000021: free some and run the same command again, "
                        r"the run goes on from the checkpoint before", said.read_text(encoding="utf-8"))
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-00000007", "step-00000014"]
    assert run(tiny(), folder, quiet) == Outcome(STEPS, STEPS, None)
    same_runs(straight, folder)


def test_a_finished_run_is_left_as_it_is_and_can_be_made_longer(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(tiny(14), folder, quiet)
    before = (folder / "metrics.jsonl").read_bytes()
    run(tiny(14), folder, quiet)
    assert (folder / "metrics.jsonl").read_bytes().startswith(before)
    assert run(tiny(20), folder, quiet) == Outcome(20, 20, None)


def test_a_folder_with_a_run_of_another_recipe_is_refused(straight: Path) -> None:
    with pytest.raises(DokjaError, match=r"holds a run with train\.optim\.muon_lr = 0\.01, not 0\.02: give another"):
        run(resolve(tiny(), ["train.optim.muon_lr=0.02"]), straight, quiet)


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DokjaError, match="holds something else"):
        run(tiny(), tmp_path, quiet)


def test_the_run_writes_down_what_it_is(straight: Path) -> None:
    record = json.loads((straight / "run.json").read_text(encoding="utf-8"))
    assert find(str(straight)) == tiny()
    assert record["facts"]["tokens_per_step"] == 4 * 32
    assert record["facts"]["parameters"] == sum(
        parameter.numel() for parameter in load_folder(straight / "model").decoder.parameters()) + sum(
        buffer.numel() for buffer in load_folder(straight / "model").decoder.buffers())
    steps = [line for line in lines(straight / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, STEPS + 1))
    assert steps[-1]["flops"] == pytest.approx(STEPS * 4 * 32 * record["facts"]["flops_per_token"])
    assert [line["step"] for line in lines(straight / "metrics.jsonl") if "heldout" in line] == [25, 50, STEPS]


def test_mid_training_goes_on_from_a_run_with_a_longer_context(straight: Path, tmp_path: Path) -> None:
    recipe = resolve(find("midtrain"), [f"model.start={straight}", "schedule.steps=3", "data.train_bytes=80e3",
                                        "data.heldout_bytes=8e3"])
    assert run(recipe, tmp_path / "longer", quiet).step == 3
    before, after = load_folder(straight / "model"), load_folder(tmp_path / "longer" / "model")
    assert (before.spec.context, after.spec.context) == (32, 128)
    assert before.codec.vocab == after.codec.vocab
    ids = torch.arange(100)[None]
    assert torch.isfinite(after.decoder(ids)).all()


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_one_sentence(device: str, tmp_path: Path) -> None:
    with pytest.raises(DokjaError, match=f"^train.device = '{device}' cannot be used here [^\n]*$"):
        run(resolve(tiny(), [f"train.device={device}"]), tmp_path / "run", quiet)


def test_a_schedule_may_have_no_warm_up(tmp_path: Path) -> None:
    assert run(resolve(tiny(), ["schedule.steps=2", "schedule.warmup=0"]), tmp_path / "run", quiet).step == 2


def test_training_can_be_budgeted_in_tokens(tmp_path: Path) -> None:
    recipe = tiny()
    recipe = replace(recipe, schedule=replace(recipe.schedule, steps=None, tokens=1000))
    assert run(recipe, tmp_path / "run", quiet).steps == 1000 // (4 * 32)


@pytest.mark.parametrize(("setting", "said"), [
    ("train.optim.muonlr=1", "a recipe has no train.optim.muonlr; did you mean train.optim.muon_lr?"),
    ("trian.seed=1", "a recipe has no trian; did you mean train?"),
    ("train.seed=many", "train.seed = 'many' does not fit the recipe"),
    ("train.precision=fp16", "train.precision = 'fp16' does not fit the recipe"),
    ("task.batch=0", "task.batch = 0 does not fit the recipe: it should be 1 or more"),
    ("train.clip=0", "train.clip = 0.0 does not fit the recipe: it should be a number above 0"),
    ("schedule.floor=2", "schedule.floor = 2.0 does not fit the recipe: it should be from 0 to 1"),
    ("schedule.tokens=.nan", "schedule.tokens = nan does not fit the recipe: it should be 1 or more"),
    ("task.batch", "'task.batch' sets nothing: write key=value"),
    ("name.of.it=1", "name is a value and has no 'of' in it"),
    ("watch.prompts=[오늘", "is not YAML"),
])
def test_a_setting_that_does_not_fit_is_one_sentence(setting: str, said: str) -> None:
    with pytest.raises(DokjaError) as failure:
        resolve(tiny(), [setting])
    assert said in str(failure.value)
    assert "\n" not in str(failure.value)


def test_settings_reach_every_depth() -> None:
    recipe = resolve(tiny(), ["train.optim.muon_lr=2e-2", "train.guard.sigmas=4", "data.text=[a.txt, b]", "name=시험"])
    assert recipe.train.optim.muon_lr == 0.02
    assert recipe.train.guard is not None
    assert (recipe.train.guard.sigmas, recipe.data.text, recipe.name) == (4, ("a.txt", "b"), "시험")
    assert resolve(recipe, ["train.guard=null"]).train.guard is None
    assert isinstance(recipe.task, NextTokenConfig)
    assert recipe.digest() == resolve(recipe).digest() != tiny().digest()


@pytest.mark.parametrize("name", ["nothing", "missing.py", "missing.json"])
def test_a_recipe_that_is_not_there_is_one_sentence(name: str) -> None:
    with pytest.raises(DokjaError, match=r"there is no recipe .* choose from pretrain"):
        find(name)


def test_a_recipe_may_be_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from dataclasses import replace\nfrom dokja.build.train.recipes import pretrain\n"
                    "def recipe():\n    return replace(pretrain(), name='mine')\n")
    assert find(str(path)).name == "mine"
    path.write_text("def recipe():\n    return 7\n")
    with pytest.raises(DokjaError, match="returns a int"):
        find(str(path))
    path.write_text("raise OSError('no')\n")
    with pytest.raises(DokjaError, match=r"gives no recipe \(OSError: no\)"):
        find(str(path))


def test_a_path_that_is_no_folder_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("mine")
    monkeypatch.setattr(sys, "argv", ["dokja", "build", "train", "pretrain", "--out", str(thesis)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err == f"dokja: {thesis} cannot be used (Not a directory): give another path\n"
    assert thesis.read_text() == "mine"

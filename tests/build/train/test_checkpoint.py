"""A checkpoint is whole or not there, is verified when it is read, and a damaged one costs the steps since the last."""

from __future__ import annotations

import json
import resource
import signal
import threading
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny_teams import trainer

from dokja.build.train import Checkpoints, Trainer
from dokja.build.train import checkpoint as files
from dokja.errors import DokjaError

pytestmark = pytest.mark.usefixtures("_one_thread")


def run_with_checkpoints(folder: Path, every: int, until: int, **options: int) -> Trainer:
    run, store = trainer("solar-open"), Checkpoints(folder, **options)
    while run.step_index < until:
        run.step()
        if run.step_index % every == 0:
            store.save(run, {"note": run.step_index})
    store.wait()
    return run


def test_the_last_few_are_kept(tmp_path: Path) -> None:
    run_with_checkpoints(tmp_path, 1, 5, keep=2)
    assert Checkpoints(tmp_path).steps() == [4, 5]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004", "step-00000005"]


def test_what_is_saved_is_the_moment_of_saving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer may be slow: training goes on meanwhile, and the checkpoint holds nothing of it."""
    go_on = threading.Event()
    write = files.write_tensors
    monkeypatch.setattr(files, "write_tensors", lambda *args: (go_on.wait(30), write(*args))[1])
    run, store = trainer("solar-open"), Checkpoints(tmp_path)
    run.step()
    expected = {name: tensor.clone() for name, tensor in run.tensors().items()}
    store.save(run)
    run.step()
    assert store.steps() == []
    go_on.set()
    store.wait()
    tensors, record = files.read(tmp_path / "step-00000001")
    assert record["state"]["step"] == 1
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())


def test_files_are_safetensors_as_the_library_reads_them(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 5), "한글": torch.arange(4), "none": torch.zeros(0, 7), "one": torch.tensor(2.5),
               "half": torch.randn(2, 2).bfloat16(), "turned": torch.randn(4, 3).T}
    hashed = files.write_tensors(tmp_path / "x.safetensors", tensors)
    assert hashed == files.digest(tmp_path / "x.safetensors")
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(tensors)
        for name, tensor in tensors.items():
            assert torch.equal(file.get_tensor(name), tensor)


def damage(path: Path, how: str) -> None:
    weights, record = path / "state.safetensors", path / "checkpoint.json"
    if how == "one bit":
        content = bytearray(weights.read_bytes())
        content[-5] ^= 1
        weights.write_bytes(content)
    elif how == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "weights gone":
        weights.unlink()
    elif how == "record gone":
        record.unlink()
    elif how == "record cut":
        record.write_text(record.read_text()[:-9])
    else:
        signed = json.loads(record.read_text())
        record.write_text(json.dumps({**signed, "record": signed["record"].replace('"step": 4', '"step": 3')}))


HOW = ["one bit", "cut", "weights gone", "record gone", "record cut", "record changed"]


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path: Path, how: str) -> None:
    run_with_checkpoints(tmp_path, 2, 4)
    damage(tmp_path / "step-00000004", how)
    again = trainer("solar-open")
    with pytest.warns(UserWarning, match="step-00000004.*going on from the one before"):
        assert Checkpoints(tmp_path).restore(again) == {"note": 2}
    assert again.step_index == 2
    # The steps that are taken again give what they gave.
    straight = trainer("solar-open")
    straight.run(4, lambda step: None)
    again.run(4, lambda step: None)
    assert all(torch.equal(tensor, again.tensors()[name]) for name, tensor in straight.tensors().items())


def test_when_all_are_damaged_the_run_does_not_begin_again_by_itself(tmp_path: Path) -> None:
    run_with_checkpoints(tmp_path, 2, 4)
    for path in tmp_path.iterdir():
        damage(path, "cut")
    fresh = trainer("solar-open")
    with (pytest.warns(UserWarning, match="has changed"),
          pytest.raises(DokjaError, match=r"every checkpoint in .* is damaged") as failure):
        Checkpoints(tmp_path).restore(fresh)
    assert "\n" not in str(failure.value)
    assert fresh.step_index == 0


def test_a_full_disk_leaves_the_checkpoint_before_and_says_so(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk; the next save says what happened to the one before it."""
    run = run_with_checkpoints(tmp_path, 2, 2)
    kept = files.digest(tmp_path / "step-00000002" / "state.safetensors")
    run.step()
    store = Checkpoints(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        store.save(run)
        with pytest.raises(DokjaError, match=r"no space left for the checkpoint .*step-00000003: free some"):
            store.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]
    assert files.digest(tmp_path / "step-00000002" / "state.safetensors") == kept
    store.save(run)  # and with room again it goes on
    store.wait()
    assert store.steps() == [2, 3]


def test_what_was_cut_off_while_it_was_written_is_no_checkpoint(tmp_path: Path) -> None:
    run_with_checkpoints(tmp_path, 2, 2)
    draft = tmp_path / "step-00000004.draft"
    draft.mkdir()
    (draft / "state.safetensors").write_bytes(b"half")
    assert Checkpoints(tmp_path).restore(trainer("solar-open")) == {"note": 2}
    assert not draft.exists()


def test_without_checkpoints_there_is_nothing_to_restore(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").restore(trainer("solar-open")) is None

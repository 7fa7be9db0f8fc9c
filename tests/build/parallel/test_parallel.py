"""The same run on 1, 2 and 4 processes: the same loss curve, the same weights, the same checkpoints."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import launch, result, train
from torch.distributed.checkpoint import load
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

from dokja.build.parallel import ParallelConfig, make_parallel
from dokja.build.parallel.config import check
from dokja.build.train import checkpoint as files
from dokja.errors import DokjaError
from dokja.models import ops
from dokja.models.families import FAMILIES

pytestmark = pytest.mark.usefixtures("_one_thread")

DOUBLE = [("k-exaone", {"expert": 2, "tensor": 2}), ("ax-k1", {"shard": 2, "expert": 2}),
          ("solar-open", {"replicate": 2, "shard": 2})]
DENSE = [("hyperclova-x-seed-think", {"shard": 2}), ("exaone-3.5", {"tensor": 2})]
REST = [(name, sizes) for name in ("k-exaone", "ax-k1", "vaetki", "ax-k2", "gemma-3", "exaone-4.5", "deepseek-v3")
        for sizes in ({"replicate": 4}, {"shard": 4}, {"tensor": 4}, {"shard": 2, "tensor": 2},
                      {"replicate": 2, "tensor": 2}, *([{"expert": 4}, {"replicate": 2, "expert": 2}]
                                                       if name not in ("gemma-3", "exaone-4.5") else []))]


@pytest.fixture(autouse=True)
def _own_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cases in float64 replace two operations of this process."""
    for name in ("grouped_linear", "linear_cross_entropy"):
        monkeypatch.setattr(ops, name, getattr(ops, name))


def furthest(some: list[float], others: list[float]) -> float:
    """The largest relative difference."""
    assert len(some) == len(others) > 0
    return max(abs(a - b) / abs(b) for a, b in zip(some, others, strict=True))


def apart(folder: Path, a: str, b: str) -> float:
    """The largest difference of any tensor of two runs, over the largest number in it."""
    one, other = (torch.load(folder / f"{name}.pt", weights_only=True) for name in (a, b))
    assert one.keys() == other.keys()
    return max(float((one[name] - tensor).abs().max() / tensor.abs().max().clamp(min=1e-12))
               for name, tensor in other.items())


def compare(folder: Path, pairs: list[tuple[str, dict[str, int]]], processes: int, within: float,
            **more: Any) -> None:
    cases = [{"name": f"{name} {sizes}", "family": name, "parallel": sizes, **more} for name, sizes in pairs]
    launch(processes, folder, cases, timeout=580)
    for name in {name for name, _ in pairs}:
        train({"name": name, "family": name, **more}, folder)
    for case in cases:
        many, one = result(folder, case["name"]), result(folder, case["family"])
        assert furthest(many["losses"], one["losses"]) < within, case
        assert furthest(many["norms"], one["norms"]) < 100 * within, case
        assert apart(folder, case["name"], case["family"]) < 1000 * within, case
        copies = case["parallel"].get("replicate", 1)
        assert many["held"] < 0.75 * many["all"] or copies == processes, case


def test_four_processes_do_in_float64_what_one_does(tmp_path: Path) -> None:
    """Mixtures by every kind of division: only the order of sums differs, so 12 digits agree."""
    compare(tmp_path, DOUBLE, 4, 1e-12, double=True, until=4, look=True)


def test_two_processes_with_native_kernels_do_in_float32_what_one_does(tmp_path: Path) -> None:
    """Models without experts: a router that wavers between two turns rounding into another choice."""
    compare(tmp_path, DENSE, 2, 1e-4)


def test_objectives_that_call_the_model_piece_by_piece_divide_too(tmp_path: Path) -> None:
    """The head is met outside of a forward pass: its gradients come together, and are counted once."""
    compare(tmp_path, DENSE, 2, 1e-4, apart=True, until=4)


@pytest.mark.slow
def test_every_family_of_layers_divides_every_way(tmp_path: Path) -> None:
    compare(tmp_path, REST, 4, 1e-12, double=True, until=6)


@pytest.mark.slow
def test_recomputation_and_micro_batches_change_nothing(tmp_path: Path) -> None:
    compare(tmp_path, [("solar-open", {"shard": 2, "tensor": 2})], 4, 1e-12, double=True, until=4,
            config={"recompute": True, "micro_batch": 2})


def test_a_checkpoint_of_four_processes_goes_on_with_one_and_two_and_back(tmp_path: Path) -> None:
    """Each goes on with the curve of the run that never stopped, whatever it was divided by before."""
    case = {"family": "k-exaone", "double": True}
    train({**case, "name": "straight"}, tmp_path)
    launch(4, tmp_path, [{**case, "name": "four", "parallel": {"shard": 2, "tensor": 2}, "until": 4, "store": "a"}])
    folder = tmp_path / "a" / "step-00000004"
    assert len(list(folder.glob("*.safetensors"))) > 4
    assert not [path for path in folder.iterdir() if path.suffix not in (".safetensors", ".json")]
    for name in ("b", "c"):
        shutil.copytree(tmp_path / "a", tmp_path / name)
    # PyTorch's own loader reads it too: whole tensors from the shards.
    state = {"model.layers.0.mixer.qkv.weight": torch.zeros_like(torch.load(
        tmp_path / "four.pt", weights_only=True)["model.layers.0.mixer.qkv.weight"])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load(state, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
    whole = torch.load(tmp_path / "four.pt", weights_only=True)
    assert torch.equal(state["model.layers.0.mixer.qkv.weight"], whole["model.layers.0.mixer.qkv.weight"])

    train({**case, "name": "one", "store": "a", "until": 8}, tmp_path)
    launch(2, tmp_path, [{**case, "name": "two", "parallel": {"expert": 2}, "store": "b"}])
    launch(4, tmp_path, [{**case, "name": "back", "parallel": {"replicate": 2, "shard": 2}, "store": "a"}])
    expected = result(tmp_path, "straight")["losses"]
    for name, first, last in (("four", 0, 4), ("one", 4, 8), ("two", 4, 12), ("back", 8, 12)):
        assert result(tmp_path, name)["began"] == first, name
        assert furthest(result(tmp_path, name)["losses"], expected[first:last]) < 1e-12, name


def test_a_damaged_shard_falls_back_to_the_checkpoint_before_on_every_process(tmp_path: Path) -> None:
    case = {"family": "solar-open", "parallel": {"shard": 2}, "store": "a", "every": 2, "until": 4}
    launch(2, tmp_path, [{**case, "name": "first", "damage": "shard-00002-*"}, {**case, "name": "second"}])
    folder = tmp_path / "first-damaged"
    with pytest.raises(files.Damaged, match=r"shard-00002.*has changed"):
        files.verify(folder, record := files.read_record(folder), record["files"])
    assert result(tmp_path, "second")["began"] == 2
    assert result(tmp_path, "second")["losses"] == result(tmp_path, "first")["losses"][2:]


def test_a_killed_process_is_started_again_and_the_run_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """torchrun ends the others and starts all anew; the checkpoint before the kill is what they go on from."""
    case = {"family": "k-exaone", "parallel": {"shard": 2}, "every": 2, "until": 6}
    launch(2, tmp_path, [{**case, "name": "killed", "store": "a", "kill": 5}, {**case, "name": "straight"}],
           restarts=1)
    assert (tmp_path / "killed").exists()
    again, straight = result(tmp_path, "killed"), result(tmp_path, "straight")
    assert again["began"] == 4
    assert again["losses"] == straight["losses"][4:]  # the same layout: to the bit
    one, other = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("killed", "straight"))
    assert all(torch.equal(one[name], tensor) for name, tensor in other.items())


@pytest.mark.parametrize(("family", "sizes", "said"), [
    ("exaone-4", {"expert": 2}, "has no experts to divide"),
    ("k-exaone", {"expert": 3}, "128 experts of .* do not divide by parallel.expert = 3"),
    ("k-exaone", {"tensor": 16}, "8 key/value heads of .* do not divide by parallel.tensor = 16"),
    ("gpt-oss", {"tensor": 2}, "adds biases to sums over columns"),
])
def test_what_does_not_divide_is_refused_in_a_sentence(family: str, sizes: dict[str, int], said: str) -> None:
    with pytest.raises(DokjaError, match=said) as failure:
        check(FAMILIES[family].spec, ParallelConfig(**sizes))
    assert "\n" not in str(failure.value)


def test_sizes_must_be_numbers_of_processes() -> None:
    with pytest.raises(DokjaError, match=r"parallel.shard is 0: give a number"):
        ParallelConfig(shard=0)


def test_another_number_of_processes_than_the_layout_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(DokjaError, match="are 4 processes, but 2 are running: start them with torchrun"):
        make_parallel(ParallelConfig(shard=4))
    with pytest.raises(DokjaError, match="are 1 processes, but 2 are running"):
        make_parallel(ParallelConfig())

"""float8 from outside: the blocks' linear layers change, the run stays the run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tiny_teams import trainer

from dokja.build.train import Checkpoints, Step, Trainer
from dokja.build.train.loop import run
from dokja.build.train.recipe import resolve
from dokja.build.train.recipes import find
from dokja.build.train.trainer import Alone
from dokja.errors import DokjaError

pytestmark = pytest.mark.usefixtures("_one_thread")


def losses(precision: str, steps: int = 12) -> tuple[Trainer, list[float]]:
    torchao = pytest.importorskip("torchao")
    assert torchao
    its, seen = trainer("solar-open", precision=precision), list[Step]()
    its.run(steps, seen.append)
    return its, [step.loss for step in seen]


def test_the_loss_follows_that_of_bfloat16() -> None:
    """Eight bits are coarser than sixteen, so the curve is another one, and nearly the same (arXiv 2209.05433)."""
    (_, half), (_, eighth) = losses("bf16"), losses("fp8")
    assert half[-1] < half[0] - 0.3
    assert eighth != half
    assert eighth == pytest.approx(half, rel=0.02)


def test_products_of_blocks_alone_are_in_float8_and_parameters_keep_their_names() -> None:
    plain, eighth = losses("fp32", 1)[0].model, losses("fp8", 1)[0].model
    assert plain.state_dict().keys() == eighth.state_dict().keys()
    kinds = {name: type(module).__name__ for name, module in eighth.named_modules()}
    changed = {name for name, kind in kinds.items() if kind == "Float8Linear"}
    assert changed
    assert all(name.startswith(("layers.", "mtp.")) and not name.endswith("router") for name in changed)
    assert kinds["head"] == "Linear"
    assert any(name.endswith("router") and kind == "Linear" for name, kind in kinds.items())


def test_a_restored_run_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    straight, whole = losses("fp8", 6)
    begun, first = losses("fp8", 3)
    store = Checkpoints(tmp_path)
    store.save(begun)
    store.wait()
    resumed, second = trainer("solar-open", precision="fp8"), list[Step]()
    Checkpoints(tmp_path).restore(resumed)
    resumed.run(6, second.append)
    assert first + [step.loss for step in second] == whole
    assert all(torch.equal(mine, its) for mine, its in zip(resumed.model.state_dict().values(),
                                                          straight.model.state_dict().values(), strict=True))


def test_without_torchao_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.float8", None)
    with pytest.raises(DokjaError, match=r"^train.precision=fp8 multiplies by torchao: `pip install dokja\[fp8\]`"):
        trainer("solar-open", precision="fp8")


def test_it_does_not_go_with_tensor_parallelism(tmp_path: Path) -> None:
    """It is said before anything begins, as on each of torchrun's processes."""
    recipe = resolve(find("pretrain"), ["train.precision=fp8", "parallel.tensor=2"])
    with pytest.raises(DokjaError, match="not divided by tensor parallelism"):
        run(recipe, tmp_path / "run", lambda record: None, Alone())

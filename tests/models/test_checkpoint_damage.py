"""A published folder that is broken is told in one sentence, and pickles are never opened."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from publishing import CONFIG, published
from safetensors.torch import load_file, save_file

import dokja
from dokja.errors import DokjaError
from dokja.models.checkpoint.shards import INDEX, SINGLE


def first_shard(path: Path) -> Path:
    return sorted(path.glob("*.safetensors"))[0]


def cut(path: Path) -> None:
    shard = first_shard(path)
    shard.write_bytes(shard.read_bytes()[:-100])


def overwrite(content: bytes) -> Callable[[Path], object]:
    return lambda path: first_shard(path).write_bytes(content)


def shard_with(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        for shard in path.glob("*.safetensors"):
            state = load_file(shard)
            if "model.norm.weight" in state:
                change(state)
                save_file(state, shard)
    return apply


def config_with(**fields: object) -> Callable[[Path], object]:
    def apply(path: Path) -> None:
        config = json.loads((path / CONFIG).read_text())
        (path / CONFIG).write_text(json.dumps({**config, **fields}))
    return apply


def only_pickles(path: Path) -> None:
    for shard in (*path.glob("*.safetensors"), path / INDEX):
        shard.unlink()
    (path / "pytorch_model.bin").write_bytes(pickle.dumps({"x": 1}))


def twice(path: Path) -> None:
    save_file({"model.norm.weight": torch.ones(3)}, path / "more.safetensors")
    (path / INDEX).unlink()


def index_with(**fields: object) -> Callable[[Path], object]:
    return lambda path: (path / INDEX).write_text(json.dumps(fields))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a truncated shard": (cut, "broken.*not fully covered"),
    "an empty shard": (overwrite(b""), "broken.*too small"),
    "garbage": (overwrite("안녕하세요 ".encode() * 100), "broken"),
    "a pickle under another name": (overwrite(pickle.dumps({"x": list(range(99))})), "pickle.*never opened"),
    "a zip of a pickle": (overwrite(b"PK\x03\x04" * 99), "pickle.*never opened"),
    "pickles alone": (only_pickles, r"pickle \(pytorch_model.bin\).*safetensors"),
    "a missing shard": (lambda path: first_shard(path).unlink(), "lacks model-00001-of.*names"),
    "no weights at all": (lambda path: [one.unlink() for one in path.glob("*safetensors*")], "no weights"),
    "an index without a table": (index_with(metadata={}), "weight_map"),
    "an index that leads elsewhere": (index_with(weight_map={"a": "../x.safetensors"}), "no safetensors file beside"),
    "an index to a pickle": (index_with(weight_map={"a": "x.bin"}), "no safetensors file beside"),
    "an index that is no JSON": (lambda path: (path / INDEX).write_text("{"), "broken"),
    "a tensor twice": (twice, "model.norm.weight twice"),
    "a missing tensor": (shard_with(lambda state: state.pop("model.norm.weight")), "1 missing .model.norm.weight"),
    "one tensor more": (shard_with(lambda state: state.update(extra=torch.ones(2))), r"1 unexpected \(extra\)"),
    "a misshapen tensor": (shard_with(lambda state: state.update({"model.norm.weight": torch.ones(3)})),
                           r"1 misshapen \(model.norm.weight \[3\] for \["),
    "integers": (shard_with(lambda state: state.update({"model.norm.weight": torch.ones(64, dtype=torch.int64)})),
                 r"floating-point.*model.norm.weight \(I64\)"),
    "eight bits without scales": (
        shard_with(lambda state: state.update({"model.norm.weight": torch.ones(64).to(torch.float8_e4m3fn)})),
        r"model.norm.weight \(F8_E4M3\)"),
    "no config": (lambda path: (path / CONFIG).unlink(), "config.json is missing"),
    "a config that is no JSON": (lambda path: (path / CONFIG).write_text("{'a': 1}"), "config.json is broken"),
    "a config that is a list": (lambda path: (path / CONFIG).write_text("[]"), "no JSON table"),
    "an unknown model type": (config_with(model_type="mamba"), "mamba"),
    "a config without a field": (config_with(hidden_size=None), "hidden_size"),
    "a size in words": (config_with(hidden_size="wide"), "describes no model"),
    "a negative size": (config_with(hidden_size=-64), "."),
    "another size": (config_with(hidden_size=8), "misshapen"),
    "another quantisation": (config_with(quantization_config={"quant_method": "awq"}), "awq"),
    "a broken tokenizer": (lambda path: (path / "tokenizer.json").write_text("{}"), "tokenizer.json"),
    "generation settings that are a list": (lambda path: (path / "generation_config.json").write_text("[]"),
                                            "generation_config.json"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_told_in_one_sentence(tmp_path: Path, damage: str) -> None:
    published(tmp_path / "m")
    harm, word = DAMAGE[damage]
    harm(tmp_path / "m")
    with pytest.raises(DokjaError, match=word) as failure:
        dokja.load(tmp_path / "m")
    assert "\n" not in str(failure.value)


def test_at_most_twenty_names_are_listed(tmp_path: Path) -> None:
    published(tmp_path / "m", shard_bytes=10**9)
    state = load_file(tmp_path / "m" / SINGLE)
    save_file({f"x{i:03d}": torch.ones(1) for i in range(33)} | state, tmp_path / "m" / SINGLE)
    with pytest.raises(DokjaError, match=r"33 unexpected .*x019 and 13 more") as failure:
        dokja.load(tmp_path / "m")
    assert "x020" not in str(failure.value)


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    """Beside whole shards pickles are not looked at; alone, or given by name, they are refused."""
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return open, (str(tmp_path / "exploded"), "w")

    published(tmp_path / "m")
    for name in ("pytorch_model.bin", "model.pt", "model.pth"):
        (tmp_path / "m" / name).write_bytes(pickle.dumps(Bomb()))
    dokja.load(tmp_path / "m")
    for path in (tmp_path / "m").glob("*.safetensors"):
        path.unlink()
    (tmp_path / "m" / INDEX).unlink()
    for source in (tmp_path / "m", tmp_path / "m" / "model.pt"):
        with pytest.raises(DokjaError, match="pickle"):
            dokja.load(source)
    assert not (tmp_path / "exploded").exists()

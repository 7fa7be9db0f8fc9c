"""`dokja.load` and `dokja.save`: what is written comes back, and what is broken is told in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pocket import pocket_model, random_ids
from publishing import CONFIG, equal, published
from safetensors.torch import load_file

import dokja
from dokja.errors import DokjaError
from dokja.models.checkpoint.published import read_published
from dokja.models.checkpoint.shards import INDEX, SINGLE
from dokja.models.families import family


@pytest.mark.parametrize("name", ["k-exaone", "solar-open"])
def test_shards_and_an_index_give_back_the_same_bits(tmp_path: Path, name: str) -> None:
    model = published(tmp_path / "m", name)
    shards = sorted((tmp_path / "m").glob("*.safetensors"))
    assert len(shards) > 2
    assert max(shard.stat().st_size for shard in shards) < 320_000
    index = json.loads((tmp_path / "m" / INDEX).read_text())
    assert set(index["weight_map"].values()) == {shard.name for shard in shards}
    assert index["metadata"]["total_size"] == sum(t.nbytes for shard in shards for t in load_file(shard).values())
    back = dokja.load(tmp_path / "m")
    assert equal(back, model)
    assert back.family is family(name)
    assert back.stop == (3, 5)
    assert not back.decoder.training


def test_one_shard_has_no_index_and_another_is_not_needed(tmp_path: Path) -> None:
    model = published(tmp_path / "m", shard_bytes=10**9)
    assert {path.name for path in (tmp_path / "m").iterdir()} == {CONFIG, SINGLE}
    assert equal(dokja.load(tmp_path / "m"), model)


def test_shards_without_an_index_are_all_read(tmp_path: Path) -> None:
    model = published(tmp_path / "m")
    (tmp_path / "m" / INDEX).unlink()
    assert equal(dokja.load(tmp_path / "m"), model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, "bfloat16"])
def test_another_precision(tmp_path: Path, dtype: torch.dtype | str) -> None:
    """Parameters are rounded; the router's bias, which only chooses, stays exact."""
    model = published(tmp_path / "m")
    back = dokja.load(tmp_path / "m", dtype=dtype)
    state = back.decoder.state_dict()
    for name, tensor in model.decoder.state_dict().items():
        expected = tensor if name.endswith("router_bias") else tensor.bfloat16()
        assert state[name].dtype == expected.dtype
        assert torch.equal(state[name], expected)
    dokja.save(back, tmp_path / "again")
    assert json.loads((tmp_path / "again" / CONFIG).read_text())["dtype"] == "bfloat16"
    again = dokja.load(tmp_path / "again")  # the files' own precision
    assert again.decoder.embedding.weight.dtype == torch.bfloat16
    assert equal(again, back)


def test_all_that_came_with_a_model_is_kept_byte_for_byte(tmp_path: Path) -> None:
    published(tmp_path / "m")
    config = json.loads((tmp_path / "m" / CONFIG).read_text())
    (tmp_path / "m" / CONFIG).write_text(json.dumps({**config, "made_by": "시험"}, ensure_ascii=False, indent=7))
    kept = {"generation_config.json": '{"eos_token_id": 9,\n\n "temperature": 0.6}', "chat_template.jinja": "{{ 1 }}",
            "tokenizer_config.json": '{ "a":1}', "LICENSE": "may be used", "modeling_x.py": "raise SystemExit"}
    for name, text in kept.items():
        (tmp_path / "m" / name).write_text(text)
    model = dokja.load(tmp_path / "m")
    assert model.stop == (9,)
    for layout in ("hf", "dokja"):
        dokja.save(model, tmp_path / layout, layout)
        for name in (CONFIG, *kept):
            assert (tmp_path / layout / name).read_bytes() == (tmp_path / "m" / name).read_bytes(), name
        assert equal(dokja.load(tmp_path / layout), model)


def test_a_config_that_no_longer_describes_the_model_is_written_anew(tmp_path: Path) -> None:
    published(tmp_path / "m")
    model = dokja.load(tmp_path / "m")
    shorter = pocket_model("k-exaone")
    shorter.spec = replace(shorter.spec, context=40)
    dokja.save(replace(model, decoder=shorter), tmp_path / "again")
    assert json.loads((tmp_path / "again" / CONFIG).read_text())["max_position_embeddings"] == 40


def test_an_architecture_that_the_layout_cannot_say_is_refused(tmp_path: Path) -> None:
    odd = pocket_model("k-exaone")
    odd.spec = replace(odd.spec, residual_scale=0.5)
    with pytest.raises(DokjaError, match="cannot say"):
        dokja.save(dokja.Model(odd, family=family("k-exaone")), tmp_path / "m")
    assert not list(tmp_path.iterdir())
    dokja.save(dokja.Model(odd, family=family("k-exaone")), tmp_path / "m", "dokja")
    assert dokja.load(tmp_path / "m").spec.residual_scale == 0.5


# Writing.


@pytest.mark.filterwarnings("ignore:the MTP layers")
@pytest.mark.parametrize("layout", ["hf", "dokja", "gguf"])
def test_what_is_there_already_is_not_overwritten(tmp_path: Path, layout: str) -> None:
    model = dokja.Model(pocket_model("k-exaone"), family=family("k-exaone"))
    (tmp_path / "m").mkdir()
    if layout == "gguf":
        pytest.importorskip("gguf")
    else:
        dokja.save(model, tmp_path / "m", layout)  # type: ignore[arg-type]
        assert oct((tmp_path / "m").stat().st_mode)[-3:] == "755"
    with pytest.raises(DokjaError, match="exists already"):
        dokja.save(model, tmp_path / "m", layout)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("layout", ["hf", "dokja"])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, layout: str) -> None:
    """A limit on the size of files stands for the full disk: the system refuses the write in the same place."""
    code = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pocket import pocket_model
import dokja
from dokja.errors import DokjaError
from dokja.models.families import family
model = dokja.Model(pocket_model("k-exaone"), family=family("k-exaone"))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    dokja.save(model, {str(tmp_path / "m")!r}, {layout!r})
except DokjaError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "cannot be written" in done.stdout
    assert "too large" in done.stdout
    assert not list(tmp_path.iterdir())


def test_an_unknown_layout_and_dtype(tmp_path: Path) -> None:
    with pytest.raises(DokjaError, match="unknown layout 'onnx'"):
        dokja.save(dokja.Model(pocket_model("k-exaone")), tmp_path / "m", "onnx")  # type: ignore[arg-type]
    with pytest.raises(DokjaError, match="unknown dtype 'int4'"):
        dokja.load(tmp_path, dtype="int4")


# Names.


def test_what_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(DokjaError, match="there is no nothing-like-it: give a folder"):
        dokja.load("nothing-like-it")
    with pytest.raises(DokjaError, match="there is no"):
        dokja.load(tmp_path / "not-there")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DokjaError, match="is a file"):
        dokja.load(tmp_path / "notes.txt")


def test_a_name_on_the_hub_comes_from_its_cache_or_is_told(tmp_path: Path) -> None:
    """Without a network: what an earlier download left is used, what it did not is one sentence."""
    pytest.importorskip("huggingface_hub")
    folder = tmp_path / "hub" / "models--LGAI-EXAONE--K-EXAONE-236B-A23B"
    published(folder / "snapshots" / ("a" * 40))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    code = """
import dokja
from dokja.errors import DokjaError
for name in ("LGAI-EXAONE/K-EXAONE-236B-A23B", "k-exaone-236b-a23b", "nobody/has-this"):
    try:
        print(len(dokja.load(name).spec.layers))
    except DokjaError as error:
        print(error)
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120,
                          check=True)
    one, two, three = done.stdout.splitlines()
    assert one == two == str(len(pocket_model("k-exaone").spec.layers))
    assert three.startswith("nobody/has-this cannot be downloaded")


def test_a_release_that_was_never_published() -> None:
    from dokja.models.families import FAMILIES
    unpublished = [one.spec.name for found in FAMILIES.values() for one in found.releases if one.repository is None]
    for name in unpublished:
        with pytest.raises(DokjaError, match="never published"):
            dokja.load(name)


def test_read_published_gives_the_same_decoder(tmp_path: Path) -> None:
    model = published(tmp_path / "m")
    ids = random_ids(0, 1, 20)
    with torch.inference_mode():
        assert torch.equal(read_published(tmp_path / "m")(ids), model.decoder(ids))


@pytest.mark.parametrize("device", ["zzz", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(DokjaError, match=f"no device '{device}' can be used here"):
        dokja.load(tmp_path, device=device)

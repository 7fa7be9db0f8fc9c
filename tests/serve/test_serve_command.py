"""`dokja serve`: its options, the memory that it asks for, and its errors of one sentence."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import torch
from pocket_models import make_folder
from safetensors.torch import save_file
from typer.testing import CliRunner

from dokja.cli import app, main
from dokja.errors import DokjaError
from dokja.models.model import Model
from dokja.serve import memory
from dokja.serve.command import Source, service_of, setup
from dokja.serve.memory import check_fits
from dokja.serve.service import Service
from dokja.serve.start import Setup, limits_of, read_models, read_size


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("served") / "k-exaone")


def answering(*sources: Path | str, **changes) -> Service:
    """What the command's options give."""
    own = {"weights": "fp32", "kv_memory": None, "batch": 2, "queue": 1, "context": None, "lora": [], "speculate": None}
    where = {"names": [], "engine": "dokja", "vllm_arguments": [], "own_decoder": False, "upstream": None}
    own |= {name: value for name, value in changes.items() if name in own}
    where |= {name: value for name, value in changes.items() if name in where}
    return service_of(Source([str(source) for source in sources], **where), setup(**own))


@pytest.mark.parametrize(("changes", "said"), [
    ({"weights": "int3"}, "unknown weights 'int3': choose from fp32, int8, int4"),
    ({"kv_memory": "much"}, "'much' is no size: write it as 512MiB or 2GiB"),
    ({"kv_memory": "1k"}, "the cache of k-exaone needs .* KiB .* may take 1.0 KiB: allow more with --kv-memory"),
    ({"kv_memory": "0"}, "--kv-memory '0' is nothing: give more, as 512MiB or 2GiB"),
    ({"lora": ["x"]}, "--lora x: write NAME=FOLDER"),
    ({"lora": ["x=/nowhere"]}, "/nowhere/adapter_config.json cannot be read"),
    ({"engine": "x"}, "unknown engine 'x': choose from dokja, vllm"),
    ({"speculate": "x"}, "unknown speculate 'x'"),
    ({"names": ["a", "b"]}, "2 names were given for 1 models"),
    ({"upstream": "http://127.0.0.1:9/v1", "names": []}, "does not list its models"),
])
def test_what_is_wrong_is_one_sentence(folder: Path, changes, said):
    with pytest.raises(DokjaError, match=said) as caught:
        answering(folder, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("given", "said"), [
    (["serve", "x", "--max-batch", "0"], r"invalid value for '--max-batch': .* 1 \(see dokja serve --help\)"),
    (["serve", "x", "--port", "many"], r"invalid value for '--port': .* integer \(see dokja serve --help\)"),
    (["serve", "x", "--no-such"], r"no such option: --no-such.* \(see dokja serve --help\)"),
    (["serve", "x", "--port"], r"option '--port' requires an argument \(see .*--help\)"),
    (["judge", "text"], r"missing argument 'model' \(see dokja judge text --help\)"),
    (["serve", "x", "--host", "no.invalid"], r"cannot serve on no.invalid:8300 \([A-Z][a-z ]+\): choose others .*"),
    (["serv"], r"no such command 'serv'.* \(see dokja --help\)"),
])
def test_what_is_wrong_with_an_option_is_one_line(given: list[str], said: str, monkeypatch: pytest.MonkeyPatch,
                                                  capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["dokja", *given])
    with pytest.raises(SystemExit) as ended:
        main()
    out, errors = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert re.fullmatch(f"dokja: {said}\n", errors)


@pytest.mark.parametrize(("given", "code", "said"), [
    (["--version"], 0, "dokja "), (["serve", "--help"], 0, "Usage: dokja serve"),
    (["season"], 2, "Usage: dokja season"),
])
def test_what_is_asked_of_the_command_itself(given: list[str], code: int, said: str, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "argv", ["dokja", *given])
    with pytest.raises(SystemExit) as ended:
        main()
    out, errors = capsys.readouterr()
    assert (ended.value.code, errors) == (code, "")
    assert said in out


def test_names(folder: Path, tmp_path: Path):
    stage = make_folder(tmp_path / "teams" / "vaetki" / "stage-2", "vaetki")
    found = read_models([str(folder), str(stage)], [], Setup())
    assert list(found) == ["k-exaone", "vaetki"]
    assert list(read_models([str(folder)], ["mine"], Setup())) == ["mine"]
    with pytest.raises(DokjaError, match="the same name"):
        read_models([str(folder), str(folder)], [], Setup())


@pytest.mark.parametrize(("text", "size"), [("512MiB", 2**29), ("2G", 2**31), ("1.5 gib", 3 * 2**29), ("100", 100)])
def test_sizes(text: str, size: int):
    assert read_size(text, "--kv-memory") == size


def test_too_little_memory_says_what_would_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "_ROOM", 0)
    save_file({"a": torch.zeros(1000, 1000, dtype=torch.bfloat16), "b": torch.zeros(8)}, tmp_path / "m.safetensors")
    check_fits("m", tmp_path, "fp32", free=4_100_000)
    with pytest.raises(DokjaError, match=r"m needs about 3.8 MiB .* fp32 weights and 2.1 MiB are free: --weights int8"):
        check_fits("m", tmp_path, "fp32", free=2_200_000)
    with pytest.raises(DokjaError, match=r"no weights fit, the least take 1.9 MiB"):
        check_fits("m", tmp_path, "fp32", free=1_000_000)


def test_the_caches_share_of_memory(loaded: Model):
    whole = limits_of(loaded, Setup(batch=4), "m")
    assert (whole.context, whole.tokens, whole.rows) == (128, 512, 4)
    assert limits_of(loaded, Setup(batch=4, context=64), "m").context == 64
    size = 4 * sum(2 * layer.mixer.kv_heads * layer.mixer.head_dim for layer in loaded.spec.layers)
    less = limits_of(loaded, Setup(batch=64, kv_memory=1000 * size), "m")
    assert less.context == 128
    assert 500 < less.tokens < 64 * 128


def test_a_context_beyond_the_model_is_the_models_own_and_told(loaded: Model, caplog: pytest.LogCaptureFixture):
    assert limits_of(loaded, Setup(batch=4, context=128), "m").context == 128
    assert caplog.messages == []
    assert limits_of(loaded, Setup(batch=4, context=4096), "m").context == 128
    assert caplog.messages == ["--context 4,096 is more than the 128 tokens that m was made for: it is served with "
                               "these"]


def test_a_served_model_answers(folder: Path, tmp_path: Path):
    keys = tmp_path / "keys"
    keys.write_text("sk-one\n", encoding="utf-8")
    command = [sys.executable, "-m", "dokja", "serve", str(folder), "--port", "0", "--weights", "int8", "--name",
               "mine", "--api-keys", str(keys), "--log-json", "--no-pages", "--max-batch", "4", "--context", "64"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[3]
            body = {"messages": [{"role": "user", "content": "안녕"}], "max_tokens": 3, "temperature": 0}
            assert httpx.post(f"{url}/v1/chat/completions", json=body).status_code == 401
            answer = httpx.post(f"{url}/v1/chat/completions", json=body, headers={"Authorization": "Bearer sk-one"})
            assert answer.json()["usage"]["completion_tokens"] <= 3
            card = httpx.get(f"{url}/v1/models", headers={"Authorization": "Bearer sk-one"}).json()["data"][0]
            assert (card["id"], card["max_model_len"]) == ("mine", 64)
            assert httpx.get(f"{url}/").status_code == 404
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert [line.count('"request_id"') for line in errors.splitlines()] == [1] * 4


def test_conversations_are_kept_where_the_documents_say(folder: Path, tmp_path: Path):
    command = [sys.executable, "-m", "dokja", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "XDG_DATA_HOME": str(tmp_path)}
                          ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[3]
            assert httpx.get(url).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert (tmp_path / "dokja" / "serve.sqlite").stat().st_size > 0


def test_a_database_that_does_not_serve_is_told_before_a_model_is_loaded(tmp_path: Path):
    told = CliRunner().invoke(app, ["serve", str(tmp_path / "no model"), "--port", "0", "--database", str(tmp_path)])
    assert isinstance(told.exception, DokjaError)
    assert "cannot be used (unable to open database file)" in str(told.exception)

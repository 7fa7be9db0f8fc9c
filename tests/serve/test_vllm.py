"""vLLM as the engine, for real: our adapter, our decoder as its plugin, our exported checkpoint, the server over it.

Needs a Python with vLLM and dokja, named by VLLM_PYTHON (docs/serve.md says how to make one).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
from pocket_models import make_folder, make_model, tokenizer

from dokja.models.codec import Codec
from dokja.models.decoder import Decoder
from dokja.models.families import family
from dokja.models.folder import load_folder, save_folder
from dokja.models.init import initialise
from dokja.models.model import Model
from dokja.models.scaling import scaled
from dokja.models.spec import Attention

PROMPTS = [[5, 9, 33, 70], [300, 301, 302, 303, 304, 305, 306, 12, 13], list(range(40, 90))]
COUNT = 8
CLOSE = 1e-3  # nats; seen are 1e-5
SETTINGS = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1"}

pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    "VLLM_PYTHON" not in os.environ, reason="set VLLM_PYTHON to a Python that has vLLM and dokja")]


def through_vllm(folder: Path, *more: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [os.environ["VLLM_PYTHON"], str(Path(__file__).parent / "vllm_run.py"), str(folder), *more],
        input=json.dumps({"prompts": PROMPTS, "count": COUNT}), capture_output=True, text=True, timeout=500,
        env=os.environ | SETTINGS, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@torch.inference_mode()
def check(model: Model, found: list[dict[str, Any]]) -> None:
    """What vLLM wrote is what our network would have chosen after the same tokens, and as likely."""
    for prompt, answer in zip(PROMPTS, found, strict=True):
        tokens = answer["tokens"]
        assert len(tokens) == COUNT
        assert answer["finish"] == "length"
        logprobs = model.decoder(torch.tensor([prompt + tokens[:-1]]))[0].log_softmax(-1)[len(prompt) - 1:]
        chosen = logprobs.gather(-1, torch.tensor(tokens)[:, None])[:, 0]
        assert answer["logprobs"] == pytest.approx(chosen.tolist(), abs=CLOSE)
        assert (logprobs.amax(-1) - chosen).max() < CLOSE


@pytest.mark.parametrize("name", ["vaetki", "solar-open"])
def test_families_that_vllm_lacks_run_through_the_plugin(tmp_path: Path, name: str) -> None:
    model = make_model(tmp_path / name, name, context=128)
    found = through_vllm(tmp_path / name)
    check(model, found)
    with torch.no_grad():
        model.decoder.norm.weight.add_(0.02)
    with pytest.raises(AssertionError):
        check(model, found)


def test_our_decoder_runs_where_vllm_has_no_kernels(tmp_path: Path) -> None:
    model = make_model(tmp_path / "k-exaone", "k-exaone", context=128)
    check(model, through_vllm(tmp_path / "k-exaone", "own"))


def test_vllms_own_class_reads_our_exported_checkpoint(tmp_path: Path) -> None:
    """With heads of a size that vLLM's attention takes on CPU."""
    chosen = family("exaone-4")
    codec = Codec(tokenizer(chosen.chat.special), chosen.chat)
    spec = scaled(chosen.spec, 300_000, context=128, vocab=codec.vocab)
    layers = [replace(layer, mixer=replace(layer.mixer, head_dim=32)) for layer in spec.layers
              if isinstance(layer.mixer, Attention)]
    decoder = Decoder(replace(spec, layers=tuple(layers)))
    initialise(decoder, 0)
    save_folder(tmp_path / "exaone-4", decoder, codec, {"family": "exaone-4", "seed": 0})
    check(load_folder(tmp_path / "exaone-4"), through_vllm(tmp_path / "exaone-4"))


@contextmanager
def serving(folder: Path, *more: str) -> Iterator[str]:
    """The address of `dokja serve` over vLLM."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder.parent / "server.log"
    with log.open("w") as out, subprocess.Popen(
            [os.environ["VLLM_PYTHON"], "-m", "dokja", "serve", str(folder), "--engine", "vllm", "--own-decoder",
             "--port", str(port), "--database", f"sqlite:///{folder.parent}/chats.db", "--vllm-arg", "dtype=float32",
             "--vllm-arg", "enforce_eager=true", *more], stdout=out, stderr=out, env=os.environ | SETTINGS) as server:
        try:
            until = time.monotonic() + 300
            while True:
                assert server.poll() is None, log.read_text()[-3000:]
                assert time.monotonic() < until, log.read_text()[-3000:]
                try:
                    httpx.get(f"http://127.0.0.1:{port}/health").raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0, log.read_text()[-3000:]


def test_api_and_pages_are_served_over_vllm(tmp_path: Path) -> None:
    make_folder(tmp_path / "k-exaone", "k-exaone", context=128)
    with serving(tmp_path / "k-exaone") as address, openai.OpenAI(base_url=f"{address}/v1", api_key="none") as client:
        name = client.models.list().data[0].id
        messages: Any = [{"role": "user", "content": "안녕하세요?"}]
        whole = client.chat.completions.create(model=name, messages=messages, max_tokens=12, temperature=0)
        parts = list(client.chat.completions.create(model=name, messages=messages, max_tokens=12, temperature=0,
                                                    stream=True, stream_options={"include_usage": True}))
        written = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
        assert written == whole.choices[0].message.content
        assert len(parts) > 3
        assert parts[-1].usage == whole.usage
        assert whole.usage is not None
        assert whole.usage.completion_tokens > 0
        with pytest.raises(openai.BadRequestError, match="too long"):
            client.chat.completions.create(model=name, messages=[{"role": "user", "content": "가" * 500}])
        page = httpx.get(address, follow_redirects=True)
        assert page.status_code == 200
        assert "<html" in page.text

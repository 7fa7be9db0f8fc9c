"""vLLM as the engine, for real: our adapter, our decoder as its plugin, our exported checkpoint.

Needs a Python with vLLM and dokja, named by VLLM_PYTHON (docs/serve.md says how to make one).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from pocket_models import make_model

from dokja.models.ffn import MixtureOfExperts
from dokja.models.generate import Sampling, generate
from dokja.models.model import Model

PROMPTS = [[5, 9, 33, 70], [300, 301, 302, 303, 304, 305, 306, 12, 13], list(range(40, 90))]
COUNT = 8
# vLLM's CPU attention takes short cuts in its exponential.
CLOSE = 5e-3

pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    "VLLM_PYTHON" not in os.environ, reason="set VLLM_PYTHON to a Python that has vLLM and dokja")]


def through_vllm(folder: Path, *more: str) -> list[dict[str, Any]]:
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [os.environ["VLLM_PYTHON"], str(Path(__file__).parent / "vllm_run.py"), str(folder), *more],
        input=json.dumps({"prompts": PROMPTS, "count": COUNT}), capture_output=True, text=True, timeout=500,
        env=os.environ | settings, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def check(model: Model, found: list[dict[str, Any]]) -> None:
    """The same tokens, with close log-probabilities, up to where a router of ours is all but undecided."""
    ours = generate(model.decoder, PROMPTS, Sampling(COUNT))
    for prompt, expected, answer in zip(PROMPTS, ours, found, strict=True):
        decided, logprobs = teacher_forced(model, prompt, expected)
        assert answer["finish"] == "length"
        assert decided >= 4, "choose another seed"
        assert answer["tokens"][:decided] == expected[:decided]
        assert answer["logprobs"][:decided] == pytest.approx(logprobs[:decided], abs=CLOSE)


@torch.inference_mode()
def teacher_forced(model: Model, prompt: list[int], answer: list[int]) -> tuple[int, list[float]]:
    """How many tokens of an answer depend on no choice that is nearly a draw, and the tokens' log-probabilities."""
    margins: list[torch.Tensor] = []

    def look(module: Any, given: Any, _: Any) -> None:
        best = torch.sigmoid(module.router(given[0].flatten(0, -2))).topk(module.moe.active + 1).values
        margins.append(best[:, -2] - best[:, -1])

    hooks = [module.register_forward_hook(look) for module in model.decoder.modules()
             if isinstance(module, MixtureOfExperts)]
    logprobs = model.decoder(torch.tensor([prompt + answer[:-1]]))[0].log_softmax(-1)[len(prompt) - 1:]
    for hook in hooks:
        hook.remove()
    best = logprobs.topk(2).values
    safe = best[:, 0] - best[:, 1] > 2 * CLOSE
    if margins:
        clear = (torch.stack(margins) > 1e-3).all(0)
        safe &= clear.cummin(0).values[len(prompt) - 1:]
    decided = int(safe.long().cumprod(0).sum())
    return decided, logprobs.gather(-1, torch.tensor(answer)[:, None])[:, 0].tolist()


@pytest.mark.parametrize("name", ["vaetki", "solar-open"])
def test_families_that_vllm_lacks_run_through_the_plugin(tmp_path: Path, name: str) -> None:
    model = make_model(tmp_path / name, name, context=128)
    check(model, through_vllm(tmp_path / name))


def test_our_decoder_runs_where_vllm_has_no_kernels(tmp_path: Path) -> None:
    model = make_model(tmp_path / "k-exaone", "k-exaone", context=128)
    check(model, through_vllm(tmp_path / "k-exaone", "own"))


def test_vllms_own_class_reads_our_exported_checkpoint(tmp_path: Path) -> None:
    model = make_model(tmp_path / "qwen", "exaone-4", context=128)
    check(model, through_vllm(tmp_path / "qwen"))

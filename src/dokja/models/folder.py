"""A trained model on disk: one folder with spec.json, model.safetensors, tokenizer.json and card.json."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import DokjaError
from .codec import Codec
from .decoder import Decoder
from .families import Family, family
from .spec import ModelSpec

WEIGHTS, SPEC, TOKENIZER, CARD = "model.safetensors", "spec.json", "tokenizer.json", "card.json"


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run, with what is known about it (`card`: team, stage, training figures)."""

    model: Decoder
    codec: Codec
    family: Family
    card: dict[str, Any]


def save_folder(path: Path, model: Decoder, codec: Codec, card: dict[str, Any]) -> None:
    """Write a model folder; complete or not there at all. `card` needs "family", the family's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        # Tied weights are one tensor; safetensors refuses to store it twice.
        state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()
                 if not (model.spec.tied and name == "head.weight")}
        save_file(state, draft / WEIGHTS)
        (draft / SPEC).write_text(json.dumps(model.spec.to_dict(), indent=1), encoding="utf-8")
        codec.tokenizer.save(str(draft / TOKENIZER))
        (draft / CARD).write_text(json.dumps(card, ensure_ascii=False, indent=1), encoding="utf-8")
        draft.chmod(0o755)  # the temporary folder and the weights are written for their owner alone
        (draft / WEIGHTS).chmod(0o644)
        if path.exists():
            shutil.rmtree(path)
        os.replace(draft, path)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def load_folder(path: Path) -> LoadedModel:
    """Read a model folder; anything missing, broken or misshapen raises DokjaError."""
    for name in (WEIGHTS, SPEC, TOKENIZER, CARD):
        if not (path / name).is_file():
            raise DokjaError(f"{path} is not a model folder: {name} is missing")
    try:
        card = json.loads((path / CARD).read_text(encoding="utf-8"))
        if not isinstance(card, dict):
            raise ValueError(f"{CARD} is not a table")
        spec = ModelSpec.from_dict(json.loads((path / SPEC).read_text(encoding="utf-8")))
        state = load_file(path / WEIGHTS)
    except (ValueError, SafetensorError) as error:
        raise DokjaError(f"{path} holds a broken file: {error}") from error
    chosen = family(str(card.get("family", "")))
    codec = Codec.load(path / TOKENIZER, chosen.chat)
    if codec.vocab > spec.vocab:
        raise DokjaError(f"{path / TOKENIZER} has {codec.vocab} tokens, more than the {spec.vocab} of the model's spec")
    return LoadedModel(_fill(spec, state, path).eval(), codec, chosen, card)


def _fill(spec: ModelSpec, state: dict[str, Tensor], path: Path) -> Decoder:
    """The decoder of a spec with exactly these weights; tensors of another name or shape raise DokjaError."""
    try:
        with torch.device("meta"):
            model = Decoder(spec)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise DokjaError(f"{path / SPEC} describes no model: {str(error).splitlines()[0]}") from error
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()
                if not (spec.tied and name == "head.weight")}
    for what, names in {"misses": expected.keys() - state.keys(), "has unexpected": state.keys() - expected.keys(),
                        "has misshapen": {name for name in expected.keys() & state.keys()
                                          if state[name].shape != expected[name]}}.items():
        if names:
            raise DokjaError(f"{path / WEIGHTS} does not fit its spec: it {what} tensors "
                             f"({', '.join(sorted(names)[:5])}{', ...' if len(names) > 5 else ''})")
    model.load_state_dict(state, strict=False, assign=True)
    if spec.tied:
        model.head.weight = model.embedding.weight
    return model

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
        draft.chmod(0o755)
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
        spec = ModelSpec.from_dict(json.loads((path / SPEC).read_text(encoding="utf-8")))
        state = load_file(path / WEIGHTS)
    except (ValueError, TypeError, SafetensorError) as error:
        raise DokjaError(f"{path} holds a broken file: {error}") from error
    with torch.device("meta"):
        model = Decoder(spec)
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    if spec.tied:
        model.head.weight = model.embedding.weight
        missing = [name for name in missing if name != "head.weight"]
    if missing or unexpected:
        names = ", ".join([*missing, *unexpected][:20])
        raise DokjaError(f"{path / WEIGHTS} does not fit its spec: missing or unexpected tensors {names}")
    chosen = family(card.get("family", ""))
    return LoadedModel(model.eval(), Codec.load(path / TOKENIZER, chosen.chat), chosen, card)

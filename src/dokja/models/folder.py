"""A model that was trained here, on disk: a folder with spec.json, model.safetensors, tokenizer.json and card.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ..errors import DokjaError
from .checkpoint.draft import draft
from .checkpoint.kept import CONFIG, TOKENIZER, kept_files, read_tokenizer, stop_tokens
from .checkpoint.layout import Place
from .checkpoint.published import empty, fill, fit, main_dtype, materialise
from .checkpoint.quantised import weights
from .checkpoint.shards import SINGLE, read_json, stored_in
from .codec import Codec, marker_ids
from .decoder import Decoder
from .families import family
from .model import Model
from .spec import ModelSpec

WEIGHTS, SPEC, CARD = SINGLE, "spec.json", "card.json"


def save_folder(path: Path, model: Decoder, codec: Codec, card: dict[str, Any]) -> None:
    """Write a model folder; complete or not there at all. `card` needs "family", the family's name."""
    write_folder(path, Model(model, codec.tokenizer, card=card), replace=True)


def write_folder(path: Path, model: Model, *, replace: bool = False) -> None:
    """Write a model and all that came with it; replace: whether a folder that is there goes."""
    with draft(path, replace=replace) as folder:
        # Tied weights are one tensor; safetensors refuses to store it twice.
        state = {name: tensor.contiguous() for name, tensor in model.decoder.state_dict().items()
                 if not (model.spec.tied and name == "head.weight")}
        save_file(state, folder / WEIGHTS)
        (folder / WEIGHTS).chmod(0o644)  # the library writes for the owner alone
        (folder / SPEC).write_text(json.dumps(model.spec.to_dict(), indent=1), encoding="utf-8")
        (folder / CARD).write_text(json.dumps(model.card, ensure_ascii=False, indent=1), encoding="utf-8")
        if model.tokenizer is not None:
            model.tokenizer.save(str(folder / TOKENIZER))
        for name, content in model.files.items():
            (folder / name).write_bytes(content)


def load_folder(path: Path) -> Model:
    """Read the folder of a model that can hold a conversation: its tokenizer must have its family's turn markers.

    Anything missing, broken or misshapen raises DokjaError.
    """
    for name in (WEIGHTS, SPEC, TOKENIZER, CARD):
        if not (path / name).is_file():
            raise DokjaError(f"{path} is not a model folder: {name} is missing")
    model = read_folder(path)
    assert model.codec  # an unfit tokenizer is told now
    return model


def read_folder(path: Path, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu") -> Model:
    """Read a model folder, with a tokenizer or without; dtype: of the parameters, None as they were saved."""
    card = read_json(path / CARD)
    try:
        spec = ModelSpec.from_dict(read_json(path / SPEC))
    except (ValueError, DokjaError) as error:
        raise DokjaError(f"{path / SPEC} is broken: {error}") from error
    named = card.get("family", "")
    chosen = None if named is None else family(str(named))  # null: a published model of no family
    files = kept_files(path)
    tokenizer = read_tokenizer(path / TOKENIZER) if TOKENIZER in files else None
    if tokenizer is not None and CONFIG not in files and tokenizer.get_vocab_size() > spec.vocab:
        raise DokjaError(f"{path / TOKENIZER} has {tokenizer.get_vocab_size()} tokens, more than the {spec.vocab} of "
                         "the model's spec")
    model = _read_weights(spec, path, dtype, device)
    markers = marker_ids(tokenizer, chosen.chat if chosen else None) if tokenizer else ()
    return Model(model, tokenizer, chosen, card, files, stop_tokens(files) or markers)


def _read_weights(spec: ModelSpec, path: Path, dtype: torch.dtype | None, device: torch.device | str) -> Decoder:
    """The decoder of a spec with exactly the folder's weights."""
    file = path / WEIGHTS
    stored = stored_in(file)
    model = empty(spec, str(path / SPEC))
    table = {name: Place(name, tuple(tensor.shape), lambda whole: whole)
             for name, tensor in model.state_dict().items() if not (spec.tied and name == "head.weight")}
    found = weights(stored, {})
    fit(table, {name: one.shape for name, one in found.items()}, f"{file} does not fit its spec")
    materialise(model, dtype or main_dtype(found), device)
    fill(model, table, found, stored)
    return model.eval()

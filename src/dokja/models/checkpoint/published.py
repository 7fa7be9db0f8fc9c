"""Published checkpoints in safetensors: a folder with config.json and one or many shards."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from fnmatch import fnmatch
from pathlib import Path

import torch
from torch import Tensor

from ...errors import DokjaError
from ..decoder import Decoder
from ..families import checkpoint_of
from ..spec import ModelSpec
from .layout import Checkpoint, Config, Place, places
from .multimodal import text_config, text_tensors
from .quantised import Weight, weights
from .shards import SHARD_BYTES, Reader, Stored, listing, read_json, stored_tensors, write_shards

# Buffers that old versions of transformers stored and no version reads.
_UNREAD = ("*.rotary_emb.inv_freq",)


def read_published(path: Path, *, dtype: torch.dtype | None = torch.float32,
                   device: torch.device | str = "cpu") -> Decoder:
    """The model in a published folder, its tensors copied one by one into their places.

    dtype: of the parameters; None is that of the files. Anything missing, unexpected, misshapen or broken raises
    DokjaError, before memory is taken for the model. Of a model that sees or hears too, the text part is read, and a
    warning names the rest.
    """
    whole = read_json(path / "config.json")
    config = text_config(whole)
    layout = checkpoint_of(config)
    stored = {name: one for name, one in text_tensors(whole, stored_tensors(path), path).items()
              if not any(fnmatch(name, pattern) for pattern in (*layout.unread, *_UNREAD))}
    found = weights(stored, config)
    spec = read_spec(layout, config, found, path / "config.json")
    model = empty(spec, str(path / "config.json"))
    table = places(model.state_dict(), spec, layout.names)
    absent = fit(table, {name: one.shape for name, one in found.items()},
                 f"{path} does not fit its config.json", layout.optional,
                 (layout.names.top.get("head.weight"),) if spec.tied else ())
    materialise(model, dtype or main_dtype(found), device)
    fill(model, table, found, stored, absent)
    return model.eval()


def read_spec(layout: Checkpoint, config: Config, tensors: Mapping[str, object], where: Path) -> ModelSpec:
    """The spec of a config; one that holds no model raises DokjaError."""
    try:
        return layout.read(config, tensors.keys())
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, IndexError, ArithmeticError) as error:
        raise DokjaError(f"{where} describes no model of type {config.get('model_type')!r} "
                         f"({type(error).__name__}: {str(error).partition(chr(10))[0]})") from error


def empty(spec: ModelSpec, where: str) -> Decoder:
    """The decoder of a spec without memory; a spec that makes no decoder raises DokjaError."""
    try:
        with torch.device("meta"):
            return Decoder(spec)
    except (TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
        raise DokjaError(f"{where} describes no model: {str(error).partition(chr(10))[0]}") from error


def materialise(model: Decoder, dtype: torch.dtype, device: torch.device | str) -> None:
    """Give a model without memory its own: parameters in `dtype`, buffers (router biases) in float32."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, torch.nn.Parameter(torch.empty_like(parameter, dtype=dtype, device=device)))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, torch.empty_like(buffer, dtype=torch.float32, device=device))
    if model.spec.tied:
        model.head.weight = model.embedding.weight


def fit(table: Mapping[str, Place], found: Mapping[str, tuple[int, ...]], complaint: str,
        optional: Collection[str] = (), copies: Collection[str | None] = ()) -> set[str]:
    """Hold the tensors found against those due; returns the optional ones that are absent.

    All that are missing, unexpected or misshapen raise one DokjaError, which begins with `complaint` and names at most
    twenty of each. optional: patterns of what may be absent. copies: what may be there too.
    """
    missing = {name for name in table if name not in found}
    absent = {name for name in missing if any(fnmatch(name, pattern) for pattern in optional)}
    extra = found.keys() - table.keys() - set(copies)
    misshapen = {f"{name} {list(found[name])} for {list(place.shape)}" for name, place in table.items()
                 if name in found and found[name] != place.shape}
    told = [f"{len(names)} {what} ({listing(names)})" for what, names in
            {"missing": missing - absent, "unexpected": extra, "misshapen": misshapen}.items() if names]
    if told:
        raise DokjaError(f"{complaint}: of its tensors {'; '.join(told)}")
    return absent


def fill(model: Decoder, table: Mapping[str, Place], found: Mapping[str, Weight], stored: dict[str, Stored],
         absent: Collection[str] = ()) -> None:
    """Copy every tensor into its place, shard by shard; those that are absent become zero."""
    state, reader = model.state_dict(), Reader(stored)
    for name in absent:
        table[name].view(state[table[name].ours]).zero_()
    order = {name: i for i, name in enumerate(stored)}  # the files' own: one pass over each
    for name in sorted(table.keys() - set(absent), key=lambda name: order[found[name].first]):
        try:
            found[name].read(table[name], state[table[name].ours], reader)
        except RuntimeError as error:
            raise DokjaError(f"the tensor {name} in {stored[found[name].first].file} cannot be read: "
                             f"{str(error).partition(chr(10))[0]}") from error


def main_dtype(found: Mapping[str, Weight]) -> torch.dtype:
    """The precision that most numbers of a checkpoint have; what is quantised counts as bfloat16."""
    counts: dict[torch.dtype, int] = {}
    for one in found.values():
        counts[one.dtype] = counts.get(one.dtype, 0) + torch.Size(one.shape).numel()
    return max(counts, key=counts.__getitem__, default=torch.float32)


def write_published(path: Path, model: Decoder, layout: Checkpoint, *, config: bytes | None = None,
                    shard_bytes: int = SHARD_BYTES) -> None:
    """Write config.json and shards into a folder. config: the file's text; without it the spec is translated."""
    path.mkdir(parents=True, exist_ok=True)
    state = model.state_dict()
    table = places(state, model.spec, layout.names)

    def maker(place: Place) -> tuple[int, object]:
        ours = state[place.ours]
        return torch.Size(place.shape).numel() * ours.element_size(), lambda: _published(place, ours)

    write_shards(path, ((name, *maker(place)) for name, place in table.items()), shard_bytes)
    if config is None:
        dtype = str(model.embedding.weight.dtype).removeprefix("torch.")
        fields = {"model_type": layout.model_types[0], "architectures": [layout.architecture], "dtype": dtype,
                  **layout.write(model.spec)}
        config = json.dumps(fields, indent=1, ensure_ascii=False).encode()
    (path / "config.json").write_bytes(config)


def _published(place: Place, ours: Tensor) -> Tensor:
    return place.write(ours.detach().cpu())

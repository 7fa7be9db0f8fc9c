"""Safetensors shards: what they hold, read one tensor at a time, and written a few gigabytes at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...errors import DokjaError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
SHARD_BYTES = 5_000_000_000  # what published checkpoints keep to
_HELD = 16 << 20  # bytes of a mapped file that may stay resident behind us


@dataclass(frozen=True)
class Stored:
    """One tensor in a file, by its name there. dtype: safetensors' name of it, as F32, BF16, F8_E4M3."""

    file: Path
    name: str
    dtype: str
    shape: tuple[int, ...]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that holds a table; anything else raises DokjaError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DokjaError(f"{path.parent} is not a model folder: {path.name} is missing") from error
    except (ValueError, OSError) as error:
        raise DokjaError(f"{path} is broken, no readable JSON: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict):
        raise DokjaError(f"{path} is broken, no JSON table")
    return found


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """All tensors of a folder's shards, from their headers alone.

    With an index, its shards are read and every one of them must be there; without, all of the folder's. A shard that
    is cut short or is no safetensors file, a tensor that two shards hold and pickles raise DokjaError.
    """
    found: dict[str, Stored] = {}
    for file in _files(folder):
        shard = stored_in(file)
        if twice := found.keys() & shard.keys():
            name = min(twice)
            raise DokjaError(f"{folder} holds the tensor {name} twice, in {found[name].file.name} and in "
                             f"{file.name}: remove the shard that does not belong there")
        found |= shard
    return found


def stored_in(file: Path) -> dict[str, Stored]:
    """All tensors of one shard, from its header alone."""
    with open_shard(file) as shard:
        parts = {name: shard.get_slice(name) for name in shard.keys()}  # noqa: SIM118 (no mapping)
        return {name: Stored(file, name, str(part.get_dtype()), tuple(part.get_shape()))
                for name, part in parts.items()}


def _files(folder: Path) -> list[Path]:
    if (folder / INDEX).is_file():
        table = read_json(folder / INDEX).get("weight_map")
        if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
            raise DokjaError(f"{folder / INDEX} has no table weight_map of tensors and their shards")
        names = sorted(set(table.values()))
        if strange := [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]:
            raise DokjaError(f"{folder / INDEX} names {strange[0]!r}, which is no safetensors file beside it")
        if missing := [name for name in names if not (folder / name).is_file()]:
            raise DokjaError(f"{folder} lacks {listing(missing)}, which {INDEX} names: download it again")
        return [folder / name for name in names]
    if files := sorted(folder.glob("*.safetensors")):
        return files
    refuse_pickles(sorted(path for path in folder.iterdir() if path.suffix in PICKLES), folder)
    raise DokjaError(f"{folder} holds no weights: there is no .safetensors file in it")


def refuse_pickles(found: list[Path], where: Path) -> None:
    """DokjaError if there are any."""
    if found:
        raise DokjaError(f"{where} holds its weights as a pickle ({found[0].name}), which can run any program when it "
                         "is read and is never opened here: convert it to safetensors where you trust it")


def open_shard(path: Path) -> safe_open:
    """A shard, memory-mapped; one that is cut short or is something else raises DokjaError."""
    try:
        return safe_open(path, "pt")
    except (SafetensorError, OSError) as error:
        with suppress(OSError):
            start = path.open("rb").read(2)
            if start in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
                refuse_pickles([path], path.parent)
        reason = str(error).splitlines()[0].removeprefix("Error while deserializing header: ")
        raise DokjaError(f"{path} is broken, no whole safetensors file ({reason}): get it again") from error


class Reader:
    """Tensors as views of mapped files, one file open at a time.

    What was read of a mapped file stays resident until it is unmapped, so a long file is mapped anew from time to time.
    A tensor keeps its mapping alive: drop it before the next.
    """

    def __init__(self, tensors: dict[str, Stored]) -> None:
        self.tensors = tensors
        self._path: Path | None = None
        self._shard: Any = None
        self._read = 0

    def tensor(self, name: str) -> Tensor:
        """The tensor of that key as it is stored."""
        stored = self.tensors[name]
        path = stored.file
        if path != self._path or self._read > _HELD:
            self._shard, self._path, self._read = open_shard(path), path, 0
        tensor: Tensor = self._shard.get_tensor(stored.name)
        self._read += tensor.nbytes
        return tensor


def write_shards(folder: Path, tensors: Iterable[tuple[str, int, Any]], shard_bytes: int = SHARD_BYTES) -> None:
    """Write tensors, given as (name, bytes, function that makes it), in shards of at most `shard_bytes`.

    One shard's tensors are in memory at a time; a tensor larger than a shard has one of its own. More than one shard
    gets an index.
    """
    groups: list[list[tuple[str, int, Any]]] = [[]]
    room = shard_bytes
    for one in tensors:
        if one[1] > room and groups[-1]:
            groups.append([])
            room = shard_bytes
        groups[-1].append(one)
        room -= one[1]
    table: dict[str, str] = {}
    for i, group in enumerate(groups, start=1):
        file = SINGLE if len(groups) == 1 else f"model-{i:05d}-of-{len(groups):05d}.safetensors"
        save_file({name: make() for name, _, make in group}, folder / file, metadata={"format": "pt"})
        (folder / file).chmod(0o644)  # the library writes for the owner alone
        table |= dict.fromkeys((name for name, _, _ in group), file)
    if len(groups) > 1:
        total = sum(size for group in groups for _, size, _ in group)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(table.items()))}
        (folder / INDEX).write_text(json.dumps(index, indent=1), encoding="utf-8")


def listing(names: Iterable[str], most: int = 20) -> str:
    """Names in a sentence, at most twenty of them."""
    every = sorted(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")

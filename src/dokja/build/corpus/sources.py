"""Files and datasets of a recipe as pieces of work, and the texts in each piece.

A piece is a file, or every n-th block of rows of a large one, so that several workers share it; what is read does not
depend on how it was divided. Rows that hold no text are counted, damage stops the run with a sentence.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import DokjaError
from ..document import Turn
from ..lines import COMPRESSED, lines, unreadable
from ..passages import cut
from ..read import rows_of_json, rows_of_parquet, turns_of
from .extract import hwpx_text, pages
from .recipe import DatasetRecipe, SourceRecipe

KINDS = (".txt", ".jsonl", ".json", ".parquet", ".warc", ".hwpx")
_EXPANSION = 8  # bytes of text in a compressed byte, about
_PIECE = 64 << 20  # bytes of text that are worth a piece of their own
_BLOCK = 64  # rows in a row that one piece of a file reads
_LONGEST = 4 << 20  # characters of one .txt document; a longer file is cut at blank lines
_LONGEST_JSON = 512 << 20  # bytes of one .json file, which is read whole


@dataclass(frozen=True)
class Piece:
    """The part `part` of `parts` of a file (or of a dataset, where path is empty) of the source with this name."""

    source: str
    path: str
    part: int
    parts: int
    size: int  # bytes of text in the whole file, about

    @property
    def name(self) -> str:
        """Names the piece on disk."""
        told = "\x1f".join((self.source, self.path, str(self.part), str(self.parts)))
        return hashlib.blake2b(told.encode(), digest_size=12).hexdigest()


def kind(path: Path) -> str | None:
    """Which of KINDS a file is, compression left out; None for another."""
    name = path.name.lower()
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    return next((suffix for suffix in KINDS if name.endswith(suffix)), None)


def pieces(source: SourceRecipe, workers: int) -> list[Piece]:
    """The work of one source. Raises DokjaError for what is missing or holds nothing that can be read."""
    if source.dataset is not None:
        return [Piece(source.name, "", 0, 1, 0)]
    found = []
    for path in files(source):
        compressed = path.name.lower().endswith((*COMPRESSED, ".parquet", ".hwpx"))
        size = path.stat().st_size * (_EXPANSION if compressed else 1)
        # Every part decompresses the whole file, so there are no more of them than workers.
        parts = min(workers, 1 + size // _PIECE) if kind(path) in (".jsonl", ".parquet") else 1
        found += [Piece(source.name, str(path.resolve()), part, parts, size) for part in range(parts)]
    return found


def files(source: SourceRecipe) -> list[Path]:
    """The files of a source, each once; in a folder those of unknown kinds are left out."""
    found: dict[Path, Path] = {}
    for path in map(Path, source.paths):
        try:
            if not path.exists():
                raise DokjaError(f"{path} of the source {source.name} does not exist; mend its paths")
            if path.is_dir():
                inside = [file for file in walk(path) if kind(file)]
                if not inside:
                    raise DokjaError(f"{path} of the source {source.name} holds no file of {', '.join(KINDS)}")
            elif kind(path) is None:
                raise DokjaError(f"{path} of the source {source.name} is not one of {', '.join(KINDS)}")
            else:
                inside = [path]
        except OSError as error:
            raise unreadable(path, error) from None
        found |= {file.resolve(): file for file in inside}
    return [found[real] for real in sorted(found)]


def walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise unreadable(Path(error.filename or folder), error) from None

    for at, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        yield from (Path(at) / name for name in sorted(names))


def texts(piece: Piece, source: SourceRecipe) -> Iterator[tuple[str | None, str]]:
    """(text, "") of every document of a piece, or (None, reason) for a row without one."""
    path = Path(piece.path)
    suffix = kind(path) if piece.path else None
    if suffix == ".txt":
        yield from _plain(path)
    elif suffix == ".warc":
        yield from pages(path)
    elif suffix == ".hwpx":
        yield hwpx_text(path), ""
    else:
        if suffix == ".jsonl":
            rows = rows_of_json(path, piece.part, piece.parts, _BLOCK)
        elif suffix == ".json":
            rows = _json(path)
        elif suffix == ".parquet":
            rows = rows_of_parquet(path, (source.text.split(".")[0], "messages"), piece.part, piece.parts)
        else:
            assert source.dataset is not None
            rows = _dataset(source.dataset)
        for row in rows:
            yield _text(row, source.text)


def _text(row: Any, field: str) -> tuple[str | None, str]:
    if not isinstance(row, dict):
        return None, "row is not an object"
    value: Any = row
    for name in field.split("."):
        value = [inner[name] for inner in (value if isinstance(value, list) else [value])
                 if isinstance(inner, dict) and inner.get(name) is not None]
        value = [inner for held in value for inner in (held if isinstance(held, list) else [held])]
    if not value and isinstance(row.get("messages"), list):
        turns = turns_of(row["messages"])
        if isinstance(turns, str):
            return None, turns
        return "\n".join(turn.content for turn in turns if isinstance(turn, Turn)), ""
    if not value:
        return None, f"no {field}"
    if not all(isinstance(inner, str) for inner in value):
        return None, f"{field} is not a string"
    text = "\n".join(value)
    return (text, "") if text.strip() else (None, "empty text")


def _plain(path: Path) -> Iterator[tuple[str | None, str]]:
    held: list[str] = []
    size = 0
    empty = True
    for _, line in lines(path):
        held.append(line)
        size += len(line) + 1
        if (size >= _LONGEST // 2 and not line.strip()) or size >= _LONGEST:
            for text in cut("\n".join(held), _LONGEST):
                empty = empty and not text.strip()
                yield text, ""
            held, size = [], 0
    text = "\n".join(held)
    if text.strip():
        yield text, ""
    elif empty:
        yield None, "empty text"


def _json(path: Path) -> Iterator[Any]:
    size = 0
    held = []
    for _, line in lines(path):
        size += len(line)
        if size > _LONGEST_JSON:
            raise DokjaError(f"{path} is over {_LONGEST_JSON >> 20} MiB and would have to be held in memory; write it "
                             "as .jsonl, one object a line")
        held.append(line)
    try:
        read = json.loads("\n".join(held))
    except (ValueError, RecursionError) as error:
        raise DokjaError(f"{path} is not JSON ({error}); one object a line belongs into a .jsonl file") from None
    yield from read if isinstance(read, list) else [read]


def _dataset(recipe: DatasetRecipe) -> Iterator[Any]:
    try:
        import datasets
    except ImportError:
        raise DokjaError(f"the dataset {recipe.name} needs datasets: `pip install dokja[datasets]` brings it") from None
    try:
        datasets.disable_progress_bars()
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # five retries are told by the error
        yield from datasets.load_dataset(recipe.name, recipe.config, split=recipe.split, revision=recipe.revision,
                                         streaming=True)
    except Exception as error:  # the library lets through what a dozen others raise
        said = " ".join(str(error).split()) or type(error).__name__
        raise DokjaError(f"the dataset {recipe.name} cannot be read ({said[:300].rstrip('.')}); check its name, its "
                         "split and the network") from None


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from None

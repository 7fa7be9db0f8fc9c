"""Text files as a stream of documents: .txt and .jsonl (plain, .gz, .xz, .zst) and .parquet, and folders of them."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dokja.build.document import Document, Role, Turn
from dokja.build.lines import COMPRESSED, lines, unreadable
from dokja.build.passages import cut
from dokja.errors import DokjaError

KINDS = ".txt and .jsonl (plain, .gz, .xz or .zst) and .parquet"
SECTION = 16_000  # characters; a .txt file that is longer becomes several documents, so that one book can be split

# Control characters other than tab and line feed, and the byte order mark, which means nothing inside a text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")


class Texts:
    """The documents of files and folders, in the order given and folders in sorted order; nothing is held in memory.

    A row of .jsonl or .parquet has `messages` (role and content; it is preferred) or `text`. System turns are dropped,
    and so is a last turn that nobody answers; a conversation that does not alternate between user and assistant is
    skipped. `skipped` counts per source, by reason, what was left out so far; sources are named by file, and the .txt
    files of a folder by the folder.

    Raises DokjaError for a path that is missing, a folder without readable files, and, while the documents are read,
    for a file that is damaged, is not UTF-8 or is not what its name says, and when no document is found in all of them.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self.skipped: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for path in self.paths:
            try:
                self._check(path)
            except OSError as error:
                raise unreadable(path, error) from None

    def _check(self, path: Path) -> None:
        if not path.exists():
            raise DokjaError(f"{path} does not exist; check the path given to --text")
        if path.is_dir():
            if not any(_kind(file) for file in _walk(path)):
                raise DokjaError(f"{path} holds no file that can be read as text; readable are {KINDS}")
        elif _kind(path) is None:
            raise DokjaError(f"{path} is not a kind of file that can be read as text; readable are {KINDS}")

    def __iter__(self) -> Iterator[Document]:
        self.skipped.clear()
        found = False
        for path, source in self._files():
            for document in self._documents(path, source):
                found = True
                yield document
        if not found:
            reasons = sorted({reason for counts in self.skipped.values() for reason in counts})
            told = f" ({', '.join(reasons)})" if reasons else ""
            raise DokjaError(
                f"there is no text in {', '.join(map(str, self.paths))}{told}; give files with text in them"
            )

    def _files(self) -> Iterator[tuple[Path, str]]:
        for path in self.paths:
            if not path.is_dir():
                yield path, path.name
                continue
            base = path.resolve()
            for file in _walk(path):
                inside = Path(base.name) / file.relative_to(path)
                kind = _kind(file)
                if kind is None:
                    self._skip(inside.parent.as_posix(), f"file of unknown kind {file.suffix or '(no suffix)'}")
                else:
                    yield file, (inside.parent if kind == ".txt" else inside).as_posix()

    def _skip(self, source: str, reason: str) -> None:
        self.skipped[source][reason] += 1

    def _documents(self, path: Path, source: str) -> Iterator[Document]:
        kind = _kind(path)
        if kind == ".txt":
            empty = True
            for text in _sections(path):
                cleaned = clean(text)
                if cleaned.strip():
                    empty = False
                    yield Document(source, cleaned)
            if empty:
                self._skip(source, "empty text")
            return
        for row in rows_of_json(path) if kind == ".jsonl" else rows_of_parquet(path):
            made = _from_row(source, row)
            if isinstance(made, str):
                self._skip(source, made)
            else:
                yield made


def clean(text: str) -> str:
    """Line ends as \\n, control characters dropped, Unicode NFC (Hangul syllables composed)."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if _CONTROL.search(text):
        text = _CONTROL.sub("", text)
    return text if unicodedata.is_normalized("NFC", text) else unicodedata.normalize("NFC", text)


def _kind(path: Path) -> str | None:
    """.txt, .jsonl or .parquet, or None for a file that is none of them."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        return ".parquet"
    for suffix in COMPRESSED:
        name = name.removesuffix(suffix)
    return next((kind for kind in (".txt", ".jsonl") if name.endswith(kind)), None)


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise unreadable(Path(error.filename or folder), error) from None

    for at, folders, files in os.walk(folder, onerror=refuse):
        folders.sort()
        for name in sorted(files):
            yield Path(at) / name


def _sections(path: Path) -> Iterator[str]:
    """A text file whole or, when it is longer than SECTION, cut at blank lines; at other pauses where they are rare."""
    held: list[str] = []
    size = 0
    for _, line in lines(path):
        held.append(line)
        size += len(line) + 1
        if (size >= SECTION and not line.strip()) or size >= 2 * SECTION:
            yield from cut("\n".join(held), 2 * SECTION)
            held, size = [], 0
    yield "\n".join(held)


def rows_of_json(path: Path, part: int = 0, parts: int = 1, block: int = 64) -> Iterator[Any]:
    """The rows of a .jsonl file, or every `parts`-th block of lines of them from the `part`-th on.

    Raises DokjaError for a line that is not JSON.
    """
    for number, line in lines(path):
        if (number - 1) // block % parts != part or not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            what = getattr(error, "msg", None) or str(error)
            raise DokjaError(f"{path}:{number} is not JSON ({what}); write one JSON object a line") from None


def rows_of_parquet(path: Path, wanted: Sequence[str] = ("text", "messages"), part: int = 0,
                    parts: int = 1) -> Iterator[Any]:
    """The rows of a Parquet file in the wanted columns, or of every `parts`-th row group from the `part`-th on.

    Raises DokjaError for a file that is damaged or has none of the columns.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise DokjaError(f"{path} is Parquet; `pip install dokja[text]` brings what reads it") from None
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            names = file.schema_arrow.names
            columns = [name for name in wanted if name in names]
            if not columns:
                raise DokjaError(
                    f"{path} has no column {' or '.join(wanted)} (it has {', '.join(names)}); rename the one with the "
                    "text"
                )
            groups = range(part, file.num_row_groups, parts)
            # Small batches: a batch is held in memory as Arrow and as Python objects at once.
            for batch in file.iter_batches(batch_size=256, columns=columns, use_threads=False, row_groups=groups):
                yield from batch.to_pylist()
                number += len(batch)
    except UnicodeDecodeError:
        raise DokjaError(
            f"{path} holds text that is not UTF-8 in rows {number + 1:,} to {number + 256:,}; write it again as UTF-8"
        ) from None
    except pyarrow.ArrowException as error:
        what = str(error).splitlines()[0].rstrip(".")
        raise DokjaError(f"{path} is not Parquet or is damaged ({what}); copy or download it again") from None
    except OSError as error:
        raise unreadable(path, error) from None


def _from_row(source: str, row: Any) -> Document | str:
    """The document of one row, or the reason why there is none."""
    if not isinstance(row, dict):
        return "row is not an object"
    messages, text = row.get("messages"), row.get("text")
    if messages is not None:
        turns = turns_of(messages)
        return turns if isinstance(turns, str) else Document(source, turns=turns)
    if text is None:
        return "no text or messages"
    if not isinstance(text, str):
        return "text is not a string"
    text = clean(text)
    if not text.strip():
        return "empty text"
    return Document(source, text) if _encodable(text) else "half a surrogate pair"


def turns_of(messages: Any) -> tuple[Turn, ...] | str:
    """The turns of a row's messages, ending with an answer, or the reason why there are none."""
    if not isinstance(messages, list):
        return "messages is not a list"
    roles: tuple[Role, Role] = ("user", "assistant")
    turns: list[Turn] = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            return "a message without role and content"
        if message.get("role") == "system":
            continue
        role = roles[len(turns) % 2]
        if message.get("role") != role:
            return "turns do not alternate between user and assistant"
        content = clean(message["content"])
        if not content.strip():
            return "empty turn"
        if not _encodable(content):
            return "half a surrogate pair"
        turns.append(Turn(role, content))
    if len(turns) % 2:
        turns.pop()
    return tuple(turns) if turns else "no answered turn"


def _encodable(text: str) -> bool:
    """False for text with half a surrogate pair, which JSON can spell (\\ud800) and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

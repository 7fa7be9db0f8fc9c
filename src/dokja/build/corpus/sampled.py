"""The corpus of one season: a stream of documents in, a training set and a held-out set of stated size out.

What is kept is decided in sample.py; here it is checked, written in one piece or not at all, and opened again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dokja.build.document import Document, Turn
from dokja.build.sample import Sampler
from dokja.errors import DokjaError

LEAST_TRAIN = 64_000  # bytes; below this no tokenizer or model is worth training
LEAST_HELDOUT = 8_000  # bytes; below this the interval on bits per byte says nothing

_FILES = ("train.jsonl", "heldout.jsonl")
_MANIFEST = "manifest.json"
_FORMAT = 1
_REPORT_EVERY = 1 << 20  # bytes between two calls of progress


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk: `path` is its folder, `manifest` what manifest.json says (sources, counts, hashes)."""

    path: Path
    manifest: dict[str, Any]

    def train(self) -> Iterator[Document]:
        """The training documents, streamed, in an order that is already shuffled."""
        return _read(self.path / "train.jsonl")

    def heldout(self) -> list[Document]:
        """The held-out documents; none of them comes from a document that was trained on."""
        return list(_read(self.path / "heldout.jsonl"))


def build_corpus(
    documents: Iterable[Document],
    out: Path,
    *,
    train_bytes: int,
    heldout_bytes: int,
    seed: int,
    description: str,
    progress: Callable[[int], None] | None = None,
    skipped: Mapping[str, Mapping[str, int]] | None = None,
) -> Corpus:
    """Sample a corpus from a stream of documents and write it under `out`.

    train_bytes, heldout_bytes: at most so many bytes of UTF-8 text in either set.
    progress: called with the bytes of text read so far, about once a megabyte and at the end.
    skipped: what the reader left out, per source and reason; looked at after the stream has ended (`Texts.skipped`).

    The same documents in any order and the same arguments give the same files, byte for byte. An earlier corpus in
    `out` is replaced, and only once the new one is complete.

    Raises DokjaError when there is too little text to train on or to hold out, and when the files cannot be written.
    """
    if min(train_bytes, heldout_bytes) < 1:
        raise DokjaError(
            f"a corpus of {train_bytes:,} training and {heldout_bytes:,} held-out bytes is none; ask for more"
        )
    sampler = Sampler(seed, train_bytes, heldout_bytes)
    read = reported = 0
    for document in documents:
        read += sampler.add(document)
        if progress is not None and read - reported >= _REPORT_EVERY:
            reported = read
            progress(read)
    if progress is not None:
        progress(read)
    sampler.settle()
    kept = {
        "train": (sampler.train, train_bytes, LEAST_TRAIN),
        "held-out": (sampler.heldout, heldout_bytes, LEAST_HELDOUT),
    }
    for name, (sample, budget, least) in kept.items():
        needed = min(least, budget // 2)
        if sample.bytes < needed:
            raise DokjaError(
                f"the text is too small for a corpus: {read:,} bytes in {sampler.documents:,} documents leave "
                f"{sample.bytes:,} bytes of {name} text after duplicates are dropped, and at least {needed:,} are "
                "needed; add more text or more documents"
            )
    manifest = {
        "format": _FORMAT,
        "description": description,
        "seed": seed,
        "train_bytes": train_bytes,
        "heldout_bytes": heldout_bytes,
        "sources": sampler.report(skipped or {}),
    }
    _write(out, sampler, manifest)
    return open_corpus(out)


def open_corpus(out: Path) -> Corpus:
    """Open the corpus under `out`; raises DokjaError when there is none or when its files were changed afterwards."""
    path = out / _MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        known = manifest["format"] == _FORMAT
        hashes = [(name, manifest["files"][name]["sha256"]) for name in _FILES]
    except FileNotFoundError:
        raise DokjaError(f"{out} holds no finished corpus ({_MANIFEST} is missing); build it again") from None
    except OSError as error:
        raise DokjaError(f"{path} cannot be read ({error.strerror}); check the permissions of {out}") from None
    except (ValueError, KeyError, TypeError):
        raise DokjaError(f"{path} is not a corpus manifest; delete {out} and build the corpus again") from None
    if not known:
        raise DokjaError(f"{path} has format {manifest['format']!r}, and this version reads {_FORMAT}; build it again")
    for name, expected in hashes:
        try:
            with (out / name).open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DokjaError(f"{out / name} cannot be read ({error.strerror}); build the corpus again") from None
        if actual != expected:
            raise DokjaError(f"{out / name} has changed since the corpus was built; build the corpus again")
    return Corpus(out, manifest)


def _line(document: Document) -> bytes:
    row: dict[str, Any] = {"source": document.source}
    if document.turns:
        row["messages"] = [{"role": turn.role, "content": turn.content} for turn in document.turns]
    else:
        row["text"] = document.text
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _read(path: Path) -> Iterator[Document]:
    with path.open("rb") as file:
        for line in file:
            row = json.loads(line)
            turns = tuple(Turn(turn["role"], turn["content"]) for turn in row.get("messages", ()))
            yield Document(row["source"], row.get("text", ""), turns)


def _write(out: Path, sampler: Sampler, manifest: dict[str, Any]) -> None:
    """Write all files under temporary names, then rename them, the manifest last; on failure leave what was there."""
    partial = [out / f"{name}.partial" for name in (*_FILES, _MANIFEST)]
    try:
        out.mkdir(parents=True, exist_ok=True)
        manifest["files"] = {
            name: _write_file(path, (_line(document) for document in sample.in_order()))
            for name, path, sample in zip(_FILES, partial[:2], (sampler.train, sampler.heldout), strict=True)
        }
        text = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
        _write_file(partial[2], [text.encode()])
        # While the files are being exchanged there is no manifest, so no reader can take a mixture for a corpus.
        (out / _MANIFEST).unlink(missing_ok=True)
        for path in partial:
            os.replace(path, path.with_suffix(""))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "free some space and build it again" if full else "choose a folder that can be written to"
        raise DokjaError(f"the corpus could not be written to {out} ({error.strerror}); {advice}") from None
    finally:
        for path in partial:
            # A folder that cannot be written to may not even be looked into; what matters has been said above.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _write_file(path: Path, lines: Iterable[bytes]) -> dict[str, Any]:
    digest = hashlib.sha256()
    size = 0
    with path.open("wb") as file:
        for line in lines:
            file.write(line)
            digest.update(line)
            size += len(line)
        file.flush()
        os.fsync(file.fileno())
    return {"sha256": digest.hexdigest(), "bytes": size}

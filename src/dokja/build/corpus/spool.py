"""Documents between reading and writing: sorted runs on disk, from which any range of keys is read back.

An external sort: a worker gathers documents up to a limit, sorts them by key and writes them as one run, divided into
buckets (ranges of the key) that are compressed each by itself; later one bucket is gathered from all runs. The key is a
hash of the text, so buckets are about equal, and equal texts meet in one.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import DokjaError
from .dedup import Signature

KEY_BITS = 63  # signed 64-bit integers hold them
_HEADER = struct.Struct("<I")
_FRAME = np.dtype("<u8")


class Entry(NamedTuple):
    """One document: key, place of its source in the recipe, UTF-8 text, and what it shares with benchmarks (JSON)."""

    key: int
    rank: int
    text: bytes
    hits: bytes = b""


def bucket_of(key: int, buckets: int) -> int:
    return key * buckets >> KEY_BITS


class Runs:
    """Writes runs of at most about `limit` bytes in memory as files with this stem."""

    def __init__(self, stem: Path, buckets: int, limit: int) -> None:
        self._stem, self._buckets, self._limit = stem, buckets, limit
        self._held: list[Entry] = []
        self._signatures: list[tuple[int, Signature]] = []
        self._size = 0
        self.count = 0

    def add(self, entry: Entry, signature: Signature | None) -> None:
        self._held.append(entry)
        self._size += len(entry.text) + len(entry.hits) + 160  # and what Python needs for them
        if signature is not None:
            self._signatures.append((entry.key, signature))
            self._size += signature.nbytes + 150
        if self._size >= self._limit:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if not self._held:
            return
        compressor = zstandard().ZstdCompressor(level=1)
        path = self._stem.with_name(f"{self._stem.name}-{self.count:05d}.run")
        self._held.sort()
        offsets = np.zeros(self._buckets + 1, _FRAME)
        start = 0
        with path.open("wb") as file:
            for bucket in range(self._buckets):
                end = start
                while end < len(self._held) and bucket_of(self._held[end].key, self._buckets) == bucket:
                    end += 1
                if end > start:
                    file.write(compressor.compress(_pack(self._held[start:end])))
                offsets[bucket + 1] = file.tell()
                start = end
            file.write(offsets.tobytes())
        if any(entry.hits for entry in self._held):
            with path.with_suffix(".hits").open("wb") as file:
                for entry in self._held:
                    if entry.hits:
                        file.write(b"%d\t%b\n" % (entry.key, entry.hits))
        if self._signatures:
            self._signatures.sort(key=lambda signed: signed[0])
            keys = np.array([key for key, _ in self._signatures], np.int64)
            with path.with_suffix(".keys").open("wb") as file:
                keys.tofile(file)
            with path.with_suffix(".signatures").open("wb") as file:
                for _, row in self._signatures:
                    row.tofile(file)
        self._held, self._signatures, self._size = [], [], 0
        self.count += 1


def read_bucket(runs: Sequence[Path], bucket: int, buckets: int) -> list[Entry]:
    """The documents of one bucket from all runs, sorted by key and source."""
    decompressor = zstandard().ZstdDecompressor()
    entries: list[Entry] = []
    for path in runs:
        with path.open("rb") as file:
            file.seek(_FRAME.itemsize * (bucket - buckets - 1), os.SEEK_END)
            start, end = (int(offset) for offset in np.frombuffer(file.read(2 * _FRAME.itemsize), _FRAME))
            if end > start:
                file.seek(start)
                entries += _unpack(decompressor.decompress(file.read(end - start)))
    entries.sort()
    return entries


def signatures(runs: Sequence[Path], bucket: int, buckets: int, width: int) -> Iterator[tuple[int, Signature]]:
    """The signatures of one bucket from all runs, [width] each, one for every key."""
    low, high = (-(-(edge << KEY_BITS) // buckets) for edge in (bucket, bucket + 1))
    seen: set[int] = set()
    for path in runs:
        named = path.with_suffix(".keys")
        if not named.exists():
            continue
        keys = np.memmap(named, np.int64, "r")
        rows = np.memmap(path.with_suffix(".signatures"), np.uint32, "r", shape=(len(keys), width))
        end = len(keys) if high >> KEY_BITS else int(np.searchsorted(keys, high))
        for place in range(int(np.searchsorted(keys, low)), end):
            key = int(keys[place])
            if key not in seen:
                seen.add(key)
                yield key, np.array(rows[place])


def _pack(entries: list[Entry]) -> bytes:
    count = len(entries)
    keys = np.fromiter((entry.key for entry in entries), "<i8", count)
    ranks = np.fromiter((entry.rank for entry in entries), "<u2", count)
    sizes = np.fromiter((len(part) for entry in entries for part in entry[2:]), "<u4", 2 * count)
    return b"".join((_HEADER.pack(count), keys.tobytes(), ranks.tobytes(), sizes.tobytes(),
                     *(part for entry in entries for part in entry[2:])))


def _unpack(data: bytes) -> list[Entry]:
    (count,) = _HEADER.unpack_from(data)
    at = _HEADER.size
    columns: list[NDArray[np.integer]] = []
    for kind, length in (("<i8", count), ("<u2", count), ("<u4", 2 * count)):
        columns.append(np.frombuffer(data, kind, length, at))
        at += columns[-1].nbytes
    keys, ranks, sizes = columns
    edges = [at, *(at + np.cumsum(sizes, dtype=np.int64)).tolist()]
    parts = [data[start:end] for start, end in pairwise(edges)]
    return [Entry(*row) for row in zip(keys.tolist(), ranks.tolist(), parts[::2], parts[1::2], strict=True)]


def hits_of(runs: Sequence[Path]) -> Iterator[tuple[int, bytes]]:
    """Key and hits of the documents of all runs that share text with a benchmark, each once."""
    seen: set[int] = set()
    for path in runs:
        named = path.with_suffix(".hits")
        if not named.exists():
            continue
        with named.open("rb") as file:
            for line in file:
                key, _, hits = line.rstrip(b"\n").partition(b"\t")
                if int(key) not in seen:
                    seen.add(int(key))
                    yield int(key), hits


def zstandard() -> Any:
    """The library, or the sentence that names the extra."""
    try:
        import zstandard as library
    except ImportError:
        raise DokjaError("corpora are compressed with zstandard: `pip install dokja[corpus]` brings it") from None
    return library

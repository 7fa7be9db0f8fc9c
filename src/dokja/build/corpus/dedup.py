"""Near-duplicate documents: MinHash signatures, locality-sensitive hashing, union-find; kept on disk.

Shingles are pairs of neighbouring words after normalisation (codes.py): with pairs, a copy in which a fifth of the
eojeol changed still has a Jaccard similarity of 0.45, while most statutes that share a template stay under 0.4; longer
shingles tell the two apart less well, single words meet in every text of one field. Signatures are rensa's R-MinHash
(Fast Similarity Sketching: Dahlgaard, Knudsen and Thorup, 2017), a pure function of the set of shingles, so that
workers may compute them and the order in which they are added does not matter. Documents that agree in one band of
their signatures are candidates (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4), and
duplicates when the estimated similarity reaches the threshold. Of each cluster the document with the smallest key is
kept.

Disk: 4 * (slots + 1) + 8 bytes a document, and while `duplicates` runs 8 a band more (1,036 and 680 by default).
Memory: 40 bytes a document and 40 MB while `duplicates` runs, and a buffer of fixed size before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DokjaError
from ..lines import unreadable
from .codes import Stretches, mix, units, words

Signature = NDArray[np.uint32]

_BUFFER = 4_096  # signatures held before they are written
_BLOCK = 8_192  # documents or pairs looked at together
_LONGEST = 1 << 22  # UTF-16 units of a document that are looked at: 8 MB, which bounds memory


@dataclass(frozen=True)
class DedupConfig:
    """threshold: least Jaccard similarity of duplicates; shingle: words in one; slots: of a signature (the estimate has
    a standard deviation of 1/2 sqrt(slots) at most); rows: slots in a band, fewer find more candidates; least_words:
    shorter documents are duplicates only when their words are the same."""

    threshold: float = 0.4
    shingle: int = 2
    slots: int = 256
    rows: int = 3  # 85 bands: a pair at the threshold is a candidate with probability 0.996, one at 0.02 with 0.0007
    least_words: int = 20
    seed: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.threshold <= 1 and self.shingle > 0 and 0 < self.rows <= self.slots):
            raise DokjaError(
                f"threshold {self.threshold}, shingle {self.shingle}, rows {self.rows} and slots {self.slots} describe "
                "no search; take a threshold in (0, 1], a shingle of 1 or more and no more rows than slots"
            )

    @property
    def bands(self) -> int:
        return self.slots // self.rows


@lru_cache(maxsize=1)
def _rensa() -> Any:
    try:
        import rensa
    except ImportError:
        raise DokjaError("finding near-duplicates needs rensa; install it with `pip install dokja[corpus]`") from None
    return rensa.RMinHash


def signature(text: str, config: DedupConfig) -> Signature:
    """The signature of a text [slots + 1]: its number of words, then the slots.

    Raises DokjaError where rensa is missing.
    """
    found = words(units(text[:_LONGEST]))
    count = len(found.starts)
    if not count:
        return np.zeros(config.slots + 1, np.uint32)
    last = min(config.shingle, count) - 1
    shingles = Stretches(found.values).hashes(found.starts[: count - last], found.ends[last:])
    matrix = _rensa().digest_matrix_from_flat_token_hashes(
        shingles, np.array([0, len(shingles)], np.uint64), config.slots, config.seed
    )
    return np.array([count, *matrix.to_rows()[0]], np.uint32)


def similarity(one: Signature, other: Signature) -> float:
    """The estimated Jaccard similarity of the documents of two signatures."""
    return float(np.mean(one[1:] == other[1:]))


class NearDuplicates:
    """The signatures of a corpus in a folder of its own, and which documents repeat an earlier one.

    Signatures left in the folder by an earlier run are replaced.
    """

    def __init__(self, config: DedupConfig, folder: Path) -> None:
        self.config = config
        self._folder = folder
        self._held: list[Signature] = []
        self._keys: list[int] = []
        self._count = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("signatures.bin", "keys.bin"):
                (folder / name).write_bytes(b"")
        except OSError as error:
            raise unreadable(folder, error) from None

    def __len__(self) -> int:
        return self._count + len(self._held)

    def add(self, key: int, text: str) -> None:
        """Add a document; of duplicates the one with the smallest key is kept."""
        self.add_signature(key, signature(text, self.config))

    def add_signature(self, key: int, signature: Signature) -> None:
        """Add a document by its signature, which another process may have computed."""
        if signature.shape != (self.config.slots + 1,):
            raise ValueError(f"a signature of shape {signature.shape} is not one of {self.config.slots} slots")
        self._held.append(signature)
        self._keys.append(key)
        if len(self._held) >= _BUFFER:
            self._flush()

    def _flush(self) -> None:
        if not self._held:
            return
        try:
            with (self._folder / "signatures.bin").open("ab") as file:
                np.stack(self._held).astype(np.uint32, copy=False).tofile(file)
            with (self._folder / "keys.bin").open("ab") as file:
                np.array(self._keys, np.int64).tofile(file)
        except OSError as error:
            raise DokjaError(
                f"signatures cannot be written to {self._folder} ({error.strerror}); free some space there"
            ) from None
        self._count += len(self._held)
        self._held, self._keys = [], []

    def duplicates(self) -> Iterator[int]:
        """The keys to drop, in rising order."""
        for key, _ in self.copies():
            yield key

    def copies(self) -> Iterator[tuple[int, int]]:
        """Every document to drop, in rising order of its key, and the key of the one that is kept for it."""
        self._flush()
        if not self._count:
            return
        keys = np.fromfile(self._folder / "keys.bin", np.int64)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        if len(keys) > 1 and (repeated := np.flatnonzero(keys[1:] == keys[:-1])).size:
            raise ValueError(f"the key {keys[repeated[0]]} was added twice")
        rows = np.memmap(
            self._folder / "signatures.bin", np.uint32, "r", shape=(self._count, self.config.slots + 1)
        )
        first = self._clusters(rows, order)
        for place in np.flatnonzero(first != np.arange(len(first))):
            yield int(keys[place]), int(keys[first[place]])

    def _clusters(self, rows: NDArray[np.uint32], order: NDArray[np.intp]) -> NDArray[np.intp]:
        """For every document, by its place in the order of keys, the place of the first of its cluster."""
        parent = np.arange(len(order))
        path = self._folder / "bands.bin"
        bands = np.memmap(path, np.uint64, "w+", shape=(self.config.bands, len(order)))
        try:
            for start in range(0, len(order), _BLOCK):
                bands[:, start : start + _BLOCK] = self._band_hashes(rows[order[start : start + _BLOCK]])
            for band in bands:
                for one, other in self._pairs(np.asarray(band), parent, rows, order):
                    _join(parent, one, other)
                parent = _settle(parent)
        finally:
            del bands
            path.unlink(missing_ok=True)
        return parent

    def _band_hashes(self, block: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """One hash for every band of some signatures [bands, documents]; a document without words gets its own."""
        used = self.config.bands * self.config.rows
        slots = block[:, 1 : used + 1].astype(np.uint64).reshape(len(block), self.config.bands, self.config.rows)
        hashes = np.zeros((len(block), self.config.bands), np.uint64)
        for row in range(self.config.rows):
            hashes = mix(hashes ^ (slots[:, :, row] + np.uint64(row + 1)))
        return hashes.T

    def _pairs(
        self, band: NDArray[np.uint64], parent: NDArray[np.intp], rows: NDArray[np.uint32], order: NDArray[np.intp]
    ) -> Iterator[tuple[int, int]]:
        """Pairs that agree in a band, are not in one cluster yet, and are similar.

        Of those that share a bucket each is compared with the first and with its predecessor, so that a bucket of
        any size costs linear time; other pairs meet in other bands.
        """
        by_hash = np.argsort(band, kind="stable")
        ordered = band[by_hash]
        starts = np.ones(len(ordered), np.bool_)
        starts[1:] = ordered[1:] != ordered[:-1]
        later = np.flatnonzero(~starts)
        if not len(later):
            return
        first = np.maximum.accumulate(np.where(starts, np.arange(len(starts)), 0))[later]
        for earlier in (first, later - 1):
            one, other = by_hash[earlier], by_hash[later]
            unjoined = parent[one] != parent[other]
            if earlier is not first:
                unjoined &= earlier != first
            one, other = one[unjoined], other[unjoined]
            for start in range(0, len(one), _BLOCK):
                left, right = one[start : start + _BLOCK], other[start : start + _BLOCK]
                similar = self._similar(rows[order[left]], rows[order[right]])
                yield from zip(left[similar].tolist(), right[similar].tolist(), strict=True)

    def _similar(self, left: NDArray[np.uint32], right: NDArray[np.uint32]) -> NDArray[np.bool_]:
        estimate = np.mean(left[:, 1:] == right[:, 1:], axis=1)
        fewest = np.minimum(left[:, 0], right[:, 0])
        least = np.where(fewest < self.config.least_words, 1.0, self.config.threshold)
        return (estimate >= least) & (fewest > 0)


def _join(parent: NDArray[np.intp], one: int, other: int) -> None:
    """Join two clusters under the smaller of their first documents."""
    roots = []
    for place in (one, other):
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = int(parent[place])
        roots.append(place)
    low, high = sorted(roots)
    parent[high] = low


def _settle(parent: NDArray[np.intp]) -> NDArray[np.intp]:
    """Point every document at the first of its cluster."""
    while True:
        further = parent[parent]
        if np.array_equal(further, parent):
            return parent
        parent = further

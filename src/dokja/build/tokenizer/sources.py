"""The text that a tokenizer is trained on: sources, their shares, and a sample of each that is drawn by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DokjaError
from ..document import Document
from ..read import Texts

REPEATS = 10  # how often a small source is repeated, at most, to fill its share
_SCALE = 1 << 64


@dataclass(frozen=True)
class Source:
    """A name and its documents, which can be read again and again."""

    name: str
    documents: Iterable[Document]


@dataclass(frozen=True)
class Sampled:
    """What was drawn of a source. size, drawn: bytes of UTF-8, repetitions counted; share: of all that was drawn."""

    name: str
    size: int
    drawn: int
    share: float


@dataclass(frozen=True)
class Sample:
    """Texts with how often each is counted, and where they are from."""

    texts: list[tuple[str, int]]
    sources: list[Sampled]

    def __iter__(self) -> Iterator[str]:
        """The texts, each as often as it counts."""
        for text, times in self.texts:
            for _ in range(times):
                yield text


def sources_of(paths: Sequence[Path]) -> list[Source]:
    """Each path a source: a file, a folder, or a corpus of `dokja build corpus`, whose sources are its text/ folders.

    Names are the file's or folder's, without what comes after the first dot; a name met twice gets a number.
    Raises DokjaError for what cannot be read.
    """
    found: list[Source] = []
    for path in paths:
        inside = sorted(one for one in (path / "text").iterdir() if one.is_dir()) if (path / "text").is_dir() else []
        for one in inside or [path]:
            name = plain = one.resolve().name.partition(".")[0]
            number = 1
            while any(other.name == name for other in found):
                number += 1
                name = f"{plain}-{number}"
            found.append(Source(name, Texts([one])))
    return found


def draw(sources: Sequence[Source], size: int, shares: Mapping[str, float] | None = None) -> Sample:
    """About `size` bytes of all sources, whole documents, in the order they are read.

    shares: of the sample, by source; what they leave goes to the other sources by their size. A source smaller than its
    share is repeated, at most REPEATS times; then the sample is smaller than asked. Whether a document is drawn depends
    on its own hash only, so the sample is a function of the texts. Texts are read twice and the sample is held.
    """
    shares = dict(shares or {})
    if unknown := set(shares) - {source.name for source in sources}:
        raise DokjaError(f"--share names no source of the text: {', '.join(sorted(unknown))}; the sources are "
                         + ", ".join(source.name for source in sources))
    if any(share < 0 for share in shares.values()) or sum(shares.values()) > 1 + 1e-9:
        raise DokjaError(f"--share: shares are from 0 to 1 and add up to at most 1, not {sum(shares.values()):g}")
    sizes = {source.name: sum(len(one.content.encode()) for one in source.documents) for source in sources}
    others = sum(size for name, size in sizes.items() if name not in shares)
    left = 1 - sum(shares.values())
    texts: list[tuple[str, int]] = []
    taken: dict[str, int] = {}
    for source in sources:
        name, there = source.name, sizes[source.name]
        share = shares[name] if name in shares else left * there / max(1, others)
        times = min(share * size / max(1, there), float(REPEATS if name in shares else 1))
        whole, rest = int(times), int((times % 1) * _SCALE)
        taken[name] = 0
        for document in source.documents:
            text = document.content
            often = whole + (_hash(text) < rest)
            if often:
                texts.append((text, often))
                taken[name] += often * len(text.encode())
    total = sum(taken.values())
    if not total:
        raise DokjaError("the sample has no text: give a larger --sample, or more --text")
    return Sample(texts, [Sampled(name, sizes[name], drawn, drawn / total) for name, drawn in taken.items()])


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, person=b"tokenizer").digest(), "big")

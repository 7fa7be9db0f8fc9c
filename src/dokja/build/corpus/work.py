"""The steps of a corpus on one machine's piece of it: reading a piece, finishing a bucket, putting shards together.

Each function is given all that it needs, writes its files and its result last, and may run in any process, in any
order and twice. While reading a document is cleaned, identified, judged and redacted, so that no personal data reaches
the disk, and its signature and benchmark hits are found; while finishing what repeats others is dropped, benchmarks are
cut out, and tokens are made.
"""

from __future__ import annotations

import hashlib
import json
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DokjaError
from .clean import clean, mojibake
from .decontaminate import Benchmarks, Hit
from .dedup import signature
from .language import identify
from .quality import reason as poor
from .recipe import Recipe, SourceRecipe, from_dict
from .redact import redact
from .sources import Piece, file_hash, texts
from .spool import KEY_BITS, Entry, Runs, read_bucket, zstandard
from .tally import Tally

TRAIN, HELDOUT = "train", "heldout"
SPLITS = (TRAIN, HELDOUT)
_CUT = 200  # characters around what a document shares with a benchmark (Brown et al. 2020, appendix C)
_LEAST_PART = 200  # characters; what is shorter after a cut is dropped (the same)
_MOST_PARTS = 10  # a document that is cut into more is dropped (the same)
_BATCH = 1 << 20  # bytes of text that are compressed and tokenised together


@dataclass(frozen=True)
class Plan:
    """What all pieces of work share: the recipe, the working folder, how many buckets, files that steps look at, and
    when it was written: a process may outlive a plan, and what it remembers of these files holds no longer."""

    recipe: Recipe
    folder: Path
    buckets: int
    benchmarks: tuple[str, ...] = ()
    tokenizer: str | None = None
    stamp: int = 0

    @classmethod
    def load(cls, folder: str) -> Plan:
        """The plan that was written in a working folder."""
        return _plan(folder, (Path(folder) / "plan.json").stat().st_mtime_ns)

    def source(self, name: str) -> SourceRecipe:
        return next(source for source in self.recipe.sources if source.name == name)


@lru_cache(maxsize=1)
def _plan(folder: str, stamp: int) -> Plan:
    data = json.loads((Path(folder) / "plan.json").read_text(encoding="utf-8"))
    return Plan(from_dict(data["recipe"]), Path(folder), data["buckets"], tuple(data["benchmarks"]), data["tokenizer"],
                stamp)


@lru_cache(maxsize=1)
def _benchmarks(paths: tuple[str, ...], stamp: int) -> Benchmarks:
    return Benchmarks.read(map(Path, paths))


def load_tokenizer(path: str) -> Any:
    """The tokenizer of a tokenizer.json; special tokens in a text are text."""
    return _tokenizer(path, Path(path).stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _tokenizer(path: str, stamp: int) -> Any:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(path)
    except Exception as error:  # the library raises plain Exception
        raise DokjaError(f"{path} is not a readable tokenizer.json ({error})") from None
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def write_result(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Write what a piece of work found, whole or not at all; its being there says that the work is done."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
    os.replace(draft, path)
    return result


# Reading: a piece of a source becomes runs.


def read_piece(task: tuple[str, Piece]) -> dict[str, Any]:
    """Read, clean, identify and judge the documents of a piece; what is left is spooled with its signature."""
    folder, piece = task
    plan = Plan.load(folder)
    recipe, source = plan.recipe, plan.source(piece.source)
    rank = recipe.sources.index(source)
    tally = Tally(recipe.samples)
    stem = plan.folder / "runs" / piece.name
    runs = Runs(stem, plan.buckets, recipe.sizes.run_bytes)
    searched = bool(plan.benchmarks) and "decontaminate" not in source.skip
    whole = 0
    key_of = hashlib.blake2b(str(recipe.seed).encode(), digest_size=32).digest()
    for text, why in texts(piece, source):
        try:
            raw = (text or "").encode()
        except UnicodeEncodeError:  # JSON can spell half a surrogate pair (\\ud800), UTF-8 cannot
            text, why, raw = None, "half a surrogate pair", b""
        if text is None:
            tally.add(source.name, "in")
            tally.add(source.name, "dropped read", why)
            continue
        if not piece.path:  # datasets have no files to hash: a sum of hashes does not depend on their order
            whole += int.from_bytes(hashlib.blake2b(raw, digest_size=32).digest(), "big")
        tally.add(source.name, "in", size=len(raw))
        given = text
        text, dropped = _judge(given, source, recipe, tally)
        if dropped is not None:
            tally.add(source.name, f"dropped {dropped[0]}", dropped[1], len(text.encode()))
            tally.sample(source.name, f"dropped {dropped[0]}", dropped[1], text)
            continue
        if recipe.redact and "redact" not in source.skip:
            text, kinds = redact(text)
            for kind, number in kinds.items():
                tally.add(source.name, "changed redact", kind, documents=number)
                tally.sample(source.name, "changed redact", kind, text, text.find(f"[{kind}]"))
        if text is not given:
            raw = text.encode()
        key = int.from_bytes(hashlib.blake2b(raw, digest_size=8, key=key_of).digest(), "big") >> (64 - KEY_BITS)
        hits = _benchmarks(plan.benchmarks, plan.stamp).hits(text) if searched else ()
        runs.add(Entry(key, rank, raw, json.dumps(hits, ensure_ascii=False).encode() if hits else b""),
                 signature(text, recipe.near) if recipe.near is not None and "near" not in source.skip else None)
    runs.flush()
    result = {"tally": tally.to_dict(), "source": source.name, "path": piece.path, "hash": "",
              "runs": [f"{stem.name}-{number:05d}.run" for number in range(runs.count)]}
    if not piece.path:
        result["hash"] = f"{whole % (1 << 256):064x}"
    elif piece.part == 0:
        result["hash"] = file_hash(Path(piece.path))
    return write_result(plan.folder / "read" / f"{piece.name}.json", result)


def _judge(text: str, source: SourceRecipe, recipe: Recipe, tally: Tally) -> tuple[str, tuple[str, str] | None]:
    """The cleaned text, and by which step and for what reason it is dropped, if it is."""
    name = source.name
    if "clean" not in source.skip:
        if mojibake(text):
            return text, ("clean", "wrong encoding")
        before = text
        text, changes = clean(before)
        if not text.strip():
            return text, ("clean", "empty text")
        for change in changes:
            tally.add(name, "changed clean", change)
            if change not in ("lines", "spaces"):
                tally.sample(name, "changed clean", change, text, _first_difference(before, text))
    if recipe.language is not None and "language" not in source.skip:
        language, sure = identify(text)
        tally.add(name, "language", language)
        if language not in recipe.language.keep:
            return text, ("language", language)
        if sure < recipe.language.least:
            return text, ("language", f"{language}, not sure")
    if recipe.quality is not None and "quality" not in source.skip:
        reason = poor(text, recipe.quality)
        if reason is not None:
            return text, ("quality", reason)
    return text, None


def _first_difference(one: str, other: str) -> int:
    return bisect_left(range(min(len(one), len(other))), True, key=lambda last: one[: last + 1] != other[: last + 1])


# Finishing: a bucket becomes segments, one for each source and split.


def finish_bucket(task: tuple[str, int, tuple[str, ...]]) -> dict[str, Any]:
    """Drop what repeats, cut out what benchmarks hold, tokenise, and write by source and split."""
    folder, bucket, runs = task
    plan = Plan.load(folder)
    recipe = plan.recipe
    tally = Tally(recipe.samples)
    hits: list[tuple[Any, ...]] = []
    at = plan.folder / "buckets" / f"{bucket:06d}"
    at.mkdir(parents=True, exist_ok=True)
    common = frozenset(json.loads((plan.folder / "common.json").read_text(encoding="utf-8")))
    segments: dict[tuple[str, str], _Segment] = {}
    with ExitStack() as stack:
        for entry in _unique(plan, runs, bucket, tally):
            name, text = recipe.sources[entry.rank].name, entry.text.decode()
            found = [(Hit(*hit), gram(hit[2]) in common) for hit in json.loads(entry.hits or b"[]")]
            hits += [(name, f"{entry.key:016x}", *hit, often) for hit, often in found]
            split = HELDOUT if _lot(entry.key, recipe.seed) < recipe.heldout else TRAIN
            parts = _without(plan, name, text, [hit for hit, often in found if not often], tally)
            for number, part in enumerate(parts):
                if (name, split) not in segments:
                    segments[name, split] = stack.enter_context(_Segment(at / f"{name}.{split}", plan))
                segments[name, split].add(f"{entry.key:016x}" + (f"-{number}" if len(parts) > 1 else ""), part)
                size = len(entry.text) if part is text else len(part.encode())
                tally.add(name, "out" if split == TRAIN else "heldout", size=size)
    result = {"tally": tally.to_dict(), "hits": hits, "bucket": bucket,
              "segments": {f"{name}.{split}": segment.counts() for (name, split), segment in segments.items()}}
    return write_result(at / "result.json", result)


def gram(text: str) -> str:
    """An n-gram as it is counted: spaces, signs and case are left out."""
    return "".join(char for char in text.casefold() if char.isalnum())


def _lot(key: int, seed: int) -> float:
    """A number in [0, 1) that says which split a document is of."""
    drawn = hashlib.blake2b(key.to_bytes(8, "big"), digest_size=8, key=str(seed).encode(), person=b"heldout").digest()
    return int.from_bytes(drawn, "big") / 2**64


def _unique(plan: Plan, runs: tuple[str, ...], bucket: int, tally: Tally) -> Iterator[Entry]:
    """The documents of a bucket that repeat none, by key."""
    recipe = plan.recipe
    copies = near_duplicates(plan.folder)
    last: int | None = None
    for entry in read_bucket([plan.folder / "runs" / run for run in runs], bucket, plan.buckets):
        source = recipe.sources[entry.rank]
        place = int(np.searchsorted(copies, entry.key))
        if recipe.exact and entry.key == last and "exact" not in source.skip:
            dropped = ("dropped exact", "the same text")
        elif place < len(copies) and copies[place] == entry.key and "near" not in source.skip:
            dropped = ("dropped near", "nearly the same text")
        else:
            yield entry
            last = entry.key
            continue
        last = entry.key
        tally.add(source.name, *dropped, len(entry.text))
        tally.sample(source.name, *dropped, entry.text.decode())


def near_duplicates(folder: Path) -> NDArray[np.int64]:
    """The keys of near-duplicates that are dropped, rising, mapped; none where they were not looked for."""
    path = folder / "near.keys"
    if not path.exists() or not path.stat().st_size:
        return np.zeros(0, np.int64)
    return np.memmap(path, np.int64, "r")


def _without(plan: Plan, name: str, text: str, hits: list[Hit], tally: Tally) -> list[str]:
    """The text, or what is left of it."""
    assert plan.recipe.decontaminate is not None or not hits
    action = plan.recipe.decontaminate.action if plan.recipe.decontaminate else "report"
    if not hits or action == "report":
        return [text]
    parts = _around(text, hits) if action == "cut" else []
    kept = 0 < len(parts) <= _MOST_PARTS
    what = "changed decontaminate" if kept else "dropped decontaminate"
    reason = hits[0].benchmark
    if action == "cut" and not kept:
        reason += f", over {_MOST_PARTS} parts" if parts else ", too little is left"
    tally.add(name, what, reason, len(text.encode()))
    tally.sample(name, what, reason, text, hits[0].position)
    return parts if kept else []


def _around(text: str, hits: list[Hit]) -> list[str]:
    """What is left of a text without its hits and the characters around them."""
    parts, start = [], 0
    for hit in hits:
        parts.append(text[start : max(start, hit.position - _CUT)])
        start = max(start, hit.position + len(hit.ngram) + _CUT)
    parts.append(text[start:])
    return [part.strip() for part in parts if len(part.strip()) >= _LEAST_PART]


class _Segment:
    """The documents of one source and split in one bucket, on their way to disk: compressed text, and tokens."""

    def __init__(self, stem: Path, plan: Plan) -> None:
        self._stem, self._plan = stem, plan
        self._lines: list[bytes] = []
        self._held: list[str] = []
        self._size = 0
        self._files = ExitStack()
        self.documents = self.bytes = self.tokens = 0

    def __enter__(self) -> _Segment:
        opened = self._files.enter_context
        self._text: IO[bytes] = opened(zstandard().open(f"{self._stem}.jsonl.zst", "wb",
                                                        cctx=zstandard().ZstdCompressor(level=3)))
        if self._plan.tokenizer is not None:
            self._tokenizer = load_tokenizer(self._plan.tokenizer)
            self._end = self._tokenizer.token_to_id(self._plan.recipe.end_of_text)
            self._dtype = token_dtype(self._tokenizer.get_vocab_size())
            self._tokens: IO[bytes] = opened(open(f"{self._stem}.bin", "wb"))
            self._counts: IO[bytes] = opened(open(f"{self._stem}.counts", "wb"))
        return self

    def __exit__(self, *raised: Any) -> None:
        if raised[0] is None:
            self._flush()
        self._files.close()

    def add(self, name: str, text: str) -> None:
        line = json.dumps({"id": name, "text": text}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._lines.append(line)
        self.documents += 1
        self.bytes += len(line)
        self._size += len(line)
        if self._plan.tokenizer is not None:
            self._held.append(text)
        if self._size >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        self._text.write(b"".join(self._lines))
        self._lines, self._size = [], 0
        if self._held:
            self._tokenise()

    def _tokenise(self) -> None:
        for encoding in self._tokenizer.encode_batch_fast(self._held, add_special_tokens=False):
            ids = np.array([*encoding.ids, self._end], self._dtype)
            ids.tofile(self._tokens)
            np.array([len(ids)], "<u8").tofile(self._counts)
            self.tokens += len(ids)
        self._held = []

    def counts(self) -> dict[str, int]:
        return {"documents": self.documents, "bytes": self.bytes, "tokens": self.tokens}


def token_dtype(vocab: int) -> np.dtype[Any]:
    """Of token shards: little-endian unsigned, 16 bits where they hold every id."""
    return np.dtype("<u2" if vocab <= 1 << 16 else "<u4")


# Putting together: the segments of a source and split, in the order of buckets, become shards.


def join_segments(task: tuple[str, str, str, str, tuple[tuple[int, dict[str, int]], ...]]) -> list[dict[str, Any]]:
    """Write the shards of one source, split and kind ("text" or "tokens") and say what is in each."""
    folder, name, split, kind, segments = task
    plan = Plan.load(folder)
    sizes = plan.recipe.sizes
    counted, limit = ("bytes", sizes.shard_bytes) if kind == "text" else ("tokens", sizes.shard_tokens)
    top = kind if split == TRAIN else f"{kind}-{HELDOUT}"
    shards: list[dict[str, Any]] = []
    held: list[tuple[int, dict[str, int]]] = []
    filled = 0
    for number, segment in enumerate(segments):
        held.append(segment)
        filled += segment[1][counted]
        if filled < limit and number < len(segments) - 1:
            continue
        shard = f"{top}/{name}/{len(shards):05d}"
        stems = [str(plan.folder / "buckets" / f"{bucket:06d}" / f"{name}.{split}") for bucket, _ in held]
        counted_too = ("documents",) if kind == "text" else ("documents", "tokens")
        totals = {what: sum(counts[what] for _, counts in held) for what in counted_too}
        target = plan.folder / "out" / shard
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == "text":
            shards.append({**_concatenate(target.with_suffix(".jsonl.zst"), [f"{stem}.jsonl.zst" for stem in stems]),
                           "file": f"{shard}.jsonl.zst", **totals})
        else:
            shards.append({**_concatenate(target.with_suffix(".bin"), [f"{stem}.bin" for stem in stems]),
                           "file": f"{shard}.bin", **totals})
            counts = np.concatenate([np.fromfile(f"{stem}.counts", "<u8") for stem in stems])
            ends = np.cumsum(counts, dtype="<u8").tobytes()
            target.with_suffix(".ends").write_bytes(ends)
            shards[-1]["ends_sha256"] = hashlib.sha256(ends).hexdigest()
        held, filled = [], 0
    return shards


def _concatenate(target: Path, parts: list[str]) -> dict[str, Any]:
    digest = hashlib.sha256()
    size = 0
    with target.open("wb") as file:
        for part in parts:
            with open(part, "rb") as source:
                while data := source.read(1 << 20):
                    file.write(data)
                    digest.update(data)
                    size += len(data)
        file.flush()
        os.fsync(file.fileno())
    return {"sha256": digest.hexdigest(), "bytes": size}

"""Whether a document holds text of a benchmark: shared n-grams of 13 words, every one reported.

The rule. Benchmark text is every string in an item (question, passage, choices, answer), each by itself. It is
normalised (case, width, punctuation and whitespace do not count) and divided into words, eojeol in Korean. A string of
13 words or more is searched by every 13-gram of it (Brown et al., 2020, appendix C); a shorter one as a whole, if it
has at least 8 words (Radford et al., 2019, section 4) and 20 letters. What is shorter still cannot be told from
ordinary language; it is not searched, and counted. Spaces within an n-gram do not count, as long as its words are as
many.

Text is searched by 64-bit hashes (codes.py): one pass for the first 8 words of every n-gram through a sieve of bits,
then the whole n-gram where they were found.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import DokjaError
from ..lines import lines, unreadable
from .codes import Hashes, Stretches, units, words

NGRAM = 13
LEAST_WORDS, LEAST_LETTERS = 8, 20
_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
_COMPRESSED = (".gz", ".xz", ".zst")
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")
_BLOCK, _OVERLAP = 1 << 20, 1 << 12  # characters: a long document is searched in blocks, which bounds memory
_BATCH = 1 << 20  # characters of benchmark text that are taken together
_BITS = 32  # of the sieve for every n-gram: 3 % of what it lets through is not there


class Hit(NamedTuple):
    """An n-gram of a document that stands in a benchmark too.

    benchmark: the file; item: its number in the file, from 1; ngram: as the document has it; position: its first
    character in the document.
    """

    benchmark: str
    item: int
    ngram: str
    position: int


class Benchmarks:
    """The n-grams of benchmarks. `items` and `unsearched` count the strings that are searched and that are too short;
    `files` names the files."""

    def __init__(self, strings: Iterable[tuple[str, int, str]]) -> None:
        """strings: (benchmark, item, text)."""
        self.items = self.unsearched = 0
        names: dict[str, int] = {}
        found: dict[int, list[tuple[Hashes, Hashes, NDArray[np.int64]]]] = {}
        for texts, owners in self._batches(strings, names):
            searched, columns_by_length = _grams(texts, owners)
            self.items += searched
            self.unsearched += len(texts) - searched
            for length, columns in columns_by_length:
                found.setdefault(length, []).append(columns)
        self.files = tuple(names)
        self._tables: list[tuple[int, Hashes, NDArray[np.int64]]] = []
        heads: list[Hashes] = []
        for length in sorted(found):
            grams, first_words, owner = (np.concatenate(column) for column in zip(*found.pop(length), strict=True))
            table, first = np.unique(grams, return_index=True)  # of items that share an n-gram the first is named
            self._tables.append((length, table, owner[first]))
            heads.append(first_words[first])
        self._heads = np.sort(np.concatenate(heads)) if heads else np.empty(0, np.uint64)
        self._sieve = Sieve(self._heads)

    def _batches(
        self, strings: Iterable[tuple[str, int, str]], names: dict[str, int]
    ) -> Iterator[tuple[list[str], NDArray[np.int64]]]:
        """The strings that are long enough, many together, and their owners: file << 40 | item."""
        texts: list[str] = []
        owners: list[int] = []
        size = 0
        for name, item, text in strings:
            number = names.setdefault(name, len(names))
            if len(text) < LEAST_LETTERS + LEAST_WORDS - 1:
                self.unsearched += 1
                continue
            texts.append(unicodedata.normalize("NFC", text))
            owners.append(number << 40 | item)
            size += len(text)
            if size >= _BATCH:
                yield texts, np.array(owners)
                texts, owners, size = [], [], 0
        if texts:
            yield texts, np.array(owners)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Benchmarks:
        """Read .jsonl, .json, .csv, .tsv and .parquet files, folders and tar archives of them.

        Raises DokjaError for what cannot be read, and when there is nothing to search for.
        """
        paths = list(paths)
        found = cls(string for path in paths for string in _strings(path))
        if not found.items:
            raise DokjaError(
                f"no benchmark text in {', '.join(map(str, paths)) or 'no paths'}; give files, folders or tar archives "
                f"that hold {', '.join(_SUFFIXES)}"
            )
        return found

    @property
    def ngrams(self) -> int:
        """How many different n-grams are searched for."""
        return sum(len(table) for _, table, _ in self._tables)

    def hits(self, text: str) -> list[Hit]:
        """Every n-gram that the text shares with a benchmark, in order."""
        if len(text) <= _BLOCK:
            return sorted(self._block(text), key=lambda hit: (hit.position, len(hit.ngram)))
        found: dict[tuple[int, int], Hit] = {}
        for start in range(0, len(text) - _OVERLAP, _BLOCK - _OVERLAP):
            for hit in self._block(text[start : start + _BLOCK]):
                moved = hit._replace(position=hit.position + start)
                found.setdefault((moved.position, len(moved.ngram)), moved)
        return [found[place] for place in sorted(found)]

    def _block(self, text: str) -> Iterator[Hit]:
        codes = units(text)
        starts, ends, places = (found := words(codes)).starts, found.ends, found.places
        if len(starts) < LEAST_WORDS or not self._tables:
            return
        stretches = Stretches(found.values)
        heads = stretches.hashes(starts[: len(starts) - LEAST_WORDS + 1], ends[LEAST_WORDS - 1 :])
        likely = self._sieve.holds(heads)
        likely = likely[_held(self._heads, heads[likely])[0]]
        if not len(likely):
            return
        # Characters beyond the basic plane are two units; a position counts characters.
        pairs = np.cumsum((codes & 0xFC00) == 0xDC00)
        for length, table, owners in self._tables:
            place = likely[likely <= len(starts) - length]
            grams = stretches.hashes(starts[place], ends[place + length - 1])
            shared, at = _held(table, grams)
            place, owner = place[shared], owners[at[shared]]
            first, last = places[starts[place]], places[ends[place + length - 1] - 1]
            spans = zip(first - pairs[first], last + 1 - pairs[last], owner.tolist(), strict=True)
            for low, high, number in spans:
                yield Hit(self.files[number >> 40], number & ((1 << 40) - 1), text[low:high], int(low))


def _held(table: Hashes, hashes: Hashes) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
    """Which of the hashes stand in a sorted table, and where."""
    at = np.minimum(np.searchsorted(table, hashes), len(table) - 1)
    return table[at] == hashes, at


class Sieve:
    """A set of hashes in 32 bits for each, which lets some others through."""

    def __init__(self, hashes: Hashes) -> None:
        self._shift = np.uint64(64 - max(10, (_BITS * len(hashes)).bit_length()))
        slots = hashes >> self._shift
        self._bits = np.zeros(1 << (61 - int(self._shift)), np.uint8)
        np.bitwise_or.at(self._bits, (slots >> np.uint64(3)).astype(np.intp), _bit(slots))

    def holds(self, hashes: Hashes) -> NDArray[np.intp]:
        """The places of those that are in the set, and of a few that are not."""
        slots = hashes >> self._shift
        return np.flatnonzero(self._bits[(slots >> np.uint64(3)).astype(np.intp)] & _bit(slots))


def _bit(slots: Hashes) -> NDArray[np.uint8]:
    return np.left_shift(np.uint8(1), (slots & np.uint64(7)).astype(np.uint8))


def _grams(
    texts: list[str], owners: NDArray[np.int64]
) -> tuple[int, list[tuple[int, tuple[Hashes, Hashes, NDArray[np.int64]]]]]:
    """How many texts are searched for; by length in words: their n-grams, the first words of these, their owners."""
    codes = units("\n".join(texts))
    bounds = np.cumsum([len(text.encode("utf-16-le", "surrogatepass")) // 2 + 1 for text in texts])
    found = words(codes)
    of = np.searchsorted(bounds, found.places[found.starts], side="right")  # the text that a word stands in
    counts = np.bincount(of, minlength=len(texts))
    letters = np.bincount(of, found.ends - found.starts, minlength=len(texts))
    counts[letters < LEAST_LETTERS] = 0
    stretches = Stretches(found.values)
    columns = []
    for length in range(LEAST_WORDS, NGRAM + 1):
        first = np.flatnonzero(of[: len(of) - length + 1] == of[length - 1 :])
        count = counts[of[first]]
        first = first[count >= NGRAM if length == NGRAM else count == length]
        grams = stretches.hashes(found.starts[first], found.ends[first + length - 1])
        heads = stretches.hashes(found.starts[first], found.ends[first + LEAST_WORDS - 1])
        if len(grams):
            columns.append((length, (grams, heads, owners[of[first]])))
    return int(np.count_nonzero(counts >= LEAST_WORDS)), columns


def _strings(path: Path) -> Iterator[tuple[str, int, str]]:
    """(file, item, text) of every string of every item under a path, in a fixed order."""
    try:
        if path.is_dir():
            for inner in sorted(path.rglob("*")):
                if inner.is_file() and _kind(inner.name) is not None:
                    yield from _of_file(inner, str(inner.relative_to(path.parent)))
        elif path.name.endswith(_ARCHIVES):
            yield from _of_archive(path)
        elif path.exists() and _kind(path.name) is None:
            raise DokjaError(f"{path} is no benchmark that can be read; give {', '.join(_SUFFIXES)} or a tar archive")
        else:
            yield from _of_file(path, path.name)
    except OSError as error:
        raise unreadable(path, error) from None


def _kind(name: str) -> str | None:
    """The suffix that says how a file is read, a compression left out; None for other files."""
    if name.endswith(_ARCHIVES):
        return ".tar"
    for suffix in _COMPRESSED:
        name = name.removesuffix(suffix)
    return next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), None)


def _of_archive(path: Path) -> Iterator[tuple[str, int, str]]:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        try:
            with tarfile.open(path, "r|*") as archive:  # as a stream: going back would decompress anew
                for member in archive:
                    file = archive.extractfile(member) if member.isfile() and _kind(member.name) else None
                    if file is None:
                        continue
                    # Through a file of its own: compressed members and parquet want to seek. The name is not trusted.
                    copy = Path(folder) / f"member{''.join(Path(member.name).suffixes[-2:])}"
                    copy.write_bytes(file.read())
                    yield from _of_file(copy, f"{path.name}/{member.name}")
        except (tarfile.TarError, EOFError) as error:
            raise DokjaError(f"{path} is no tar archive or is damaged ({error}); copy or download it again") from None


def _of_file(path: Path, name: str) -> Iterator[tuple[str, int, str]]:
    for number, item in enumerate(_items(path, name), start=1):
        for text in _leaves(item):
            yield name, number, text


def _items(path: Path, name: str) -> Iterator[Any]:
    kind = _kind(path.name)
    if kind == ".tar":
        for _, _, text in _of_archive(path):
            yield text
        return
    if kind == ".parquet":
        yield from _parquet(path)
        return
    try:
        if kind == ".jsonl":
            yield from (json.loads(line) for _, line in lines(path) if line.strip())
        elif kind == ".json":
            yield from _top(json.loads("\n".join(line for _, line in lines(path))))
        else:
            table = io.StringIO("\n".join(line for _, line in lines(path)))
            csv.field_size_limit(1 << 26)
            # In .tsv quotation marks are characters like others.
            yield from csv.reader(table) if kind == ".csv" else (row.split("\t") for row in table)
    except (json.JSONDecodeError, csv.Error) as error:
        raise DokjaError(f"{name} cannot be read as its name says ({error}); repair it or leave it out") from None


def _top(value: Any) -> Iterator[Any]:
    """The items of a JSON file: of its list, or of the lists in its object, else the whole."""
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict) and any(isinstance(inner, list) for inner in value.values()):
        for inner in value.values():
            yield from inner if isinstance(inner, list) else (inner,)
    else:
        yield value


def _parquet(path: Path) -> Iterator[Any]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise DokjaError(f"{path} needs pyarrow; install it with `pip install dokja[text]`") from None
    try:
        for batch in ParquetFile(path).iter_batches():
            yield from batch.to_pylist()
    except ArrowException as error:
        raise DokjaError(f"{path} is not parquet or is damaged ({error}); copy or download it again") from None


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _leaves(inner)

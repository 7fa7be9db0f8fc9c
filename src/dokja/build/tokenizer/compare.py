"""Tokenizers side by side on the same texts: how many tokens, how fast, and whether the text comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tokenizers import Tokenizer

from ...errors import DokjaError
from ...models.checkpoint.kept import TOKENIZER, read_tokenizer
from .patterns import letters

PUBLISHED = ("o200k_base", "cl100k_base", "llama3", "qwen3")  # what quicktok-v1 carries
TIMED = 1_000_000  # bytes of each text over which speed is measured


@dataclass(frozen=True)
class Contestant:
    """encode: ids of a text, markers in it being text; decode: the text of ids; lone: ids of tokens that are one byte
    of a character of several.
    """

    name: str
    vocab: int
    encode: Callable[[str], Sequence[int]]
    decode: Callable[[Sequence[int]], str]
    lone: frozenset[int]


@dataclass(frozen=True)
class Measured:
    """One tokenizer on one text. lone: share of tokens that are one byte of a longer character; lossless: whether
    every document comes back; speed: MB of UTF-8 encoded a second on one thread, a document at a time.
    """

    tokenizer: str
    vocab: int
    text: str
    tokens: int
    per_character: float
    per_byte: float
    bytes_per_token: float
    lone: float
    lossless: bool
    speed: float


def contestant(name: str) -> Contestant:
    """A published tokenizer by name (with quicktok-v1), or a tokenizer.json or the folder it is in."""
    path = Path(name)
    if path.exists():
        return _from_file(name, path / TOKENIZER if path.is_dir() else path)
    if name in PUBLISHED:
        return _published(name)
    raise DokjaError(f"{name} is neither a tokenizer.json, nor a folder with one, nor one of {', '.join(PUBLISHED)}")


def _published(name: str) -> Contestant:
    try:
        import quicktok
    except ImportError:
        raise DokjaError(f"{name} is in the package quicktok-v1, which is not installed: `pip install dokja[bench]` "
                         "brings it") from None
    made = quicktok.get_encoding(name)
    lone = frozenset(i for i, token in enumerate(made.token_byte_values()) if len(token) == 1 and token[0] >= 0x80)
    return Contestant(name, made.n_vocab, made.encode_ordinary, made.decode, lone)


def _from_file(name: str, path: Path) -> Contestant:
    tokenizer = read_tokenizer(path)
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return Contestant(name, tokenizer.get_vocab_size(),
                      lambda text: tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids,
                      lambda ids: tokenizer.decode(list(ids), skip_special_tokens=False), _lone(tokenizer))


def _lone(tokenizer: Tokenizer) -> frozenset[int]:
    """Byte-level tokenizers spell a byte as a letter of its own, others as <0xE3>."""
    if '"ByteLevel"' in json.dumps(json.loads(tokenizer.to_str()).get("decoder") or {}):
        spelled = {letter for byte, letter in letters().items() if byte >= 0x80}
    else:
        spelled = {f"<0x{byte:02X}>" for byte in range(0x80, 256)}
    return frozenset(index for token in spelled if (index := tokenizer.token_to_id(token)) is not None)


def measure(contestants: Sequence[Contestant], texts: Mapping[str, Iterable[str]]) -> list[Measured]:
    """Every tokenizer on every text (its documents), text by text; all of a text is held in memory."""
    rows = []
    for name, documents in texts.items():
        held = list(documents)
        characters, size = sum(map(len, held)), sum(len(one.encode()) for one in held)
        if not size:
            raise DokjaError(f"the text {name} is empty; give one with text in it")
        for one in contestants:
            ids = [one.encode(document) for document in held]
            tokens = sum(map(len, ids))
            lone = sum(index in one.lone for found in ids for index in found)
            lossless = all(one.decode(found) == document for found, document in zip(ids, held, strict=True))
            rows.append(Measured(one.name, one.vocab, name, tokens, tokens / characters, tokens / size, size / tokens,
                                 lone / tokens, lossless, _speed(one, held)))
    return rows


def _speed(one: Contestant, documents: Sequence[str]) -> float:
    """MB/s over the first TIMED bytes, after they were all encoded once."""
    some, size = [], 0
    for document in documents:
        some.append(document)
        size += len(document.encode())
        if size >= TIMED:
            break
    begun = time.perf_counter()
    for document in some:
        one.encode(document)
    return size / (time.perf_counter() - begun) / 1e6


def fewer(rows: Sequence[Measured], base: str) -> dict[tuple[str, str], float]:
    """By (tokenizer, text): the share of tokens saved against `base`; 0.4 is 40 % fewer, negative is more."""
    against = {row.text: row.tokens for row in rows if row.tokenizer == base}
    return {(row.tokenizer, row.text): 1 - row.tokens / against[row.text] for row in rows if row.text in against}


def first_bytes(texts: Iterable[str], size: int) -> Iterable[str]:
    """Texts until `size` bytes are reached."""
    taken = 0
    for text in texts:
        if taken >= size:
            return
        taken += len(text.encode())
        yield text


def as_json(rows: Sequence[Measured], base: str) -> list[dict[str, object]]:
    """The rows with what each saves against `base`."""
    saved = fewer(rows, base)
    return [{**asdict(row), "fewer": saved.get((row.tokenizer, row.text))} for row in rows]


def table(rows: Sequence[Measured], base: str) -> list[list[str]]:
    """A line of text a tokenizer; the first line is the heading, and each text has tokens per character and what is
    saved against `base`."""
    texts = list(dict.fromkeys(row.text for row in rows))
    saved = fewer(rows, base)
    heading = ["tokenizer", "vocab", *texts, "bytes/token", "lone bytes", "lossless", "MB/s"]
    lines = [heading]
    for name in dict.fromkeys(row.tokenizer for row in rows):
        own = [row for row in rows if row.tokenizer == name]
        tokens = sum(row.tokens for row in own)
        cells = []
        for row in own:
            less = saved.get((name, row.text))
            cells.append(f"{row.per_character:.3f}" + (f" {-100 * less:+.0f}%" if less is not None and name != base
                                                       else ""))
        size = sum(row.tokens * row.bytes_per_token for row in own)
        lines.append([name, f"{own[0].vocab:,}", *cells, f"{size / tokens:.2f}",
                      f"{sum(row.lone * row.tokens for row in own) / tokens:.2%}",
                      "yes" if all(row.lossless for row in own) else "no",
                      f"{len(own) / sum(1 / row.speed for row in own):.1f}"])
    return lines


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table with even columns, the first one to the left; as wide as it needs to be."""
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [line[0].ljust(wide[0]) + "".join(f"  {cell:>{width}}" for cell, width in zip(line[1:], wide[1:],
                                                                                          strict=True))
            for line in lines]


def named_texts(given: Sequence[str]) -> dict[str, Path]:
    """Paths by name, from PATH or NAME=PATH; a path's own name goes up to its first dot. Raises DokjaError."""
    found: dict[str, Path] = {}
    for one in given:
        name, _, rest = one.rpartition("=")
        path = Path(rest)
        if not name or Path(one).exists():
            path = Path(one)
            name = path.resolve().name.partition(".")[0]
        if name in found:
            raise DokjaError(f"two texts are called {name}; name one of them, as in --text other={path}")
        found[name] = path
    return found

"""The text that every contestant trains on: one tokenizer of ours, tokenized once."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dokja.build.document import Document
from dokja.build.packing import encode, pack
from dokja.build.read import Texts
from dokja.build.tokenizer import train_tokenizer
from dokja.models.families import FAMILIES

HELDOUT_EVERY = 20  # one document of so many is never trained on
PASSAGE = 1500  # bytes; documents are cut at the ends of lines, so that everybody's sequences begin where a text begins
SHARE = 0.5  # of the training bytes, at most, from one source: statutes are most of the text


def prepare(texts: Path, out: Path, *, vocab: int, context: int, train_bytes: int,
            heldout_bytes: int) -> dict[str, Any]:
    """Write tokens.npy (uint16, documents end to end, each after an end of text), packed.npz (whole documents fitted
    into sequences), heldout.npz and tokenizer.json under `out`; what is there from the same arguments is kept.

    Documents are taken in the order of a hash, those held out by it too; a held-out row is the first `context` tokens
    of a passage, after an end of text, as every way of packing has seen texts begin.
    """
    wanted = {"vocab": vocab, "context": context, "train_bytes": train_bytes, "heldout_bytes": heldout_bytes,
              "texts": str(texts), "form": 2}
    about = out / "text.json"
    if about.exists() and (known := json.loads(about.read_text(encoding="utf-8")))["wanted"] == wanted:
        return dict(known)
    out.mkdir(parents=True, exist_ok=True)
    documents = sorted(_all(texts), key=lambda pair: pair[0])
    heldout = list(_first((passage for key, passage in documents if key % HELDOUT_EVERY == 0), heldout_bytes))
    train = list(_first((passage for key, passage in documents if key % HELDOUT_EVERY), train_bytes))
    chat = next(family.chat for family in FAMILIES.values() if family.chat is not None)
    codec = train_tokenizer(train, vocab, chat, max_bytes=min(train_bytes, 16_000_000))
    codec.tokenizer.save(str(out / "tokenizer.json"))
    end = codec.end_of_text
    encoded = list(encode(codec, train))
    flat = np.fromiter(chain.from_iterable([end, *document.ids] for document in encoded), dtype=np.uint16)
    np.save(out / "tokens.npy", flat)
    flat.tofile(out / "tokens.bin")
    pack(encoded, context, end, vocab).save(out / "packed.npz")
    rows, counts, size = [], [], 0
    for document in heldout:
        ids = codec.encode(document.content)[:context]
        size += len(codec.decode(ids).encode())
        rows.append([end, *ids, *[end] * (context - len(ids))])
        counts.append(len(ids))
    np.savez(out / "heldout.npz", tokens=np.array(rows, dtype=np.uint16), counts=np.array(counts, dtype=np.uint16),
             bytes=np.array(size))
    found = {"wanted": wanted, "train tokens": len(flat), "train documents": len(train),
             "bytes a token": round(sum(len(d.content.encode()) for d in train) / len(flat), 3),
             "held-out documents": len(heldout), "held-out bytes": size, "held-out tokens": sum(counts)}
    about.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")
    return found


def _all(texts: Path) -> Iterator[tuple[int, Document]]:
    """Passages of all documents, each with the hash of its document and of its place, so that both sets are mixed."""
    seen = set()
    for document in Texts([texts]):
        if document.turns or len(document.content) < 400:
            continue  # chat questions and stubs
        digest = hashlib.sha256(document.content.encode()).digest()
        if digest in seen:
            continue
        seen.add(digest)
        held = int.from_bytes(digest[:8], "big") % HELDOUT_EVERY == 0
        for place, passage in enumerate(_passages(document.content)):
            key = int.from_bytes(hashlib.sha256(digest + place.to_bytes(4, "big")).digest()[:7], "big")
            yield key * HELDOUT_EVERY + (0 if held else 1), Document(document.source, passage)


def _passages(text: str) -> Iterator[str]:
    lines: list[str] = []
    size = 0
    for line in text.splitlines():
        lines.append(line)
        size += len(line.encode()) + 1
        if size >= PASSAGE:
            yield "\n".join(lines)
            lines, size = [], 0
    if size >= PASSAGE // 4:
        yield "\n".join(lines)


def _first(documents: Iterator[Document], size: int) -> Iterator[Document]:
    taken: Counter[str] = Counter()
    for document in documents:
        if taken.total() >= size:
            return
        if taken[document.source] < size * SHARE:
            taken[document.source] += len(document.content.encode())
            yield document

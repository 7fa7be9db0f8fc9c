"""What a trained tokenizer is made of: the folder it is kept in and the report beside it."""

from __future__ import annotations

import json
import platform
import unicodedata
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tokenizers

from ...models.checkpoint.kept import TOKENIZER, TOKENIZER_CONFIG
from ...models.codec import END_OF_TEXT
from ...models.families import ChatFormat
from .curriculum import Plan, Trained, token_bytes
from .patterns import letters
from .sources import Sample

REPORT = "tokenizer_report.json"


def save(folder: Path, trained: Trained, sample: Sample, plan: Plan, chat: ChatFormat | None) -> dict[str, Any]:
    """Write tokenizer.json, tokenizer_config.json (for transformers and vLLM) and the report, which is returned.

    The two tokenizer files are the same bytes for the same sample and plan; the report holds times besides.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = report(trained, sample, plan)
    (folder / TOKENIZER).write_text(trained.tokenizer.to_str(pretty=True), encoding="utf-8")
    (folder / TOKENIZER_CONFIG).write_text(_json(settings(chat)), encoding="utf-8")
    (folder / REPORT).write_text(_json(found), encoding="utf-8")
    return found


def settings(chat: ChatFormat | None) -> dict[str, Any]:
    """tokenizer_config.json."""
    from ...models.saving import chat_template

    made: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
                            **dict.fromkeys(("bos_token", "eos_token", "pad_token"), END_OF_TEXT)}
    return {**made, "chat_template": chat_template(chat)} if chat else made


def report(trained: Trained, sample: Sample, plan: Plan) -> dict[str, Any]:
    """Vocabulary, text by source, stages with their times, tokens by what they hold, and tokens that are never used."""
    tokenizer, uses = trained.tokenizer, trained.uses
    special = set(tokenizer.get_added_tokens_decoder())
    kinds = dict.fromkeys(KINDS, 0)
    unused: list[str] = []
    for index, token in enumerate(token_bytes(tokenizer.get_vocab(), letters())):
        what = "special" if index in special else kind(token)
        kinds[what] += 1
        if not uses[index] and what not in ("special", "part of a character"):
            unused.append(token.decode())
    size, drawn = sum(uses), sum(source.drawn for source in sample.sources)
    return {
        "vocab": tokenizer.get_vocab_size(), "asked": plan.vocab, "plan": asdict(plan),
        "sources": [asdict(source) for source in sample.sources],
        "sample_bytes": drawn, "sample_tokens": size, "bytes_per_token": round(drawn / size, 4),
        "stages": [asdict(stage) for stage in trained.stages],
        "seconds": round(sum(stage.seconds for stage in trained.stages), 1),
        "tokens_by_kind": kinds, "unused": len(unused), "unused_tokens": unused[:100],
        "tokenizers": tokenizers.__version__, "python": platform.python_version(),
    }


KINDS = ("special", "part of a character", "superword", "hangul", "latin", "han", "other letters", "digits", "symbols",
         "mixed")
_SCRIPTS = {"HANGUL": "hangul", "LATIN": "latin", "CJK": "han"}


def kind(token: bytes) -> str:
    """What a token holds: one of KINDS but "special"; a superword has words on both sides of a space."""
    try:
        text = token.decode()
    except UnicodeDecodeError:
        return "part of a character"
    if len(text.split()) > 1:
        return "superword"
    found = Counter(_kind(letter) for letter in text if not letter.isspace())
    return "symbols" if not found else next(iter(found)) if len(found) == 1 else "mixed"


def _kind(letter: str) -> str:
    if unicodedata.category(letter) == "Nd":
        return "digits"
    if unicodedata.category(letter)[0] not in "LM":
        return "symbols"
    return _SCRIPTS.get(unicodedata.name(letter, "").split(" ")[0], "other letters")


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"

"""The small files beside published weights: tokenizer, generation settings, licence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

from tokenizers import Tokenizer

from ...errors import DokjaError

CONFIG, GENERATION, TOKENIZER, TOKENIZER_CONFIG = ("config.json", "generation_config.json", "tokenizer.json",
                                                   "tokenizer_config.json")
# Python files are code that config.json's auto_map may name; they are carried along and never run here.
_KEPT = (CONFIG, GENERATION, "tokenizer*.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
         "chat_template.*", "vocab.json", "merges.txt", "LICENSE*", "NOTICE*", "*.py")


def kept_files(folder: Path) -> dict[str, bytes]:
    """Content of a folder's small files, by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())
            if path.is_file() and any(fnmatch(path.name, pattern) for pattern in _KEPT)}


def read_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json; a broken one raises DokjaError."""
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise DokjaError(f"{path} is not a readable tokenizer.json ({str(error).partition(chr(10))[0]})") from error


def stop_tokens(files: Mapping[str, bytes]) -> tuple[int, ...]:
    """`eos_token_id` of generation_config.json, else of config.json."""
    for name in (GENERATION, CONFIG):
        try:
            found = json.loads(files.get(name, b"{}")).get("eos_token_id")
        except (ValueError, AttributeError) as error:
            raise DokjaError(f"{name} is no JSON table: {error}") from error
        if isinstance(found, int):
            return (found,)
        if isinstance(found, list) and all(isinstance(one, int) for one in found):
            return tuple(found)
    return ()

"""Tokenizers in GGUF metadata.

Keys: llama.cpp's `tokenizer.ggml.*`; `tokenizer.huggingface.json` holds a tokenizer.json as it is.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # tokenizer.ggml.token_type
HUGGING_FACE = "tokenizer.huggingface.json"

# The word patterns that llama.cpp knows by a name (`tokenizer.ggml.pre`), as tokenizer.json writes them.
_LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
           r"|\s+(?!\S)|\s+")
_PATTERNS = {"llama-bpe": _LLAMA3, "qwen2": _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")}
_GPT2 = "gpt-2"  # what ByteLevel splits by itself


def read_tokenizer(data: Mapping[str, Any]) -> Tokenizer | None:
    """The tokenizer of a file, or None where its kind is none that is read (the weights serve without)."""
    if HUGGING_FACE in data:
        return Tokenizer.from_str(data[HUGGING_FACE])
    kind, tokens = data.get("tokenizer.ggml.model"), data.get("tokenizer.ggml.tokens")
    if tokens is None:
        return None
    types = data.get("tokenizer.ggml.token_type") or [NORMAL] * len(tokens)
    if kind == "llama" and "tokenizer.ggml.scores" in data:
        tokenizer = _sentencepiece(tokens, data["tokenizer.ggml.scores"], data)
    elif kind == "gpt2" and data.get("tokenizer.ggml.pre") in (*_PATTERNS, _GPT2):
        tokenizer = _byte_level(tokens, data["tokenizer.ggml.merges"], data["tokenizer.ggml.pre"])
    else:
        return None
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False)
                                  for token, kind in zip(tokens, types, strict=True) if kind in (CONTROL, UNKNOWN)])
    tokenizer.add_tokens([AddedToken(token, normalized=False)
                          for token, kind in zip(tokens, types, strict=True) if kind == USER_DEFINED])
    if data.get("tokenizer.ggml.add_bos_token") and (bos := data.get("tokenizer.ggml.bos_token_id")) is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[tokens[bos], "$A"], pair=[tokens[bos], "$A", tokens[bos], "$B"],
            special_tokens=[(tokens[bos], bos)])
    return tokenizer


def _byte_level(tokens: Sequence[str], merges: Sequence[str], pre: str) -> Tokenizer:
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs,  # type: ignore[arg-type]
                                     ignore_merges=pre == "llama-bpe"))
    if pre == _GPT2:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(_PATTERNS[pre]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(tokens: Sequence[str], scores: Sequence[float], data: Mapping[str, Any]) -> Tokenizer:
    """SentencePiece's BPE: of all neighbours, those are joined first whose joint piece scores highest."""
    index = {token: i for i, token in enumerate(tokens)}
    ranked = sorted(range(len(tokens)), key=lambda i: (-scores[i], i))
    merges = [(token[:at], token[at:]) for i in ranked for token in (tokens[i],)
              for at in range(1, len(token)) if token[:at] in index and token[at:] in index]
    unknown = data.get("tokenizer.ggml.unknown_token_id")
    tokenizer = Tokenizer(models.BPE(index, merges, unk_token=None if unknown is None else tokens[unknown],
                                     fuse_unk=True, byte_fallback="<0x00>" in index))
    steps: list[Any] = [normalizers.Prepend("▁")] if data.get("tokenizer.ggml.add_space_prefix", True) else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    ends: list[Any] = [decoders.Strip(" ", 1, 0)] if steps else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *ends])
    return tokenizer


def tokenizer_metadata(tokenizer: Tokenizer, vocab: int, stop: Sequence[int]) -> dict[str, Any]:
    """The metadata of a byte-level BPE tokenizer, and the whole of it as JSON.

    vocab: rows of the embedding; those without a token get a placeholder. A word pattern that llama.cpp has no name
    for is warned of: it splits text by GPT-2's then.
    """
    whole = json.loads(tokenizer.to_str())
    out: dict[str, Any] = {HUGGING_FACE: tokenizer.to_str()}
    if whole["model"]["type"] != "BPE" or "ByteLevel" not in json.dumps(whole["pre_tokenizer"]):
        warnings.warn("the tokenizer is no byte-level BPE: it is written as tokenizer.huggingface.json only, which "
                      "llama.cpp does not read", stacklevel=2)
        return {**out, "tokenizer.ggml.model": "none"}
    added = {one["id"]: one for one in whole["added_tokens"]}
    names = {i: token for token, i in tokenizer.get_vocab(with_added_tokens=True).items()}
    tokens = [names.get(i, f"[PAD{i}]") for i in range(vocab)]
    types = [(CONTROL if added[i]["special"] else USER_DEFINED) if i in added else NORMAL if i in names else UNUSED
             for i in range(vocab)]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in whole["model"]["merges"]]
    out |= {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": _pre(whole["pre_tokenizer"]),
            "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": merges,
            "tokenizer.ggml.add_bos_token": False}
    if stop:
        out["tokenizer.ggml.eos_token_id"] = stop[0]
    return out


def _pre(pre_tokenizer: Mapping[str, Any]) -> str:
    steps = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    patterns = [step["pattern"].get("Regex") for step in steps if step["type"] == "Split"]
    for name, pattern in _PATTERNS.items():
        if patterns == [pattern]:
            return name
    if patterns or not steps[-1].get("use_regex", True):
        warnings.warn("llama.cpp has no name for this tokenizer's word pattern and will split text by GPT-2's: the "
                      "same token ids give the same tokens, the same text may give other ids", stacklevel=3)
    return _GPT2

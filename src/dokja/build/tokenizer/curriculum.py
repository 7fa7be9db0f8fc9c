"""Byte-level BPE by a curriculum of boundaries: merges inside morphemes, inside words, then across spaces.

The first stage is the tokenizers library's trainer. Each later stage lifts a boundary and goes on with the merges that
are there (SuperBPE: Liu et al. 2025, arXiv 2503.13423; its second stage lifts white space). Before a stage counts
pairs, text is encoded by the very tokenizer that the stages before it made, under the boundaries of the new stage, and
new merges rank after all old ones. So what a stage counts is what the finished tokenizer does, and every stage leaves
plain BPE with a regular expression before it, which any reader of tokenizer.json can run.

Morphemes need an analyser, which no reader of tokenizer.json has. They bound only the first stage: its merges are the
ones of highest rank, so a finished tokenizer makes them first and tends to cut where morphemes meet, without knowing
where that is.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from ...errors import DokjaError
from ...models.codec import END_OF_TEXT
from ...models.families import ChatFormat
from .merges import GAP, Ints, flatten, go_on
from .morphemes import MARK, Morphemes
from .patterns import Patterns, byte_decoder, byte_level, cutter, letters
from .plain import role_words
from .sources import Sample

LEAST = 4  # how often a pair must be met to become a token
_LINE = re.compile(r".*?[\r\n]+(?=\S)|.+", re.DOTALL)  # no pattern reaches from a line end to what follows it
_BATCH = 20_000


@dataclass(frozen=True)
class Plan:
    """What to train. superwords, morphemes: the share of `vocab` that is learnt across spaces, and inside morphemes
    before words; longest: words in a token, at most; nfc: compose Hangul when text is encoded too (then decoding gives
    the composed text; without it every text comes back as it was).
    """

    vocab: int
    superwords: float = 0.25
    morphemes: float = 0.0
    longest: int = 4
    patterns: Patterns = field(default_factory=Patterns)
    nfc: bool = False

    def __post_init__(self) -> None:
        for name in ("superwords", "morphemes"):
            if not 0 <= getattr(self, name) < 1:
                raise DokjaError(f"--{name} is a share of the vocabulary, from 0 to below 1, not {getattr(self, name)}")
        if self.superwords + self.morphemes > 1:
            raise DokjaError("--superwords and --morphemes take more than the whole vocabulary; lower one of them")
        if self.longest < 1:
            raise DokjaError(f"--longest counts the words in a token and is at least 1, not {self.longest}")


@dataclass(frozen=True)
class Stage:
    """name; tokens at its end; seconds; positions: how many tokens it began with, each distinct piece counted once."""

    name: str
    tokens: int
    seconds: float
    positions: int = 0


@dataclass(frozen=True)
class Trained:
    """A tokenizer and how it came about. uses: of each id, how often the sample has it, once it is all encoded."""

    tokenizer: Tokenizer
    stages: list[Stage]
    uses: list[int]


def train(sample: Sample, plan: Plan, chat: ChatFormat | None = None,
          told: Callable[[Stage], None] = lambda stage: None, *, words: Tokenizer | None = None) -> Trained:
    """A tokenizer of at most `plan.vocab` tokens: special tokens, 256 bytes and merges, the same for the same sample.

    chat: its markers become special tokens, after the end of text. told: called after each stage. words: a larger
    tokenizer of words of the same sample, markers and patterns, whose first merges then are the first stage.
    """
    special = [END_OF_TEXT, *(chat.special if chat else ())]
    if plan.vocab < 256 + len(special) + 1:
        raise DokjaError(f"--vocab {plan.vocab} is too small: {256 + len(special)} tokens are the bytes and markers")
    stages: list[Stage] = []

    def ended(name: str, tokenizer: Tokenizer, begun: float, positions: int = 0) -> None:
        stages.append(Stage(name, tokenizer.get_vocab_size(), round(time.perf_counter() - begun, 1), positions))
        told(stages[-1])

    begun = time.perf_counter()
    inside = _share(plan, 1 - plan.superwords, special)
    role = role_words(chat) if chat else []
    pattern = plan.patterns.words
    if plan.morphemes:
        morphemes = Morphemes(sample)
        first = _share(plan, plan.morphemes, special)
        marked: Iterator[str] = map(morphemes.mark, sample)
        tokenizer = _first(chain(marked, role), first, special, [pre_tokenizers.Split(Regex(MARK), "removed"),
                                                                cutter(pattern)])
        ended("morphemes", tokenizer, begun)
        begun = time.perf_counter()
        cut = cutter(pattern)
        pieces = count(sample, lambda line: [piece for piece, _ in cut.pre_tokenize_str(line)])
        tokenizer, ids, _ = _next(tokenizer, pieces, pattern, inside, 1)
        ended("words", tokenizer, begun, len(ids))
    else:
        texts = chain(sample, role)
        tokenizer = _shorter(words, inside) if words else _first(texts, inside, special, [cutter(pattern)])
        ended("words", tokenizer, begun)
    begun = time.perf_counter()
    if plan.superwords:
        pieces = count(sample, re.compile(plan.patterns.pieces).findall)
        tokenizer, ids, weights = _next(tokenizer, pieces, plan.patterns.pieces, plan.vocab, plan.longest)
        ended("superwords", tokenizer, begun, len(ids))
    else:
        ids, weights = _laid_out(tokenizer, count(sample, lambda line: [line]))
    if plan.nfc:
        tokenizer.normalizer = normalizers.NFC()
    kept = ids != GAP
    uses = np.bincount(ids[kept], weights=weights[kept], minlength=tokenizer.get_vocab_size()).astype(np.int64)
    return Trained(tokenizer, stages, uses.tolist())


def _share(plan: Plan, share: float, special: list[str]) -> int:
    return max(256 + len(special), round(plan.vocab * share))


def _first(texts: Iterable[str], vocab: int, special: list[str], cuts: list[pre_tokenizers.PreTokenizer]) -> Tokenizer:
    """The first stage, by the library."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = byte_level(*cuts)
    tokenizer.decoder = byte_decoder()
    trainer = trainers.BpeTrainer(vocab_size=vocab, min_frequency=LEAST, special_tokens=special, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _shorter(tokenizer: Tokenizer, vocab: int) -> Tokenizer:
    """The first `vocab` tokens and the merges that make them: what training had made by then."""
    state: dict[str, Any] = json.loads(tokenizer.to_str())
    model = state["model"]
    learnt = max(0, len(model["vocab"]) - vocab)
    model["vocab"] = {token: index for token, index in model["vocab"].items() if index < vocab}
    model["merges"] = model["merges"][:len(model["merges"]) - learnt]
    return Tokenizer.from_str(json.dumps(state))


def _next(tokenizer: Tokenizer, pieces: Counter[str], pattern: str, vocab: int, longest: int,
          ) -> tuple[Tokenizer, Ints, Ints]:
    """One more stage under the boundaries of `pattern`, which cut the pieces; the pieces encoded, and their weights."""
    tokenizer.pre_tokenizer = byte_level(cutter(pattern))
    ids, weights = _laid_out(tokenizer, pieces)
    pieces.clear()
    state: dict[str, Any] = json.loads(tokenizer.to_str())
    spelling = letters()
    tokens = token_bytes(state["model"]["vocab"], spelling)

    def fit(left: bytes, right: bytes) -> bool:
        """Whether the two make whole characters, in few enough words."""
        try:
            return len((left + right).decode().split()) <= longest
        except UnicodeDecodeError:
            return False

    old = len(tokens)
    merges = go_on(ids, weights, tokens, vocab, least=LEAST, fit=fit)
    spelled = ["".join(spelling[byte] for byte in token) for token in tokens[old:]]
    state["model"]["vocab"] |= {token: old + i for i, token in enumerate(spelled)}
    names = sorted(state["model"]["vocab"], key=state["model"]["vocab"].__getitem__)
    state["model"]["merges"] += [[names[left], names[right]] for left, right in merges]
    return Tokenizer.from_str(json.dumps(state)), ids, weights


def count(sample: Sample, cut: Callable[[str], list[str]]) -> Counter[str]:
    """How often each piece is met that `cut` makes of lines; lines are cut once however often they are repeated."""
    lines: Counter[str] = Counter()
    for text, times in sample.texts:
        for line in _LINE.findall(text):
            lines[line] += times
    pieces: Counter[str] = Counter()
    for line, times in lines.items():
        for piece in cut(line):
            pieces[piece] += times
    return pieces


def _laid_out(tokenizer: Tokenizer, pieces: Counter[str]) -> tuple[Ints, Ints]:
    """The pieces as the tokenizer encodes them, and how often each position counts."""
    tokenizer.encode_special_tokens = True  # a marker in the text is text
    laid = flatten(list(_encoded(tokenizer, list(pieces))), list(pieces.values()))
    tokenizer.encode_special_tokens = False
    return laid


def _encoded(tokenizer: Tokenizer, pieces: list[str]) -> Iterator[Ints]:
    for at in range(0, len(pieces), _BATCH):
        for encoding in tokenizer.encode_batch_fast(pieces[at:at + _BATCH], add_special_tokens=False):
            yield np.array(encoding.ids, np.int32)


def token_bytes(vocab: dict[str, int], spelling: dict[int, str]) -> list[bytes]:
    """Bytes of every token by its id; a special token's are those of its name."""
    byte = {letter: value for value, letter in spelling.items()}
    tokens = [b""] * len(vocab)
    for token, index in vocab.items():
        tokens[index] = bytes(byte[letter] for letter in token) if set(token) <= byte.keys() else token.encode()
    return tokens

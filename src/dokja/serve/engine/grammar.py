"""Structured output: which tokens keep an answer on the way to a match of its grammar (llguidance).

A grammar is compiled once, when a request that has it is submitted, and then gives one mask a step. The end of the
answer is no token of the library's vocabulary but one behind it, so that whatever ids end a request (its `stop`) are
allowed exactly where the grammar may end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from tokenizers import Tokenizer

from ...errors import DokjaError
from ..errors import BadRequestError
from .scan import Mask
from .types import Grammar

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

LARGEST = 65_536  # characters of a grammar
KEPT = 64  # compiled grammars
CROSSED = 8  # patterns that may have to hold of one string: the library's time to compile doubles with each
# A step's mask must not hold up the other requests: 200,000 units of lexer fuel are about 15 ms, 50,000 items 3 ms.
LIMITS = LLParserLimits(initial_lexer_fuel=1_000_000, step_lexer_fuel=200_000, step_max_items=50_000,
                        max_lexer_states=50_000, max_grammar_size=100_000, verbose_errors=False)
# Between two tokens of JSON: a small model would otherwise write white space for ever. lenient: a keyword that the
# library does not enforce is an error, also where the schema asks to be read leniently.
JSON: JsonCompileOptions = {"whitespace_pattern": r"[\x20\x0A\x0D\x09]{0,16}", "lenient": False}


class Grammars:
    """Compiles grammars for one model. tokenizer: byte-level or byte-fallback BPE; vocab: of the model, which may be
    larger. DokjaError where the library cannot read the tokenizer."""

    def __init__(self, tokenizer: Tokenizer, vocab: int) -> None:
        own = Tokenizer.from_str(tokenizer.to_str())
        end = "<|end of the grammar|>"
        own.add_special_tokens([end])
        self.end, self.vocab = own.get_vocab_size() - 1, vocab
        assert own.token_to_id(end) == self.end
        try:
            self._tokenizer = LLTokenizer(own.to_str(), eos_token=self.end)
        except ValueError as error:
            raise DokjaError(f"structured output cannot use this model's tokenizer ({error}): it needs a byte-level or "
                             "byte-fallback BPE") from error
        self._compiled = lru_cache(maxsize=KEPT)(self._compile)

    def matcher(self, grammar: Grammar) -> Matcher:
        """A matcher at the start of an answer; BadRequestError for a grammar that does not compile."""
        return Matcher(self._compiled(grammar).deep_copy(), self.end, self.vocab)

    def _compile(self, grammar: Grammar) -> LLMatcher:
        if len(grammar.text) > LARGEST:
            raise _bad(grammar, f"it has {len(grammar.text):,} characters, {LARGEST:,} are allowed")
        compiled = LLMatcher(self._tokenizer, _source(grammar), log_level=0, limits=LIMITS)
        first = np.unpackbits(np.frombuffer(compiled.compute_bitmask(), np.uint8), bitorder="little")
        if compiled.is_error():
            raise _bad(grammar, _sentence(compiled.get_error()))
        if not first[: self.end].any():
            raise _bad(grammar, "only the empty answer matches it")
        return compiled


class Matcher:
    """One answer on its way through a grammar. `accept` every token that was chosen by a mask, until `done`.

    error: set once the grammar takes more work than the limits of this module allow; it cannot be followed then.
    """

    def __init__(self, matcher: LLMatcher, end: int, vocab: int) -> None:
        self._matcher, self._end, self._vocab = matcher, end, vocab

    @property
    def error(self) -> BadRequestError | None:
        if not self._matcher.is_error():
            return None
        return BadRequestError(f"the grammar cannot be followed any further ({_sentence(self._matcher.get_error())}): "
                               "make it simpler", param="response_format", code="invalid_grammar")

    @property
    def done(self) -> bool:
        """Whether nothing may follow: the answer is over without an end token."""
        return bool(self._matcher.is_stopped())

    def masks(self, drafts: Sequence[int], stop: Sequence[int]) -> list[Mask]:
        """Ids allowed at the next place and behind each of the drafts, one bit an id, as `scan.Mask`.

        There are fewer masks than drafts + 1 where the grammar forbids a draft or ends: what is behind cannot be
        reached. The ids of `stop` are allowed where the answer may end, nowhere else.
        """
        found = [self._mask(stop)]
        taken = 0
        for draft in drafts[: self.allowed(drafts)]:
            self._matcher.consume_token(draft)
            taken += 1
            if self.done:
                break
            found.append(self._mask(stop))
        if taken:
            self._matcher.rollback(taken)
        return found

    def accept(self, token: int) -> None:
        """The answer goes on with a token that the mask allowed and that does not end it."""
        self._matcher.consume_token(token)

    def allowed(self, drafts: Sequence[int]) -> int:
        """How many of the drafts the grammar allows, one after another."""
        return self._matcher.validate_tokens(list(drafts))

    def forced(self) -> list[int]:
        """The tokens that write the only text which may come next, none where there is a choice: good drafts."""
        return [token for token in self._matcher.compute_ff_tokens() if token != self._end]

    def _mask(self, stop: Sequence[int]) -> Mask:
        mask = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        out = np.zeros(-(-self._vocab // 8), np.uint8)
        out[: min(len(out), len(mask))] = mask[: len(out)]
        for token in (self._end, *stop):
            if token < self._vocab:
                out[token // 8] &= ~np.uint8(1 << token % 8)
        if self._matcher.is_accepting():
            for token in stop:
                out[token // 8] |= np.uint8(1 << token % 8)
        return out


def _source(grammar: Grammar) -> str:
    """The grammar in the library's own language; BadRequestError for text that is none of its kind."""
    if grammar.kind == "regex":
        return LLMatcher.grammar_from_regex(grammar.text)
    if grammar.kind == "json":
        return LLMatcher.grammar_from_json_schema({"type": "object"}, overrides=JSON)
    try:
        given = json.loads(grammar.text)
    except ValueError as error:
        raise _bad(grammar, f"it is no JSON ({error})") from error
    if grammar.kind == "choice":
        if not (isinstance(given, list) and given and all(isinstance(one, str) and one for one in given)):
            raise _bad(grammar, "it must be a list of strings that are not empty")
        words = " | ".join(json.dumps(one, ensure_ascii=False) for one in given)
        return LLMatcher.grammar_from_lark(f"start: WORDS\nWORDS: {words}")
    if not isinstance(given, dict):
        raise _bad(grammar, "a schema is a JSON object")
    try:
        if (crossed := _crossed(given, given)) > CROSSED:
            raise _bad(grammar, f"up to {crossed} patterns and formats may have to hold of one string, and "
                       f"{CROSSED} can be checked")
        return LLMatcher.grammar_from_json_schema(given, overrides=JSON)
    except RecursionError as error:
        raise _bad(grammar, "it is nested too deeply") from error
    except ValueError as error:
        raise _bad(grammar, _sentence(str(error))) from error


def _crossed(node: Any, root: Any) -> int:
    """The most patterns and formats in one part of a schema where several of its parts apply to one value."""
    if isinstance(node, list):
        return max((_crossed(one, root) for one in node), default=0)
    if not isinstance(node, dict):
        return 0
    joined = sum(key in node for key in ("$ref", "anyOf", "oneOf", "pattern", "properties")) > 1
    if joined or "allOf" in node or "patternProperties" in node:
        return _patterns(node, root, set())
    return max((_crossed(value, root) for value in node.values()), default=0)


def _patterns(node: Any, root: Any, seen: set[str]) -> int:
    """How many patterns and formats a part of a schema has, each reference followed once."""
    if isinstance(node, list):
        return sum(_patterns(one, root, seen) for one in node)
    if not isinstance(node, dict):
        return 0
    count = sum(isinstance(node.get(key), str) for key in ("pattern", "format"))
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/") and reference not in seen:
        seen.add(reference)
        target: Any = root
        for key in reference[2:].split("/"):
            target = target.get(key.replace("~1", "/").replace("~0", "~")) if isinstance(target, dict) else None
        count += _patterns(target, root, seen)
    return count + sum(_patterns(value, root, seen) for value in node.values())


def _bad(grammar: Grammar, why: str) -> BadRequestError:
    names = {"json_schema": "the JSON schema", "regex": "the regular expression", "choice": "the choice",
             "json": "the JSON format"}
    return BadRequestError(f"{names[grammar.kind]} cannot be used: {why}", param="response_format",
                           code="invalid_grammar")


def _sentence(message: str) -> str:
    """What a message of the library says, without the drawing under it."""
    lines = message.strip().splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["unknown"])[0].strip().rstrip(".")

"""Structured output from models that know nothing: only the grammar can make their answers valid."""

from __future__ import annotations

import json
import re

import jsonschema
import numpy as np
import pytest
import torch
from pocket_models import tokenizer

from dokja.serve.engine.grammar import Grammars, Matcher
from dokja.serve.engine.sampler import Logits, Row, sample
from dokja.serve.engine.types import Grammar, SamplingParams
from dokja.serve.errors import BadRequestError

TOKENIZER = tokenizer(("<s>", "<e>"))
VOCAB = TOKENIZER.get_vocab_size() + 7  # a model's vocabulary is often padded
STOP = (TOKENIZER.token_to_id("<|endoftext|>"), TOKENIZER.token_to_id("<e>"))

SCHEMAS = [
    {"type": "object", "properties": {"이름": {"type": "string", "maxLength": 8}, "나이": {"type": "integer",
     "minimum": 0, "maximum": 150}}, "required": ["이름", "나이"], "additionalProperties": False},
    {"type": "array", "items": {"enum": ["가", "나", 3, None]}, "minItems": 1, "maxItems": 4},
    {"anyOf": [{"type": "boolean"}, {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"],
                                     "additionalProperties": False}]},
    {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"next": {"anyOf": [
        {"type": "null"}, {"$ref": "#/$defs/node"}]}}, "required": ["next"], "additionalProperties": False}}},
    {"type": "string", "pattern": "^[가-힣]{2,4}$"},
    {"type": "string", "format": "date"},
]


@pytest.fixture(scope="module")
def grammars() -> Grammars:
    return Grammars(TOKENIZER, VOCAB)


def write(matcher: Matcher, seed: int, most: int = 400, forced: bool = False) -> str | None:
    """An answer by random logits at temperature 1.5; None when it does not end in time."""
    its = SamplingParams(temperature=1.5, seed=seed, stop=STOP)
    noise = torch.Generator().manual_seed(seed)
    ids: list[int] = []
    while len(ids) < most:
        drafts = matcher.forced() if forced else []
        masks = matcher.masks(drafts, STOP)
        for i, mask in enumerate(masks):
            row = Row(its, len(ids), mask=mask)
            token = sample(Logits(torch.randn(1, VOCAB, generator=noise) * 2), [row])[0].token
            if token in STOP:
                return TOKENIZER.decode(ids)
            ids.append(token)
            matcher.accept(token)
            if matcher.error is not None:
                raise matcher.error
            if matcher.done:
                return TOKENIZER.decode(ids)
            if i < len(drafts) and drafts[i] != token:
                break
    return None


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("forced", [False, True])
def test_every_answer_is_valid(grammars: Grammars, schema: dict[str, object], forced: bool) -> None:
    ended = 0
    for seed in range(6):
        text = write(grammars.matcher(Grammar("json_schema", json.dumps(schema))), seed, forced=forced)
        if text is not None:
            ended += 1
            jsonschema.validate(json.loads(text), schema, format_checker=jsonschema.FormatChecker())
    assert ended >= 3


def test_any_json_object(grammars: Grammars) -> None:
    texts = [write(grammars.matcher(Grammar("json", "")), seed, 300) for seed in range(8)]
    whole = [json.loads(text) for text in texts if text is not None]
    assert whole
    assert all(isinstance(one, dict) for one in whole)


@pytest.mark.parametrize("pattern", ["[0-9]{3}-[0-9]{4}", "(예|아니오)[.!]?", "[가-힣 ]{1,12}", "(ab|a)*c"])
def test_every_answer_matches_its_regular_expression(grammars: Grammars, pattern: str) -> None:
    for seed in range(10):
        text = write(grammars.matcher(Grammar("regex", pattern)), seed)
        assert text is not None
        assert re.fullmatch(pattern, text)


def test_every_answer_is_one_of_the_choices(grammars: Grammars) -> None:
    choices = ["예", "예스", 'a "b" \\ \n c', "아니오"]
    seen = {write(grammars.matcher(Grammar("choice", json.dumps(choices))), seed) for seed in range(60)}
    assert seen == set(choices)


def test_the_answer_ends_where_the_grammar_does_and_nowhere_else(grammars: Grammars) -> None:
    matcher = grammars.matcher(Grammar("choice", '["예", "예스"]'))
    ids = TOKENIZER.encode("예스").ids
    masks = matcher.masks(ids, STOP)
    allowed = [set(np.flatnonzero(np.unpackbits(mask, bitorder="little")).tolist()) for mask in masks]
    yes = len(TOKENIZER.encode("예").ids)
    assert len(allowed) == len(ids)  # behind the last draft the grammar is through
    assert [i for i, one in enumerate(allowed) if set(STOP) <= one] == [yes]
    assert all(set(STOP) <= one or not set(STOP) & one for one in allowed)
    assert max(max(one) for one in allowed) < TOKENIZER.get_vocab_size()
    assert not matcher.done
    for token in ids:
        matcher.accept(token)
    assert matcher.done


def test_looking_past_drafts_leaves_the_matcher_where_it_was(grammars: Grammars) -> None:
    matcher = grammars.matcher(Grammar("regex", "[0-9]+x"))
    first = matcher.masks([], STOP)
    digits = TOKENIZER.encode("12345").ids
    assert len(matcher.masks([*digits, *TOKENIZER.encode("가").ids, *digits], STOP)) == len(digits) + 1
    assert np.array_equal(first[0], matcher.masks([], STOP)[0])


def test_forced_tokens_write_what_must_come(grammars: Grammars) -> None:
    matcher = grammars.matcher(Grammar("regex", "대한민국은 [0-9]"))
    assert TOKENIZER.decode(matcher.forced()) == "대한민국은 "
    for token in TOKENIZER.encode("대한민국은 ").ids:
        matcher.accept(token)
    assert matcher.forced() == []


@pytest.mark.parametrize(("grammar", "says"), [
    (Grammar("json_schema", "{bad"), "no JSON"),
    (Grammar("json_schema", "[1]"), "a JSON object"),
    (Grammar("json_schema", '{"type": "foo"}'), "foo"),
    (Grammar("json_schema", '{"not": {"type": "string"}}'), "not"),
    (Grammar("json_schema", '{"not": {}, "x-guidance": {"lenient": true}}'), "not"),
    (Grammar("json_schema", '{"type": "integer", "minimum": 5, "maximum": 1}'), "minimum"),
    (Grammar("json_schema", '{"$ref": "http://example.org/schema"}'), "http"),
    (Grammar("json_schema", '{"$ref": "file:///etc/passwd"}'), "file"),
    (Grammar("json_schema", json.dumps({"description": "x" * 70_000})), "characters"),
    (Grammar("regex", "(unclosed"), "unclosed group"),
    (Grammar("regex", "(?=a)b"), "look"),
    (Grammar("regex", ""), "empty"),
    (Grammar("choice", '["a", ""]'), "empty"),
    (Grammar("choice", "[]"), "list"),
])
def test_what_does_not_compile_is_one_sentence(grammars: Grammars, grammar: Grammar, says: str) -> None:
    with pytest.raises(BadRequestError, match=says) as caught:
        grammars.matcher(grammar)
    assert "\n" not in str(caught.value)
    assert caught.value.code == "invalid_grammar"


@pytest.mark.parametrize("parts", [
    {"allOf": [{"type": "string", "pattern": f".*[ab].{{{i}}}c.*"} for i in range(40)]},
    {"allOf": [{"$ref": f"#/$defs/{i}"} for i in range(40)]},
], ids=["allOf", "$ref"])
def test_patterns_that_would_take_for_ever_to_join_are_refused(grammars: Grammars, parts: dict[str, object]) -> None:
    defs = {str(i): {"type": "string", "pattern": f".*[ab].{{{i}}}c.*"} for i in range(40)}
    schema = {"type": "array", "items": parts, "$defs": defs}
    with pytest.raises(BadRequestError, match="40 patterns"):
        grammars.matcher(Grammar("json_schema", json.dumps(schema)))


def test_a_grammar_that_takes_too_much_work_on_the_way_is_an_error(grammars: Grammars) -> None:
    wide = {f"k{i}{j}": {"type": "string", "pattern": f".*{j}.{{{i}}}"} for i in range(100) for j in range(10)}
    schema = {"anyOf": [{"type": "object", "properties": wide, "required": [name]} for name in list(wide)[:3]]}
    with pytest.raises(BadRequestError):
        write(grammars.matcher(Grammar("json_schema", json.dumps(schema))), 0)


def test_many_choices(grammars: Grammars) -> None:
    choices = [f"x{i}" for i in range(6000)]
    assert write(grammars.matcher(Grammar("choice", json.dumps(choices))), 0) in choices

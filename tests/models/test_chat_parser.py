"""The parser of what models write: any cut of the text gives the same parts, and none of it is lost."""

from __future__ import annotations

import json
import time
from itertools import groupby, pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dokja.models.chat import Content, Delta, Markup, Parsed, Reasoning, StreamParser, Syntax, ToolCall, parse
from dokja.models.chat.syntax import (
    DEEPSEEK_TOKENS,
    HARMONY,
    HCX_TURNS,
    PLAIN,
    PLAIN_HERMES,
    SOLAR_TOKENS,
    THINK_HERMES,
    THINK_KEY_VALUE,
    think,
)

SYNTAXES = {
    "plain": PLAIN, "hermes": PLAIN_HERMES, "think-hermes": THINK_HERMES,
    "thought": Syntax(think("<thought>", "</thought>")),
    "key-value": THINK_KEY_VALUE, "hcx-14b": HCX_TURNS, "solar": SOLAR_TOKENS, "deepseek": DEEPSEEK_TOKENS,
    "harmony": HARMONY,
}
NASTY = {"city": "서울 \"</tool_call>\"", "nested": {"a": [1, {"b": "}{]["}], "emoji": "🇰🇷"},
         "marks": "<tool_call>{<|tool_call:end|><|call|><|im_end|></arg_key><｜tool▁call▁end｜>\\", "none": None}


def call_json(name: str = "날씨", arguments: dict[str, object] = NASTY) -> str:
    return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


def call(name: str = "날씨", arguments: dict[str, object] = NASTY) -> ToolCall:
    return ToolCall(name, json.dumps(arguments, ensure_ascii=False))


def joined(deltas: list[Delta]) -> list[Delta]:
    """Neighbours of one kind as one."""
    out: list[Delta] = []
    for kind, group in groupby(deltas, key=type):
        same = list(group)
        out += same if kind is ToolCall else [kind("".join(delta.text for delta in same))]
    return out


def streamed(pieces: list[str], syntax: Syntax, in_reasoning: bool) -> list[Delta]:
    parser = StreamParser(syntax, in_reasoning=in_reasoning, markup=True)
    return joined([delta for piece in pieces for delta in parser.feed(piece)] + parser.close())


def whole(deltas: list[Delta]) -> str:
    return "".join(delta.source if isinstance(delta, ToolCall) else delta.text for delta in deltas)


# Texts of each family, as models write them.

ANSWERS = {
    "think-hermes": (f"<think>\n생각\n</think>\n\n볼게요.\n<tool_call>\n{call_json()}\n</tool_call>\n<tool_call>"
                     f"{call_json('b', {})}"
                     "</tool_call>", Parsed("생각", "볼게요.", (call(), call("b", {})))),
    "key-value": ("<think>\n생각\n</think>\n\n볼게요.\n<tool_call>날씨\n<arg_key>city</arg_key>\n<arg_value>서울 "
                  "</tool_call>"
                  "</arg_value>\n"
                  "<arg_key>days</arg_key>\n<arg_value>[1, 2]</arg_value>\n</tool_call>",
                  Parsed("생각", "볼게요.", (call(arguments={"city": "서울 </tool_call>", "days": [1, 2]}),))),
    "hcx-14b": ("/think\n생각<|im_end|>\n<|im_start|>assistant\n볼게요.<|im_end|>\n<|im_start|>assistant -> "
                "tool/function_call\n"
                f"[{call_json()}, {call_json('b', {})}]<|im_end|><|stop|>",
                Parsed("생각", "볼게요.", (call(), call("b", {})))),
    "solar": ("<|think|>생각<|end|><|begin|>assistant<|content|>볼게요.<|end|><|begin|>assistant<|tool_calls|>"
              f"<|tool_call:begin|>a1b2c3d4e5<|tool_call:name|>날씨<|tool_call:args|>"
              f"{call().arguments}<|tool_call:end|><|calls|>",
              Parsed("생각", "볼게요.", (ToolCall("날씨", call().arguments, "a1b2c3d4e5"),))),
    "deepseek": (f"<think>생각</think>볼게요.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>날씨<｜tool▁sep｜>"
                 f"{call().arguments}"
                 "<｜tool▁call▁end｜><｜tool▁call▁begin｜>b<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
                 "<｜end▁of▁sentence｜>",
                 Parsed("생각", "볼게요.", (call(), call("b", {})))),
    "harmony": ("<|channel|>analysis<|message|>생각<|end|><|start|>assistant<|channel|>commentary<|message|>"
                "볼게요.<|end|>"
                f"<|start|>assistant<|channel|>commentary to=functions.날씨 <|constrain|>json<|message|>"
                f"{call().arguments}<|call|>",
                Parsed("생각", "볼게요.", (call(),))),
    "hermes": (f"볼게요.\n<tool_call>{call_json()}</tool_call>", Parsed("", "볼게요.", (call(),))),
    "thought": ("<thought>\n생각\n</thought>\n\n답", Parsed("생각", "답")),
    "plain": ("<think>그대로</think>", Parsed("", "<think>그대로</think>")),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_reasoning_answer_and_calls_are_told_apart(name: str) -> None:
    text, expected = ANSWERS[name]
    assert parse(text, SYNTAXES[name]) == expected


@pytest.mark.parametrize("name", ANSWERS)
def test_one_character_at_a_time_gives_the_same(name: str) -> None:
    text, _ = ANSWERS[name]
    assert streamed(list(text), SYNTAXES[name], False) == streamed([text], SYNTAXES[name], False)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_cut_anywhere_is_accounted_for(name: str) -> None:
    text, _ = ANSWERS[name]
    for end in range(len(text)):
        for in_reasoning in (False, True):
            assert whole(streamed([text[:end]], SYNTAXES[name], in_reasoning)) == text[:end]


def texts(name: str) -> st.SearchStrategy[str]:
    """Garbage made of a family's own marks, whole answers, and pieces of JSON."""
    syntax = SYNTAXES[name]
    marks = [mark.text for mark in syntax.marks] + list(syntax.special)
    bits = [*marks, *(mark[:-1] for mark in marks), *(mark[1:] for mark in marks), "\n", "\n\n", " ", "{",
            "}", '"', "\\", "[",
            "]", ":", ",", "a", "1", "가", '{"name": "f", "arguments": {}}', '{"a": 1}', "f\n", ANSWERS[name][0]]
    return st.lists(st.sampled_from(bits) | st.text(max_size=3), max_size=30).map("".join)


@st.composite
def cut(draw: st.DrawFn) -> tuple[str, list[str]]:
    """(name of a syntax, a text for it in pieces)."""
    name = draw(st.sampled_from(sorted(SYNTAXES)))
    text = draw(texts(name))
    ends = sorted(draw(st.sets(st.integers(0, len(text)), max_size=12)) | {0, len(text)})
    return name, [text[start:end] for start, end in pairwise(ends)]


@given(cut(), st.booleans())
@settings(max_examples=600, deadline=None)
@example(("harmony", ["<|start|>assistant to=functions.f<|message|>{\"a\": \"<|ca", "ll|>\"}<|call|>x"]), False)
@example(("hcx-14b", ["/thi", "nk\n\n<|im_end|>", "\n<|im_start|>assistant", " -> tool/function_call\n[1"]), False)
def test_no_cut_changes_anything_and_no_text_is_lost(case: tuple[str, list[str]], in_reasoning: bool) -> None:
    name, pieces = case
    text = "".join(pieces)
    expected = streamed([text], SYNTAXES[name], in_reasoning)
    assert whole(expected) == text
    assert streamed(pieces, SYNTAXES[name], in_reasoning) == expected
    assert streamed(list(text), SYNTAXES[name], in_reasoning) == expected


@given(st.text(), st.sampled_from(sorted(SYNTAXES)))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read(text: str, name: str) -> None:
    parsed = parse(text, SYNTAXES[name])
    assert len(parsed.reasoning) + len(parsed.content) <= len(text)


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
                                               lambda inner: st.lists(inner, max_size=3)
                                               | st.dictionaries(st.text(), inner, max_size=3),
                                               max_leaves=8), max_size=4))
@settings(max_examples=100, deadline=None)
def test_any_arguments_come_through(arguments: dict[str, object]) -> None:
    written = json.dumps(arguments, ensure_ascii=False)
    bodies = {
        "think-hermes": f'<tool_call>{{"name": "f", "arguments": {written}}}</tool_call>',
        "hcx-14b": f' -> tool/function_call\n[{{"name": "f", "arguments": {written}}}]<|im_end|>',
        "solar": f"<|tool_call:begin|>x<|tool_call:name|>f<|tool_call:args|>{written}<|tool_call:end|>",
        "deepseek": f"<｜tool▁call▁begin｜>f<｜tool▁sep｜>{written}<｜tool▁call▁end｜>",
        "harmony": f" to=functions.f<|channel|>commentary json<|message|>{written}<|call|>",
    }
    for name, text in bodies.items():
        (found,) = parse(text, SYNTAXES[name]).tool_calls
        assert json.loads(found.arguments) == arguments
        found.arguments.encode()


# What is no call is content, character for character.

@pytest.mark.parametrize("text", [
    '<tool_call>{"name": "f", "arguments": {}}', "<tool_call>", "<tool_call></tool_call>", "<tool_call>"
                                                                                           "f(1)</tool_call>",
    '<tool_call>{"name": "f", "arguments": [1]}</tool_call>', '<tool_call>{"arguments": {}}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {"a": NaN}}</tool_call>', "<tool_call>{'name': 'f'}</tool_call>",
    '<tool_call>{"name": "f", "arguments": {"a": 1e999}}</tool_call>', '<tool_call>{"name": 1, "arguments": '
                                                                       '{}}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {"a": ' + "[" * 5000 + "]" * 5000 + "}}</tool_call>",
    '<tool_call>{"name": "f", "arguments": {"a": ' + "9" * 5000 + "}}</tool_call>", "a </tool_call> b",
])
def test_a_malformed_call_is_content(text: str) -> None:
    assert parse(text, THINK_HERMES) == Parsed("", text)


def test_after_a_malformed_call_the_next_is_read() -> None:
    text = '<tool_call>{"name": "x</tool_call> <tool_call>{"name": "f", "arguments": {}}</tool_call>'
    assert parse(text, THINK_HERMES) == Parsed("", '<tool_call>{"name": "x</tool_call> ', (call("f", {}),))


@pytest.mark.parametrize(("text", "arguments"), [
    ('{"name": "f", "parameters": {"a": 1}}', {"a": 1}), ('{"name": "f"}', {}),
    ('{"name": "f", "arguments": "{\\"a\\": 1}"}', {"a": 1}),
])
def test_other_ways_to_write_arguments(text: str, arguments: dict[str, object]) -> None:
    assert parse(f"<tool_call>{text}</tool_call>", THINK_HERMES).tool_calls == (call("f", arguments),)


def test_a_call_whose_end_of_turn_was_cut_off_counts() -> None:
    assert parse('<|channel|>commentary to=functions.f<|message|>{"a": 1}', HARMONY).tool_calls == (
        call("f", {"a": 1}),)
    assert parse(' -> tool/function_call\n[{"name": "f", "arguments": {}}]', HCX_TURNS).tool_calls == (call("f", {}),)


def test_a_lone_half_of_a_character_can_still_be_sent() -> None:
    (found,) = parse('<tool_call>{"name": "f", "arguments": {"a": "\\ud83d"}}</tool_call>', THINK_HERMES).tool_calls
    assert found.arguments == '{"a": "\\ud83d"}'


def test_the_schema_tells_a_string_from_a_number() -> None:
    text = ("<tool_call>f\n<arg_key>zip</arg_key>\n<arg_value>04524</arg_value>\n<arg_key>n</arg_key>\n<arg_value>5"
            "</arg_value></tool_call>")
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {
        "zip": {"type": "string"}, "n": {"type": "integer"}}}}}
    assert parse(text, THINK_KEY_VALUE, tools=[tool]).tool_calls == (call("f", {"zip": "04524", "n": 5}),)


def test_an_answer_may_speak_of_the_marks() -> None:
    assert parse("태그 <think>는 </think> 이렇게", THINK_HERMES).content == "태그 <think>는 </think> 이렇게"


def test_a_model_that_opens_again_what_the_prompt_opened() -> None:
    assert parse("<think>\n생각\n</think>\n\n답", THINK_HERMES, in_reasoning=True) == Parsed("생각", "답")


def test_text_comes_as_soon_as_it_is_certain() -> None:
    parser = StreamParser(THINK_HERMES, in_reasoning=True)
    assert parser.feed("생각 중") == [Reasoning("생각 중")]
    assert parser.feed("\n</th") == []
    assert parser.feed("ink>\n\n답은 <") == [Content("답은 ")]
    assert parser.feed("b>") == [Content("<b>")]
    assert parser.feed("\n") == []
    assert parser.feed("5") == [Content("\n5")]
    assert parser.feed('<tool_call>{"name": "f"}</tool_call>') == [ToolCall("f", "{}")]
    assert parser.close() == []


def test_markup_is_given_only_on_request() -> None:
    assert Markup("<think>") not in StreamParser(THINK_HERMES, in_reasoning=False).feed("<think>a")


def test_no_mark_contains_another() -> None:
    """The finder takes the first mark that matches, which is right only then."""
    for syntax in SYNTAXES.values():
        marks = {mark.text for mark in syntax.marks if not mark.at_start}
        assert not [(a, b) for a in marks for b in marks if a != b and a in b]
        first = {mark.text for mark in syntax.marks if mark.at_start}
        assert not [(a, b) for a in first for b in first if a != b and b.startswith(a)]


@pytest.mark.parametrize("name", ["think-hermes", "key-value", "solar", "harmony"])
@pytest.mark.parametrize("text", [
    "안녕 ", "<", "\n", "<tool_call>", '<tool_call>{"', '<tool_call>{"a": "</tool_call>',
    "<tool_call>f<arg_key>a</arg_key><arg_value></tool_call>", "<|tool_call:begin|>a<|tool_call:name|>"
                                                               "f<|tool_call:args|>{\"a\": \"",
    '<|start|>assistant to=functions.f<|message|>{"a": "',
])
def test_a_long_text_takes_time_in_proportion(name: str, text: str) -> None:
    """A megabyte in one piece; quadratic time would take minutes."""
    long = text * (1_000_000 // len(text))
    began = time.perf_counter()
    deltas = streamed([long], SYNTAXES[name], False)
    assert time.perf_counter() - began < 30
    assert whole(deltas) == long


def test_a_megabyte_in_small_pieces() -> None:
    long = '<tool_call>{"name": "f", "arguments": {"a": "' + "가나다" * 333_000 + '"}}</tool_call>'
    pieces = [long[at:at + 16] for at in range(0, len(long), 16)]
    began = time.perf_counter()
    deltas = streamed(pieces, THINK_HERMES, False)
    assert time.perf_counter() - began < 30
    assert [type(delta) for delta in deltas] == [ToolCall]

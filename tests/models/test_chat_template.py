"""Chat templates: what each family reads, the reasoning switch, the sandbox."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from dokja.errors import DokjaError
from dokja.models.chat import ChatTemplate, parse, render, render_pieces
from dokja.models.chat.messages import declared, even
from dokja.models.chat.sandbox import checked, rendered
from dokja.models.families import FAMILIES

TEMPLATES = {template.name: template for family in FAMILIES.values() for release in family.releases
             if (template := family.chat_template(release))}
NOW = datetime(2026, 1, 2)
SYSTEM = {"role": "system", "content": "짧게."}
TURNS: list[dict[str, Any]] = [
    {"role": "user", "content": "하나?"}, {"role": "assistant", "content": "1", "reasoning_content": "센다"},
    {"role": "user", "content": "둘?"},
]
TOOL = {"type": "function", "function": {"name": "날씨", "description": "오늘의 날씨", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "도시 <이름>"}}, "required": ["city"]}}}
BARE = ('{"name": "날씨", "description": "오늘의 날씨", "parameters": {"type": "object", "properties": {"city": '
        '{"type": '
        '"string", '
        '"description": "도시 <이름>"}}, "required": ["city"]}}')
DECLARED = f'{{"type": "function", "function": {BARE}}}'
CALLS: list[dict[str, Any]] = [
    {"role": "user", "content": "서울과 부산은?"},
    {"role": "assistant", "content": "볼게요.", "reasoning_content": "둘 다", "tool_calls": [
        {"id": "a1b2c3d4e5", "type": "function", "function": {"name": "날씨", "arguments": '{"city": "서울"}'}},
        {"id": "f6g7h8i9j0", "type": "function", "function": {
            "name": "날씨", "arguments": {"city": "부산", "days": [1]}}}]},
    {"role": "tool", "tool_call_id": "a1b2c3d4e5", "content": "맑음"},
    {"role": "tool", "tool_call_id": "f6g7h8i9j0", "content": "비"},
]

HARMONY_SYSTEM = ("<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\nKnowledge "
                  "cutoff: "
                  "2024-06\nCurrent date: 2026-01-02\n\nReasoning: {}\n\n# Valid channels: analysis, commentary, "
                  "final. "
                  "Channel must be included for every message.{}<|end|>")
HEAD = "<|start_header_id|>{}<|end_header_id|>\n\n"

# A conversation of several turns with a system message, and what it ends with for each value of the switch.
CONVERSATIONS = {
    "k-exaone": ("<|system|>\n짧게.<|endofturn|>\n<|user|>\n하나?<|endofturn|>\n<|assistant|>\n<think>\n\n</think>\n\n"
                 "1<|endofturn|>\n"
                 "<|user|>\n둘?<|endofturn|>\n<|assistant|>\n", {"on": "<think>\n", "off": "<think>\n\n</think>\n\n"}),
    "exaone-4": ("[|system|]\n짧게.[|endofturn|]\n[|user|]\n하나?[|endofturn|]\n[|assistant|]\n<think>\n\n</think>\n\n"
                 "1[|endofturn|]\n"
                 "[|user|]\n둘?[|endofturn|]\n[|assistant|]\n", {"off": "<think>\n\n</think>\n\n", "on": "<think>\n"}),
    "exaone-3.5": ("[|system|]짧게.[|endofturn|]\n[|user|]하나?\n[|assistant|]1[|endofturn|]\n[|user|]둘?\n"
                   "[|assistant|]", {}),
    "exaone-deep": ("[|system|]짧게.[|endofturn|]\n[|user|]하나?\n[|assistant|]1[|endofturn|]\n[|user|]둘?\n"
                    "[|assistant|]",
                    {"on": "<thought>\n"}),
    "ax-k1": ("<|im_start|>system\n짧게.<|im_end|>\n<|im_start|>user\n하나?<|im_end|>\n<|im_start|>assistant\n"
              "1<|im_end|>\n"
              "<|im_start|>user\n둘?<|im_end|>\n<|im_start|>assistant\n",
              {"on": "<think>\n", "off": "<think>\n\n</think>\n\n"}),
    "hyperclova-x-seed-think-14b": (
        "<|im_start|>tool_list\n<|im_end|>\n<|im_start|>system\n짧게.<|im_end|>\n<|im_start|>user\n하나?<|im_end|>\n"
        "<|im_start|>assistant\n1<|im_end|><|endofturn|>\n<|im_start|>user\n둘?<|im_end|>\n<|im_start|>assistant",
        {None: "", "on": "/think\n", "off": "\n"}),
    "vaetki": ("<|START|><|role_system|>짧게.<|END|>\n<|START|><|role_user|>하나?<|END|>\n<|START|><|role_assistant|>"
               "1<|END|>\n"
               "<|START|><|role_user|>둘?<|END|>\n<|START|><|role_assistant|>",
               {"on": "<think>\n", "off": "<think>\n\n</think>\n\n"}),
    "solar-open": ("<|begin|>system<|content|>## System Prompt\n\n짧게.<|end|><|begin|>user<|content|>하나?<|end|>"
                   "<|begin|>assistant<|content|>1<|end|><|begin|>user<|content|>둘?<|end|><|begin|>assistant",
                   {"high": "", "on": "", "off": "<|think|><|end|><|begin|>assistant",
                    "low": "<|think|><|end|><|begin|>assistant"}),
    "kanana": (f"<|begin_of_text|>{HEAD.format('system')}짧게.<|eot_id|>{HEAD.format('user')}하나?<|eot_id|>"
               f"{HEAD.format('assistant')}1<|eot_id|>{HEAD.format('user')}둘?<|eot_id|>"
               f"{HEAD.format('assistant')}", {}),
    "deepseek-v3.1": ("<｜begin▁of▁sentence｜>짧게.<｜User｜>하나?<｜Assistant｜></think>1<｜end▁of▁sentence｜>"
                      "<｜User｜>둘?"
                      "<｜Assistant｜>", {"off": "</think>", "on": "<think>"}),
    "gemma-3": ("<bos><start_of_turn>user\n짧게.\n\n하나?<end_of_turn>\n<start_of_turn>model\n1<end_of_turn>\n"
                "<start_of_turn>user\n"
                "둘?<end_of_turn>\n<start_of_turn>model\n", {}),
    "gpt-oss": (HARMONY_SYSTEM.format("medium", "") + "<|start|>developer<|message|># Instructions\n\n짧게.<|end|>"
                                                      "<|start|>user<|message|>"
                "하나?<|end|><|start|>assistant<|channel|>final<|message|>1<|end|><|start|>user<|message|>둘?<|end|>"
                "<|start|>assistant", {"on": ""}),
}
SAME = {"exaone-4.5": "k-exaone", "ax-4": "ax-k1", "solar-pro": "ax-k1", "midm-2": "kanana", "kanana-2": "kanana",
        "kanana-2-thinking": "kanana", "qwen3": "ax-k1", "hyperclova-x-seed-think-32b": "ax-k1",
        "hyperclova-x-seed-omni": "ax-k1", "ax-k2": "ax-k1"}
ENDS: dict[str, dict[str | None, str]] = {
    "ax-4": {}, "solar-pro": {}, "midm-2": {}, "kanana-2": {}, "kanana-2-thinking": {"on": "<think>\n"},
    "ax-k2": {"on": "<think>\n", "off": "</think>"},
    "qwen3": {"on": "", "off": "<think>\n\n</think>\n\n"},
    "hyperclova-x-seed-think-32b": {"off": "<think>\n\n</think>\n\n", "on": "<think>\n"},
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_conversation_of_several_turns(name: str) -> None:
    """Earlier reasoning is gone, and the end is that of the family's own default and of each value of its switch."""
    text, ends = CONVERSATIONS[SAME.get(name, name)]
    ends = ENDS.get(name, ends)
    default = next(iter(ends.values()), "")
    template = TEMPLATES[name]
    assert render(template, [SYSTEM, *TURNS], now=NOW) == text + default
    for value, end in ends.items():
        assert render(template, [SYSTEM, *TURNS], reasoning=value, now=NOW) == text + end
    if name != "gpt-oss":  # which writes its switch into the system message
        assert set(ends) - {None} == set(template.reasoning)


TOLD = ("# Tools\n\nYou may call these functions:\n<tools>\n" + DECLARED + "\n</tools>\n\nWrite each call as JSON "
                                                                           "between tags:\n"
        '<tool_call>\n{"name": <function-name>, "arguments": <arguments-object>}\n</tool_call>')
TOOLS = {
    "k-exaone": ("<|tool_declare|>\n# Tools\n<tool>" + DECLARED + "</tool>\n<|endofturn|>\n<|user|>\n서울과 "
                                                                  "부산은?<|endofturn|>\n"
                 "<|assistant|>\n<think>\n둘 다\n</think>\n\n볼게요.\n"
                 '<tool_call>{"name": "날씨", "arguments": {"city": "서울"}}</tool_call>\n'
                 '<tool_call>{"name": "날씨", "arguments": {"city": "부산", "days": [1]}}</tool_call><|endofturn|>\n'
                 "<|tool|>\n<tool_result>맑음</tool_result>\n<tool_result>비</tool_result><|endofturn|>\n"
                 "<|assistant|>\n"
                 "<think>\n"),
    "qwen3": ("<|im_start|>system\n" + TOLD + "<|im_end|>\n<|im_start|>user\n서울과 부산은?<|im_end|>\n<|im_start|>"
                                              "assistant\n<think>\n"
              '둘 다\n</think>\n\n볼게요.\n<tool_call>\n{"name": "날씨", "arguments": {"city": "서울"}}\n</tool_call>\n'
              '<tool_call>\n{"name": "날씨", "arguments": {"city": "부산", "days": [1]}}\n</tool_call><|im_end|>\n'
              "<|im_start|>user\n<tool_response>\n맑음\n</tool_response>\n<tool_response>\n비\n</tool_response>"
              "<|im_end|>\n"
              "<|im_start|>assistant\n"),
    "hyperclova-x-seed-think-14b": (
        f"<|im_start|>tool_list\n[{BARE}]<|im_end|>\n<|im_start|>system\n<|im_end|>\n<|im_start|>user\n서울과 "
        f"부산은?<|im_end|>\n"
        "<|im_start|>assistant\n볼게요.<|im_end|>\n<|im_start|>assistant -> tool/function_call\n"
        '[{"name": "날씨", "arguments": {"city": "서울"}}, '
        '{"name": "날씨", "arguments": {"city": "부산", "days": [1]}}]'
        "<|im_end|><|stop|>\n<|im_start|>tool/function_call\n맑음<|im_end|>\n<|im_start|>tool/function_call\n"
        "비<|im_end|>\n"
        "<|im_start|>assistant"),
    "gpt-oss": (HARMONY_SYSTEM.format("medium", "\nCalls to these tools must go to the commentary channel: "
                                                "'functions'.")
                + "<|start|>developer<|message|># Tools\n\n## functions\n\nnamespace functions {\n\n// 오늘의 날씨\n"
                  "type "
                  "날씨 = (_: {\n"
                "// 도시 <이름>\ncity: string,\n}) => any;\n\n} // namespace functions<|end|><|start|>user<|message|>"
                "서울과 "
                "부산은?<|end|>"
                "<|start|>assistant<|channel|>analysis<|message|>둘 다<|end|><|start|>assistant<|channel|>"
                "commentary<|message|>볼게요."
                '<|end|><|start|>assistant to=functions.날씨<|channel|>commentary json<|message|>{"city": '
                '"서울"}<|call|>'
                '<|start|>assistant to=functions.날씨<|channel|>commentary json<|message|>{"city": "부산", "days": '
                '[1]}<|call|>'
                "<|start|>functions.날씨 to=assistant<|channel|>commentary<|message|>맑음<|end|>"
                "<|start|>functions.날씨 to=assistant<|channel|>commentary<|message|>비<|end|><|start|>assistant"),
}
ENDINGS = {
    "hyperclova-x-seed-think-32b": (
        "<|im_start|>assistant\n<think>\n둘 다\n</think>\n\n볼게요.\n<tool_call>날씨\n<arg_key>city</arg_key>\n"
        "<arg_value>"
        "서울</arg_value>\n"
        "</tool_call>\n<tool_call>날씨\n<arg_key>city</arg_key>\n<arg_value>부산</arg_value>\n<arg_key>days</arg_key>\n"
        "<arg_value>[1]</arg_value>\n</tool_call><|im_end|>\n<|im_start|>tool\n<tool_response>날씨\n맑음\n"
        "</tool_response>\n"
        "<tool_response>날씨\n비\n</tool_response><|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"),
    "exaone-4": ('<tool_call>{"name": "날씨", "arguments": {"city": "부산", "days": [1]}}</tool_call>[|endofturn|]\n'
                 '[|tool|]\n'
                 '<tool_result>{"result": "맑음"}</tool_result>\n<tool_result>{"result": "비"}</tool_result>'
                 '[|endofturn|]\n'
                 "[|assistant|]\n<think>\n\n</think>\n\n"),
    "deepseek-v3.1": ("<｜User｜>서울과 부산은?<｜Assistant｜></think>볼게요.<｜tool▁calls▁begin｜>"
                      "<｜tool▁call▁begin｜>날씨<｜tool▁sep｜>"
                      '{"city": "서울"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>날씨<｜tool▁sep｜>{"city": "부산", '
                      '"days": [1]}'
                      "<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜><｜tool▁output▁begin｜>"
                      "맑음<｜tool▁output▁end｜>"
                      "<｜tool▁output▁begin｜>비<｜tool▁output▁end｜>"),
    "solar-open": ("<|begin|>assistant<|think|>둘 다<|end|><|begin|>assistant<|content|>볼게요.<|end|><|begin|>"
                   "assistant<|tool_calls|>"
                   '<|tool_call:begin|>a1b2c3d4e5<|tool_call:name|>날씨<|tool_call:args|>{"city": '
                   '"서울"}<|tool_call:end|>'
                   '<|tool_call:begin|>f6g7h8i9j0<|tool_call:name|>날씨<|tool_call:args|>{"city": "부산", "days": [1]}'
                   "<|tool_call:end|><|calls|><|begin|>tool<|tool_response|><|tool_response:begin|>a1b2c3d4e5"
                   "<|tool_response:name|>날씨<|tool_response:result|>맑음<|tool_response:end|><|tool_response:begin|>"
                   "f6g7h8i9j0"
                   "<|tool_response:name|>날씨<|tool_response:result|>비<|tool_response:end|><|end|><|begin|>"
                   "assistant"),
}


@pytest.mark.parametrize("name", TOOLS)
def test_tools_calls_and_results(name: str) -> None:
    assert render(TEMPLATES[name], CALLS, tools=[TOOL], now=NOW) == TOOLS[name]


@pytest.mark.parametrize("name", ENDINGS)
def test_calls_and_results_at_the_end(name: str) -> None:
    text = render(TEMPLATES[name], CALLS, tools=[TOOL], now=NOW)
    assert text.endswith(ENDINGS[name])
    assert BARE in text or "### 날씨\nDescription: 오늘의 날씨\n\nParameters: {" in text


WITH_TOOLS = [name for name, template in TEMPLATES.items() if template.syntax.form]


@pytest.mark.parametrize("name", WITH_TOOLS)
def test_the_parser_reads_what_the_template_writes(name: str) -> None:
    """The assistant's turn of a history, without its end, is what the model would have written."""
    template = TEMPLATES[name]
    value = "on" if name.startswith("hyperclova") and name != "hyperclova-x-seed-think-14b" else None
    before = render(template, CALLS[:1], tools=[TOOL], reasoning=value, now=NOW)
    after = render(template, CALLS[:2], tools=[TOOL], add_generation_prompt=False, now=NOW)
    if not after.startswith(before):  # a history without reasoning
        before = before.removesuffix("<think>\n\n</think>\n\n").removesuffix("<think>\n")
    assert after.startswith(before)
    for end in ("<|endofturn|>\n", "[|endofturn|]\n", "<|im_end|>\n", "<|stop|>\n", "<|eot_id|>"):
        after = after.removesuffix(end)
    parsed = parse(after[len(before):], template.syntax, in_reasoning=template.syntax.opened_by(before))
    assert parsed.content == "볼게요."
    assert parsed.reasoning in ("둘 다", "")
    assert [(call.name, call.arguments) for call in parsed.tool_calls] == [
        ("날씨", '{"city": "서울"}'), ("날씨", '{"city": "부산", "days": [1]}')]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_parser_begins_where_the_prompt_ends(name: str) -> None:
    template = TEMPLATES[name]
    for value in (None, *template.reasoning):
        prompt = render(template, TURNS, reasoning=value, now=NOW)
        assert template.syntax.opened_by(prompt) is prompt.endswith(("<think>", "<think>\n", "<thought>\n", "/think\n"))


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("generation", [True, False])
def test_transformers_renders_the_same_text(name: str, generation: bool) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    template = TEMPLATES[name]
    tools = [TOOL] if template.syntax.form else None
    messages = [SYSTEM, *TURNS, {"role": "assistant", "content": "2"}, *(CALLS if tools else [])]
    for value in (None, *template.reasoning):
        ours = render(template, messages, tools=tools, reasoning=value, add_generation_prompt=generation)
        (theirs,), _ = render_jinja_template(
            [even(messages, developer=False)], tools=declared(tools) or None, chat_template=template.text(),
            add_generation_prompt=generation, bos_token="", eos_token="",
            **template.reasoning.get(value or template.default_reasoning or "", {}))
        assert ours == theirs


def test_reasoning_left_in_the_content_is_taken_out() -> None:
    turns = [{"role": "user", "content": "하나?"}, {"role": "assistant", "content": "<think>\n센다\n</think>\n\n1"},
             {"role": "user", "content": "둘?"}]
    for name in ("k-exaone", "exaone-4", "qwen3", "hyperclova-x-seed-think-32b", "deepseek-v3.1"):
        assert "센다" not in render(TEMPLATES[name], turns)


def test_text_parts_and_developers() -> None:
    messages = [{"role": "developer", "content": "짧게."},
                {"role": "user", "content": [{"type": "text", "text": "가"}, {"type": "text", "text": "나"}]}]
    assert render(TEMPLATES["exaone-3.5"], messages) == "[|system|]짧게.[|endofturn|]\n[|user|]가\n나\n[|assistant|]"


def test_nobody_types_a_turn_marker() -> None:
    messages = [{"role": "user", "content": "x<|im_end|>y"}]
    pieces = render_pieces(TEMPLATES["qwen3"], messages, special=["<|im_start|>", "<|im_end|>"])
    assert pieces == [("<|im_start|>user\nx", False), ("<|im_end|>", True), ("y<|im_end|>\n<|im_start|>"
                                                                             "assistant\n", False)]


@pytest.mark.parametrize(("messages", "said"), [
    ([], "no messages"), ([{"role": "robot", "content": ""}], "message 1 has the unknown role 'robot'"),
    ([{"role": "user", "content": 5}], "message 1 has a content that is not text"),
    ([{"role": "user", "content": [{"type": "image_url"}]}], "not text"),
    ([{"role": "assistant", "content": "", "reasoning_content": 5}], "reasoning_content"),
    ([{"role": "user", "content": "", "tool_calls": [{}]}], "only an assistant's"),
    ([{"role": "assistant", "tool_calls": [{"function": {}}]}], "without a function name"),
    ([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}], "no JSON"),
    ([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}]}], "no JSON object"),
])
def test_messages_that_are_none(messages: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(DokjaError, match=said):
        render(TEMPLATES["qwen3"], messages)


def test_an_unknown_value_of_the_switch_names_those_there_are() -> None:
    with pytest.raises(DokjaError, match="k-exaone, which has on, off"):
        render(TEMPLATES["k-exaone"], TURNS, reasoning="low")
    with pytest.raises(DokjaError, match="a checkpoint of its own: EXAONE Deep"):
        render(TEMPLATES["exaone-3.5"], TURNS, reasoning="on")
    with pytest.raises(DokjaError, match="this checkpoint, which has nothing to switch"):
        render("{{ messages }}", TURNS, reasoning="on")


def test_tools_where_the_family_has_no_format_for_them() -> None:
    with pytest.raises(DokjaError, match="no format for tools is known for gemma-3"):
        render(TEMPLATES["gemma-3"], TURNS, tools=[TOOL])
    with pytest.raises(DokjaError, match="tool 1 is no function"):
        render(TEMPLATES["qwen3"], TURNS, tools=[{}])


# A checkpoint's own template.

def test_a_checkpoints_template_takes_the_familys_switch() -> None:
    own = replace(TEMPLATES["k-exaone"], source="{{ bos_token }}{{ messages[0].content }}{{ enable_thinking }}")
    assert render(own, TURNS, reasoning="off", variables={"bos_token": "<s>"}) == "<s>하나?False"


def test_calls_are_given_as_text_where_a_template_needs_it() -> None:
    source = "{% for m in messages if m.tool_calls %}{{ 'a' + m.tool_calls[0].function.arguments }}{% endfor %}"
    assert render(source, CALLS) == 'a{"city": "서울"}'


def test_conventions_of_published_templates() -> None:
    source = ("{%- for m in messages -%}{%- if loop.index == 2 -%}{%- break -%}{%- endif -%}{{ m | tojson }}{%- "
              "endfor -%}\n"
              "    {% generation %}[{{ strftime_now('%d.%m') }}]{% endgeneration %}")
    text = render(source, [{"role": "user", "content": "<가>'"}], now=NOW)
    assert text == '{"role": "user", "content": "<가>\'"}[02.01]'


@pytest.mark.parametrize("source", [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ messages.append(1) }}", "{{ messages[0].update({}) }}",
    "{{ raise_exception.__globals__.os }}", "{{ self.__init__.__globals__ }}", "{{ cycler.__init__.__globals__.os }}",
    "{{ ''|attr('__class__') ~ (''|attr('__class__')).mro() }}", "{{ '{0.__class__}'.format('') ~ "
                                                                 "joiner.__init__.__globals__ }}",
    "{% include '/etc/passwd' %}", "{% import 'os' as os %}", "{% extends 'x' %}", "{{ lipsum.__globals__['os'] }}",
    "{{ range(10000000) | list }}", "{{ 'a' * 10 ** 9 }}", "{{ 2 ** 10000000 }}", "{{ '%1000000000d' % 1 }}",
    "{% for i in range(99999) %}{{ 'a' * 9999 }}{% endfor %}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ raise_exception('no') }}", "{{ nothing.there.at_all }}", "{{ 1 / 0 }}", "{% if %}", "{{ [0] * 10 ** 9 }}",
])
def test_what_a_template_may_not_do_is_one_sentence(source: str) -> None:
    with pytest.raises(DokjaError, match="the chat template of this checkpoint") as caught:
        render(source, TURNS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) recursive %}{{ loop(range(99999)) }}{% endfor %}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% block b %}{% if messages %}{{ self.b() }}{{ self.b() }}{% endif %}{% endblock %}",
    "{% macro m(n) %}{{ caller() }}{% endmacro %}{% for a in range(99999) %}{% for b in range(99999) %}"
    "{% call m(b) %}{% endcall %}{% endfor %}{% endfor %}",
])
def test_a_template_without_end_is_given_up(source: str) -> None:
    begun = time.monotonic()
    with pytest.raises(DokjaError, match=r"t takes more than 0.2 seconds: its loops may be endless|Recursion"):
        rendered(source, {"messages": TURNS}, title="t", seconds=0.2)
    assert time.monotonic() - begun < 5


def test_a_range_without_end_is_what_a_template_may_not_do() -> None:
    with pytest.raises(DokjaError, match=r"tries what a template may not do \(Range too big"):
        render("{% for i in range(10 ** 12) %}{% endfor %}", TURNS)


@pytest.mark.parametrize("source", ["{% if %}", "a\n{{ b | nothing }}", "{% for a in b %}" * 40 + "{% endfor %}" * 40])
def test_a_text_that_is_no_template_is_known_without_a_conversation(source: str) -> None:
    checked("{% for a in b %}{{ a }}{% endfor %}", title="t")
    with pytest.raises(DokjaError, match=r"^t is no Jinja template ") as caught:
        checked(source, title="t")
    assert "\n" not in str(caught.value)


def test_only_a_base_model_has_no_template() -> None:
    assert [family.name for family in FAMILIES.values() if family.chat_template() is None] == ["kogpt"]


def test_every_template_says_what_it_is() -> None:
    for name, template in TEMPLATES.items():
        assert isinstance(template, ChatTemplate)
        assert template.name == name
        assert set(template.reasoning) <= {"on", "off", "low", "high"}
        assert template.default_reasoning in (None, *template.reasoning)

"""Chat completions of a model with a published template: reasoning, tools, formats, log-probabilities."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import httpx
import openai
import pydantic
import pytest
from pocket_models import make_talker
from scripted import Running, Script

from dokja.errors import DokjaError
from dokja.serve import LocalService, Settings, create_app
from dokja.serve.errors import BrokenError
from dokja.serve.service import ChatAsk, CompletionAsk, Content

ASK = [{"role": "user", "content": "서울 날씨는?"}]
THOUGHT = "날씨를 물었다.</think>\n\n맑습니다."
TOOL = {"type": "function", "function": {"name": "weather", "description": "날씨", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "서울"}}\n</tool_call>'


@pytest.fixture(scope="module")
def script() -> Script:
    return Script(make_talker(), "")


@pytest.fixture(scope="module")
def url(script: Script) -> Iterator[str]:
    running = Running(create_app(LocalService({"talker": script}), lambda: None, settings=Settings(pages=False)))
    yield running.url
    running.close()


@pytest.fixture(autouse=True)
def _fresh(script: Script) -> None:
    script.text, script.pause, script.fail = THOUGHT, 0.0, None
    script.asked.clear()


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20)


def ask(client: openai.OpenAI, **more):
    return client.chat.completions.create(**{"model": "talker", "messages": ASK, **more})


def read(script: Script) -> str:
    """The last prompt as text."""
    return script.model.tokenizer.decode(list(script.asked[-1].prompt), skip_special_tokens=False)


def test_reasoning_is_apart_under_both_names(client: openai.OpenAI, script: Script):
    answer = ask(client)
    message = answer.choices[0].message
    assert message.content == "맑습니다."
    assert message.reasoning_content == message.reasoning == "날씨를 물었다."
    thinking = len(script.model.tokenizer.encode("날씨를 물었다.").ids)
    assert answer.usage.completion_tokens_details.reasoning_tokens == thinking
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    assert read(script).endswith("<think>\n")


def test_reasoning_is_streamed_apart(client: openai.OpenAI):
    chunks = list(ask(client, stream=True))
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "날씨를 물었다."
    assert "".join(getattr(delta, "reasoning", None) or "" for delta in deltas) == "날씨를 물었다."
    assert "".join(delta.content or "" for delta in deltas) == "맑습니다."


@pytest.mark.parametrize("off", [
    {"reasoning_effort": "none"}, {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}},
    {"extra_body": {"chat_template_kwargs": {"thinking": False}}},
])
def test_one_switch_for_the_reasoning(client: openai.OpenAI, script: Script, off):
    script.text = "맑습니다."
    answer = ask(client, **off)
    assert answer.choices[0].message.content == "맑습니다."
    assert not answer.choices[0].message.model_extra.get("reasoning_content")
    assert "</think>" in read(script)[-20:]


def test_a_tool_call(client: openai.OpenAI, script: Script):
    script.text = "찾아보자.</think>\n\n" + CALL
    answer = ask(client, tools=[TOOL])
    [call] = answer.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "서울"})
    assert call.id.startswith("call_")
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.choices[0].message.content is None
    assert "weather" in read(script)
    script.text = "</think>\n\n영상 3도"
    again = ask(client, tools=[TOOL], messages=[
        *ASK, answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "3"}])
    assert again.choices[0].message.content == "영상 3도"
    assert '"city": "서울"' in read(script)


def test_a_streamed_tool_call_is_gathered_by_the_client(client: openai.OpenAI, script: Script):
    script.text = "</think>\n\n보자. " + CALL + "\n" + CALL
    with client.chat.completions.stream(model="talker", messages=ASK, tools=[TOOL]) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "서울"}] * 2
    assert len({call.id for call in calls}) == 2
    assert final.choices[0].message.content.strip() == "보자."
    assert final.choices[0].finish_reason == "tool_calls"


def test_one_call_at_a_time_when_asked(client: openai.OpenAI, script: Script):
    script.text = "</think>\n\n" + CALL + "\n" + CALL
    assert len(ask(client, tools=[TOOL], parallel_tool_calls=False).choices[0].message.tool_calls) == 1


def test_without_tools_a_call_is_only_text(client: openai.OpenAI, script: Script):
    script.text = "</think>\n\n" + CALL
    for more in ({}, {"tools": [TOOL], "tool_choice": "none"}):
        message = ask(client, **more).choices[0].message
        assert message.tool_calls is None
        assert CALL in message.content
        assert "# Tools" not in read(script)


def test_a_named_tool_is_a_grammar_for_its_arguments(client: openai.OpenAI, script: Script):
    """The reasoning comes first, without the grammar; the second request goes on from where it ended."""
    script.text = "날씨를 묻는다.</think>\n\n"
    named = {"type": "function", "function": {"name": "weather"}}
    answers = iter([script.text, '{"city": "부산"}'])
    script.text_of = lambda request: next(answers)
    try:
        answer = ask(client, tools=[TOOL], tool_choice=named)
    finally:
        script.text_of = None
    assert [request.sampling.grammar is None for request in script.asked] == [True, False]
    assert json.loads(script.asked[1].sampling.grammar.text) == TOOL["function"]["parameters"]
    assert read(script).endswith("날씨를 묻는다.</think>")
    [call] = answer.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city": "부산"}')
    assert answer.choices[0].message.reasoning_content == "날씨를 묻는다."


def test_required_tools_are_a_list_of_calls(client: openai.OpenAI, script: Script):
    script.text = '[{"name": "weather", "parameters": {"city": "서울"}}]'
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    answer = ask(client, tools=[TOOL], tool_choice="required", extra_body=off)
    schema = json.loads(script.asked[0].sampling.grammar.text)
    assert schema["items"]["anyOf"][0]["properties"]["parameters"] == TOOL["function"]["parameters"]
    assert json.loads(answer.choices[0].message.tool_calls[0].function.arguments) == {"city": "서울"}


@pytest.mark.parametrize("written", [
    [{"city": "서울"}, {"city": "부\"산} \\", "at": [{"a": {}}, []]}], [{}],
])
def test_required_tools_are_streamed_as_they_are_written(client: openai.OpenAI, script: Script, written):
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    for space in (None, 2):
        script.text = json.dumps([{"name": "weather", "parameters": one} for one in written], ensure_ascii=False,
                                 indent=space)
        chunks = ask(client, tools=[TOOL], tool_choice="required", stream=True, extra_body=off)
        pieces = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
        for index, one in enumerate(written):
            mine = [piece for piece in pieces if piece.index == index]
            assert json.loads("".join(piece.function.arguments for piece in mine)) == one
            assert [piece.function.name for piece in mine] == ["weather"] + [None] * (len(mine) - 1)
            assert len(mine) > 3 or not one
    script.text = '[{"name": "weather", "parameters": {"city": "서'
    cut = ask(client, tools=[TOOL], tool_choice="required", extra_body=off)
    assert cut.choices[0].message.tool_calls[0].function.arguments == '{"city": "서'


class Weather(pydantic.BaseModel):
    """What `parse` is to give."""

    city: str
    degrees: int


def test_parse_gives_an_object(client: openai.OpenAI, script: Script):
    script.text = '{"city": "서울", "degrees": 3}'
    answer = client.chat.completions.parse(
        model="talker", messages=ASK, response_format=Weather,
        extra_body={"chat_template_kwargs": {"enable_thinking": False}})
    assert answer.choices[0].message.parsed == Weather(city="서울", degrees=3)
    grammar = script.asked[0].sampling.grammar
    assert grammar.kind == "json_schema"
    assert set(json.loads(grammar.text)["properties"]) == {"city", "degrees"}


@pytest.mark.parametrize(("body", "kind", "text"), [
    ({"response_format": {"type": "json_object"}}, "json", ""),
    ({"guided_regex": "[0-9]+"}, "regex", "[0-9]+"),
    ({"guided_choice": ["예", "아니오"]}, "choice", '["예", "아니오"]'),
    ({"structured_outputs": {"json": {"type": "integer"}}}, "json_schema", '{"type": "integer"}'),
])
def test_every_name_of_a_grammar(client: openai.OpenAI, script: Script, body, kind, text):
    ask(client, extra_body={**body, "chat_template_kwargs": {"enable_thinking": False}})
    assert (script.asked[0].sampling.grammar.kind, script.asked[0].sampling.grammar.text) == (kind, text)


def test_log_probabilities_are_those_of_the_content(client: openai.OpenAI, script: Script):
    answer = ask(client, logprobs=True, top_logprobs=2)
    tokens = answer.choices[0].logprobs.content
    assert bytes(byte for token in tokens for byte in token.bytes).decode() == "맑습니다."
    assert all(token.logprob == -1 and len(token.top_logprobs) == 2 for token in tokens)
    streamed = [token for chunk in ask(client, logprobs=True, stream=True) for choice in chunk.choices
                if choice.logprobs for token in choice.logprobs.content]
    assert [token.token for token in streamed] == [token.token for token in tokens]


def test_prompt_log_probabilities(client: openai.OpenAI, script: Script):
    found = ask(client, extra_body={"prompt_logprobs": 0}).model_extra["prompt_logprobs"]
    assert found[0] is None
    assert [int(next(iter(entry))) for entry in found[1:]] == list(script.asked[0].prompt[1:])


def test_several_answers(client: openai.OpenAI, script: Script):
    answer = ask(client, n=3, seed=7)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [request.sampling.seed for request in script.asked] == [7, 8, 9]
    assert answer.usage.prompt_tokens == len(script.asked[0].prompt)
    assert answer.usage.completion_tokens == 3 * len(script.model.tokenizer.encode(THOUGHT).ids)
    texts = ["", "", ""]
    for chunk in ask(client, n=3, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == ["맑습니다."] * 3


def test_the_sampling_settings_reach_the_engine(client: openai.OpenAI, script: Script):
    ask(client, temperature=0.5, top_p=0.9, presence_penalty=0.1, frequency_penalty=0.2, logit_bias={"5": -3}, seed=-4,
        max_tokens=9, extra_body={"top_k": 4, "min_p": 0.05, "repetition_penalty": 1.1, "min_tokens": 2,
                                  "stop_token_ids": [77], "ignore_eos": True})
    sampling = script.asked[0].sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (0.5, 0.9, 4, 0.05)
    assert (sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty) == (1.1, 0.1, 0.2)
    assert (sampling.logit_bias, sampling.seed, sampling.max_tokens, sampling.min_tokens) == ({5: -3.0}, -4, 9, 2)
    assert sampling.stop == (77,)
    ask(client)
    assert set(script.asked[1].sampling.stop) == set(script.model.stop)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.timed
def test_a_deadline(url: str, script: Script, header: bool):
    script.pause = 0.05
    headers, body = ({"X-Request-Timeout": "0.2"}, {}) if header else ({}, {"timeout": 0.2})
    answer = httpx.post(f"{url}/v1/chat/completions", json={"messages": ASK, **body}, headers=headers)
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "deadline_exceeded"
    assert not script.running


def test_turn_markers_in_a_message_are_only_text(client: openai.OpenAI, script: Script):
    ask(client, messages=[{"role": "user", "content": "<think>"}])
    assert list(script.asked[0].prompt).count(script.model.tokenizer.token_to_id("<think>")) == 1  # the template's own


def test_past_the_context_is_refused(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError, match="the conversation is too long") as caught:
        ask(client, messages=[{"role": "user", "content": "가" * 3000}])
    assert caught.value.code == "context_length_exceeded"


def test_a_broken_template_is_told_at_the_start(caplog: pytest.LogCaptureFixture):
    LocalService({"own": Script(make_talker(own="{{ messages[0].content }}"), "네")})
    assert caplog.messages == []
    service = LocalService({"own": Script(make_talker(own="a\n{% for %}"), "네")})
    [told] = caplog.messages
    assert told.startswith("the chat template of own is no Jinja template (line 2: ")
    assert told.endswith("mend it where the model lies and start again, for chats are refused until then")
    assert asyncio.run(written(service)) == "네"


async def written(service: LocalService) -> str:
    """What a model goes on with: texts need no template."""
    return "".join([piece.text async for piece in await service.complete(CompletionAsk("안녕"))
                    if isinstance(piece, Content)])


@pytest.mark.parametrize(("files", "said"), [
    ({"chat_template.jinja": b"\xff"}, r"chat_template.jinja is no UTF-8 text \(invalid start byte at byte 0\): mend"),
    ({"tokenizer_config.json": b"{"}, r"tokenizer_config.json is no JSON \(.*\): mend it in the model's folder"),
    ({"tokenizer_config.json": b"[]"}, "tokenizer_config.json is no JSON table: mend it in the model's folder"),
])
def test_a_damaged_file_beside_the_weights_is_one_sentence(files: dict[str, bytes], said: str):
    with pytest.raises(DokjaError, match=said):
        LocalService({"own": Script(replace(make_talker(), files=files), "네")})


@pytest.mark.parametrize("own", ["{% for a in range(10 ** 12) %}{% endfor %}", "{{ ''.__class__.__mro__ }}"])
def test_a_template_that_asks_for_too_much_is_the_servers_error(own: str):
    service = LocalService({"own": Script(make_talker(own=own), "네")})
    with pytest.raises(BrokenError, match="mend it in the model's folder"):
        asyncio.run(service.chat(ChatAsk(ASK)))


def test_a_broken_template_is_the_servers_error_and_a_refusal_the_clients():
    async def post(own: str) -> httpx.Response:
        app = create_app(LocalService({"own": Script(make_talker(own=own), "네")}), lambda: None,
                         settings=Settings(pages=False))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post("/v1/chat/completions", json={"messages": ASK})

    broken = asyncio.run(post("{% for %}"))
    assert (broken.status_code, broken.json()["error"]["code"]) == (500, "broken_template")
    assert "the chat template of own is no Jinja" in broken.json()["error"]["message"]
    assert broken.json()["error"]["message"].endswith("mend it in the model's folder")
    refused = asyncio.run(post("{{ raise_exception('no') }}"))
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "messages")
    assert asyncio.run(post("{{ messages[0].content }}")).json()["choices"][0]["message"]["content"] == "네"


def test_many_at_once_each_with_its_own_text(url: str, script: Script):
    script.text_of = lambda request: "</think>\n\n" + script.model.tokenizer.decode(list(request.prompt))[-40:]

    async def one(client: openai.AsyncOpenAI, number: int) -> bool:
        stream = await client.chat.completions.create(
            model="talker", stream=True, messages=[{"role": "user", "content": f"{number}번"}])
        return f"{number}번" in "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def run() -> list[bool]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(one(client, number) for number in range(1000, 1100)))

    try:
        assert all(asyncio.run(run()))
    finally:
        script.text_of = None

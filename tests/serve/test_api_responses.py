"""The responses endpoint, read by the official client."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import openai
import pydantic
import pytest
from pocket_models import make_talker
from scripted import Running, Script

from dokja.errors import DokjaError
from dokja.serve import LocalService, Settings, create_app

CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "서울"}}\n</tool_call>'
TOOL = {"type": "function", "name": "weather", "description": "날씨", "strict": False, "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}


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
    script.text, script.pause, script.fail = "생각.</think>\n\n맑습니다.", 0.0, None
    script.asked.clear()


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20)


def read(script: Script) -> str:
    return script.model.tokenizer.decode(list(script.asked[-1].prompt), skip_special_tokens=False)


def test_a_response(client: openai.OpenAI, script: Script):
    answer = client.responses.create(model="talker", input="날씨는?", instructions="짧게", max_output_tokens=100)
    assert answer.output_text == "맑습니다."
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output[0].content[0].text == "생각."
    assert answer.status == "completed"
    assert answer.usage.output_tokens_details.reasoning_tokens > 0
    assert answer.store is False
    assert answer.model_extra["notice"]["generated"] is True
    assert "짧게" in read(script)
    assert read(script).index("짧게") < read(script).index("날씨는?")


def test_the_events_come_in_the_official_order(client: openai.OpenAI, script: Script):
    script.text = "생각.</think>\n\n보자. " + CALL
    events = list(client.responses.create(model="talker", input="날씨는?", stream=True, tools=[TOOL]))
    kinds = [event.type.removeprefix("response.") for event in events]
    kinds = [kind for at, kind in enumerate(kinds) if not at or kind != kinds[at - 1]]
    assert kinds == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done", "content_part.done",
        "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done", "content_part.done",
        "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done",
        "completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    final = events[-1].response
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert json.loads(final.output[2].arguments) == {"city": "서울"}
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.output_text


def test_the_clients_own_stream_gathers_the_same(client: openai.OpenAI):
    with client.responses.stream(model="talker", input="날씨는?") as stream:
        final = stream.get_final_response()
    assert final.output_text == "맑습니다."


class Weather(pydantic.BaseModel):
    """What `parse` is to give."""

    city: str


def test_parse(client: openai.OpenAI, script: Script):
    script.text = '{"city": "서울"}'
    answer = client.responses.parse(model="talker", input="어디?", text_format=Weather, reasoning={"effort": "none"})
    assert answer.output_parsed == Weather(city="서울")
    assert json.loads(script.asked[0].sampling.grammar.text)["required"] == ["city"]


def test_a_conversation_with_a_tool(client: openai.OpenAI, script: Script):
    script.text = "</think>\n\n" + CALL
    first = client.responses.create(model="talker", input="날씨는?", tools=[TOOL])
    call = first.output[-1]
    script.text = "</think>\n\n영상 3도"
    answer = client.responses.create(model="talker", tools=[TOOL], input=[
        {"role": "user", "content": [{"type": "input_text", "text": "날씨는?"}]}, *first.output,
        {"type": "function_call_output", "call_id": call.call_id, "output": "3"}])
    assert answer.output_text == "영상 3도"
    assert '"city": "서울"' in read(script)


def test_cut_off_is_incomplete(client: openai.OpenAI):
    answer = client.responses.create(model="talker", input="날씨는?", max_output_tokens=2)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    events = list(client.responses.create(model="talker", input="날씨는?", max_output_tokens=2, stream=True))
    assert events[-1].type == "response.incomplete"


def test_a_failure_is_an_event(client: openai.OpenAI, script: Script):
    script.fail = DokjaError("the model broke")
    events = list(client.responses.create(model="talker", input="날씨는?", stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.message == "the model broke"


def test_log_probabilities(client: openai.OpenAI):
    answer = client.responses.create(model="talker", input="날씨는?", top_logprobs=2,
                                     include=["message.output_text.logprobs"])
    tokens = answer.output[-1].content[0].logprobs
    assert bytes(byte for token in tokens for byte in token.bytes).decode() == "맑습니다."


@pytest.mark.parametrize(("changes", "status", "param"), [
    ({"previous_response_id": "resp_1"}, 400, "previous_response_id"), ({"store": True}, 400, "store"),
    ({"input": []}, 422, "input"),
    ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, 400, "input"),
    ({"tools": [{"type": "web_search"}]}, 400, "tools"), ({"conversation": "x"}, 400, "conversation"),
])
def test_what_is_refused(url: str, changes, status, param):
    answer = httpx.post(f"{url}/v1/responses", json={"input": "날씨는?", **changes})
    assert answer.status_code == status
    assert answer.json()["error"]["param"].startswith(param)

"""Structured output through the API on the real engine: whatever a random model writes, it matches."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import openai
import pydantic
import pytest
from pocket_models import make_talker
from scripted import Running

from dokja.serve import LocalService, Settings, create_app
from dokja.serve.engine.engine import Engine
from dokja.serve.engine.sizing import Limits

OFF = {"chat_template_kwargs": {"enable_thinking": False}}
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99},
                                           "ok": {"type": "boolean"}},
          "required": ["n", "ok"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("one", "two")]
ASK = [{"role": "user", "content": "안녕?"}]


class Two(pydantic.BaseModel):
    """What `parse` is to give."""

    ok: bool
    size: int = pydantic.Field(ge=0, le=9)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    model = make_talker(context=1024)
    service = LocalService({"talker": Engine(model, Limits(context=1024, tokens=4096, rows=8))})
    running = Running(create_app(service, lambda: None, settings=Settings(pages=False)))
    yield running.url
    running.close()


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)


@pytest.mark.parametrize("seed", range(3))
def test_a_schema(client: openai.OpenAI, seed: int):
    answer = client.chat.completions.create(
        model="talker", messages=ASK, seed=seed, max_tokens=100, extra_body=OFF,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}})
    assert answer.choices[0].finish_reason == "stop"
    assert set(json.loads(answer.choices[0].message.content)) == {"n", "ok"}


def test_after_the_reasoning(client: openai.OpenAI):
    """A model that never ends its reasoning by itself still answers with a match."""
    answer = client.chat.completions.create(
        model="talker", messages=ASK, seed=1, max_tokens=300, extra_body={"guided_regex": "[0-9]{3}"})
    if answer.choices[0].finish_reason == "stop":
        assert re.fullmatch("[0-9]{3}", answer.choices[0].message.content)
    else:
        assert answer.choices[0].message.content == ""
    assert answer.choices[0].message.model_extra["reasoning_content"]


def test_choice_and_parse(client: openai.OpenAI):
    answer = client.chat.completions.create(model="talker", messages=ASK, seed=1,
                                            extra_body={**OFF, "guided_choice": ["예", "아니오"]})
    assert answer.choices[0].message.content in ("예", "아니오")
    parsed = client.chat.completions.parse(model="talker", messages=ASK, seed=2, response_format=Two, extra_body=OFF)
    assert 0 <= parsed.choices[0].message.parsed.size <= 9
    response = client.responses.parse(model="talker", input="안녕?", text_format=Two, reasoning={"effort": "none"})
    assert isinstance(response.output_parsed, Two)


def test_tools_that_must_be_called(client: openai.OpenAI):
    named = {"type": "function", "function": {"name": "two"}}
    answer = client.chat.completions.create(model="talker", messages=ASK, tools=TOOLS, tool_choice=named, seed=1,
                                            extra_body=OFF)
    [call] = answer.choices[0].message.tool_calls
    assert (call.function.name, set(json.loads(call.function.arguments))) == ("two", {"n", "ok"})
    stream = client.chat.completions.create(model="talker", messages=ASK, tools=TOOLS, tool_choice=named, seed=1,
                                            stream=True, extra_body=OFF)
    pieces = [chunk.choices[0].delta.tool_calls[0] for chunk in stream if chunk.choices[0].delta.tool_calls]
    assert "".join(piece.function.arguments for piece in pieces) == call.function.arguments
    assert [piece.function.name for piece in pieces] == ["two"] + [None] * (len(pieces) - 1)
    answer = client.chat.completions.create(model="talker", messages=ASK, tools=TOOLS, tool_choice="required", seed=1,
                                            parallel_tool_calls=False, extra_body=OFF)
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name in ("one", "two")
    assert set(json.loads(call.function.arguments)) == {"n", "ok"}


@pytest.mark.parametrize("body", [
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}},
    {"guided_regex": "("}, {"guided_json": "{"},
    {"response_format": {"type": "json_object"}, "tools": TOOLS},
])
def test_a_grammar_that_is_none_is_refused(url: str, body):
    answer = httpx.post(f"{url}/v1/chat/completions", json={"messages": ASK, **body, **OFF})
    assert answer.status_code == 400
    assert "\n" not in answer.json()["error"]["message"]

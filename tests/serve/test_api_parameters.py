"""What OpenAI's clients know and this server has or lacks: honoured, harmless, or refused by name in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pocket_models import make_talker
from scripted import Running, Script

from dokja.serve import LocalService, Settings, create_app

ASK = {"messages": [{"role": "user", "content": "서울 날씨는?"}]}
FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def client() -> Iterator[openai.OpenAI]:
    script = Script(make_talker(), "생각.</think>\n\n맑습니다.")
    running = Running(create_app(LocalService({"talker": script}), lambda: None, settings=Settings(pages=False)))
    yield openai.OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0, timeout=20)
    running.close()


def send(client: openai.OpenAI, kind: str, fields: dict[str, Any]) -> Any:
    """The fields as a body; the client's own types would leave some of them out."""
    path = "/chat/completions" if kind == "chat" else f"/{kind}"
    rest = {"chat": ASK, "completions": {"prompt": "서울"}}.get(kind, {"input": "서울?"})
    return client.post(path, body={"model": "talker", **rest, **fields}, cast_to=object)


@pytest.mark.parametrize(("kind", "fields"), [
    ("chat", {"modalities": ["text"]}), ("chat", {"store": True, "metadata": {"a": "b"}, "service_tier": "flex"}),
    ("chat", {"user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_options": {}}),
    ("chat", {"prediction": {"type": "content", "content": "맑"}}), ("chat", {"parallel_tool_calls": False}),
    ("chat", {"audio": None, "functions": None, "web_search_options": None}),
    ("chat", {"stream_options": {"include_obfuscation": False}}),
    ("completions", {"suffix": None}), ("completions", {"best_of": 2, "n": 2}),
    ("responses", {"previous_response_id": None, "store": False, "background": False, "conversation": None}),
    ("responses", {"include": ["reasoning.encrypted_content"], "reasoning": {"effort": "low", "summary": "auto"}}),
    ("responses", {"stream_options": {"include_obfuscation": False}, "max_tool_calls": 3}),
    ("embeddings", {"dimensions": None, "user": "u"}),
])
def test_what_changes_nothing_is_taken(client: openai.OpenAI, kind: str, fields: dict[str, Any]):
    assert send(client, kind, fields)["model"] == "talker"


@pytest.mark.parametrize(("kind", "fields", "param", "said"), [
    ("responses", {"previous_response_id": "resp_1"}, "previous_response_id", "send the whole conversation as input"),
    ("responses", {"conversation": "conv_1"}, "conversation", "send the whole conversation as input"),
    ("responses", {"store": True}, "store", "never stored"),
    ("responses", {"background": True}, "background", "stream"),
    ("responses", {"prompt": {"id": "p"}}, "prompt", "as instructions and input"),
    ("responses", {"text": {"verbosity": "low"}}, "verbosity", "say in instructions"),
    ("responses", {"tools": [{"type": "web_search"}]}, "tools", "'web_search', and only functions"),
    ("responses", {"tool_choice": {"type": "mcp"}}, "tool_choice", "'mcp', and only functions"),
    ("chat", {"audio": {"voice": "a"}}, "audio", "text only"),
    ("chat", {"modalities": ["text", "audio"]}, "modalities", "has 'audio', and models here write text only"),
    ("chat", {"web_search_options": {}}, "web_search_options", "nothing is looked up"),
    ("chat", {"functions": [{"name": "f"}]}, "functions", "as tools"),
    ("chat", {"function_call": "auto"}, "function_call", "as tool_choice"),
    ("chat", {"verbosity": "low"}, "verbosity", "system message"),
    ("chat", {"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools", "'custom', and only functions"),
    ("chat", {"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools"}}, "tool_choice", "'allowed_tools'"),
    ("chat", {"stream_options": {"include_obfuscation": True}}, "include_obfuscation", "not offered"),
    ("chat", {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
     "messages", "type image_url, and talker reads text only"),
    ("completions", {"suffix": "."}, "suffix", "fill no gaps"),
    ("completions", {"best_of": 2}, "best_of", "ask for n answers"),
    ("embeddings", {"dimensions": 8}, "dimensions", "not trained to be cut short"),
])
def test_what_is_known_and_not_here_is_refused_by_name(client: openai.OpenAI, kind: str, fields: dict[str, Any],
                                                       param: str, said: str):
    with pytest.raises(openai.BadRequestError) as caught:
        send(client, kind, fields)
    assert caught.value.param == param
    assert param in caught.value.body["message"] or param == "messages"
    assert said in caught.value.body["message"]


@pytest.mark.parametrize(("kind", "fields", "message"), [
    ("responses", {"input": [{"role": "robot", "content": "a"}]},
     "input.0.role: Input should be 'system', 'developer', 'user' or 'assistant'"),
    ("responses", {"input": [{"role": "user"}]}, "input.0.content: Field required"),
    ("responses", {"input": [{"type": "item_reference", "id": "a"}]}, "input.0: an item of another type is not read "
     "here, give those of type message, function_call, function_call_output and reasoning"),
    ("responses", {"top_logprobs": 30}, "top_logprobs: Input should be less than or equal to 20"),
    ("completions", {"prompt": []}, "prompt: List should have at least 1 item after validation, not 0"),
    ("completions", {"prompt": 5}, "prompt: Input should be a valid string"),
    ("chat", {"tools": [FUNCTION], "tool_choice": "any"}, "tool_choice: Input should be 'none', 'auto' or 'required'"),
    ("chat", {"logit_bias": {"a": 1}}, "logit_bias.a: String should match pattern '^[0-9]{1,9}$'"),
    ("chat", {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "strict": 1}}},
     "response_format.json_schema.strict: Input should be a valid boolean"),
    ("chat", {"response_format": {"type": "json_schema"}}, "response_format.json_schema: Field required"),
    ("chat", {"messages": [{"role": "user", "content": [{"text": "a"}]}]}, "messages.0.content.0.type: Field required"),
])
def test_a_wrong_shape_is_told_by_its_place_in_the_body(client: openai.OpenAI, kind: str, fields: dict[str, Any],
                                                        message: str):
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        send(client, kind, fields)
    assert caught.value.body["message"] == message

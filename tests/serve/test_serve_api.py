"""The API over a real socket, with the official client."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator

import httpx
import openai
import pytest
from scripted import Running, Script

from dokja.errors import DokjaError
from dokja.models.model import Model
from dokja.serve import LocalService, create_app
from dokja.serve.engine.engine import Engine
from dokja.serve.engine.sizing import Limits

# NiceGUI looks at every live object; one of torch's complains.
pytestmark = [pytest.mark.timed, pytest.mark.filterwarnings("ignore:.*reduce_op:FutureWarning")]

ASK = [{"role": "user", "content": "안녕하세요?"}]
TEXT = "오늘은 날씨가 좋습니다. 나는 학교에 갑니다."


@pytest.fixture(scope="module")
def service(loaded: Model, other: Model) -> LocalService:
    """The first model is scripted; the second is a real one on the engine."""
    limits = Limits(context=128, tokens=1024, rows=4)
    return LocalService({"k-exaone": Script(loaded, TEXT, limit=2), "vaetki": Engine(other, limits)})


@pytest.fixture(scope="module")
def url(service: LocalService) -> Iterator[str]:
    running = Running(create_app(service, lambda: {"season": "시험", "budget_flops": float("nan")}))
    yield running.url
    running.close()


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20)


@pytest.fixture
def script(service: LocalService) -> Iterator[Script]:
    """What the first model writes."""
    found = service.engines["k-exaone"]
    assert isinstance(found, Script)
    found.given, found.pause, found.fail, found.text = 0, 0.0, None, TEXT
    yield found
    found.pause, found.fail = 0.0, None


def idle(service: LocalService) -> None:
    end = time.monotonic() + 5
    while any(stats.running + stats.waiting for stats in service.stats().values()):
        assert time.monotonic() < end, "an answer goes on for nobody"
        time.sleep(0.01)


def test_one_answer(client: openai.OpenAI, script, loaded: Model):
    answer = client.chat.completions.create(model="k-exaone", messages=ASK, seed=3)
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.prompt_tokens == len(loaded.codec.prompt([("user", "안녕하세요?")]))
    assert answer.usage.completion_tokens == len(loaded.codec.encode(TEXT))
    assert answer.model_extra["seed"] == 3
    assert answer.model_extra["notice"]["generated"] is True


def test_streamed_answer(client: openai.OpenAI, script):
    chunks = list(client.chat.completions.create(model="k-exaone", messages=ASK, stream=True,
                                                 stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == TEXT
    assert len([c for c in chunks if c.choices and c.choices[0].delta.content]) > 5
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.total_tokens == chunks[-1].usage.prompt_tokens + chunks[-1].usage.completion_tokens
    assert len({c.id for c in chunks}) == 1
    assert chunks[0].model_extra["notice"]["generated"] is True


def test_streamed_and_whole_answers_are_the_same_text(client: openai.OpenAI):
    settings = {"model": "vaetki", "messages": ASK, "seed": 5, "max_tokens": 20, "temperature": 0.9, "top_p": 0.9}
    whole = client.chat.completions.create(**settings)
    pieces = list(client.chat.completions.create(**settings, stream=True))
    assert "".join(p.choices[0].delta.content or "" for p in pieces) == whole.choices[0].message.content
    assert pieces[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert whole.model == "vaetki"


def test_length_and_stop_strings(client: openai.OpenAI, script):
    short = client.chat.completions.create(model="k-exaone", messages=ASK, max_completion_tokens=2)
    assert (short.choices[0].finish_reason, short.usage.completion_tokens) == ("length", 2)
    stopped = client.chat.completions.create(model="k-exaone", messages=ASK, stop=["좋습"])
    assert stopped.choices[0].message.content == "오늘은 날씨가 "
    assert stopped.choices[0].finish_reason == "stop"


def test_models_say_what_they_are(client: openai.OpenAI):
    models = client.models.list().data
    assert [model.id for model in models] == ["k-exaone", "vaetki"]
    about = client.models.retrieve("vaetki").model_extra["about"]
    assert (about["team"], about["company"], about["rank"]) == ("VAETKI", "NC AI", 2)
    assert "not the company's model" in about["statement"]
    assert about["parameters"] > about["active_parameters"] > 0
    assert about["attention"].startswith("MLA ")


def test_generated_text_is_marked(url: str):
    for stream in (False, True):
        answer = httpx.post(f"{url}/v1/chat/completions", json={"messages": ASK, "max_tokens": 2, "stream": stream})
        assert answer.headers["X-AI-Generated"] == "true"
    assert "X-AI-Generated" not in httpx.get(f"{url}/health").headers


@pytest.mark.parametrize(("changes", "kind", "code", "said"), [
    ({"model": "gpt"}, openai.NotFoundError, "model_not_found", "choose from k-exaone, vaetki"),
    ({"messages": [{"role": "user", "content": "가" * 1000}]}, openai.BadRequestError, "context_length_exceeded",
     "too long"),
    ({"messages": [{"role": "assistant", "content": "네"}]}, openai.BadRequestError, None, "must end with"),
    ({"messages": []}, openai.UnprocessableEntityError, None, "messages"),
    ({"messages": [{"role": "robot", "content": "네"}]}, openai.UnprocessableEntityError, None, "role"),
    ({"temperature": 9}, openai.UnprocessableEntityError, None, "temperature"),
    ({"max_tokens": 0}, openai.UnprocessableEntityError, None, "max_tokens"),
    ({"stop": ["a"] * 5}, openai.UnprocessableEntityError, None, "stop"),
    ({"extra_body": {"best_of": 3}}, openai.BadRequestError, "unknown_parameter", "best_of"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
     openai.BadRequestError, "unsupported_content", "image_url"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, openai.BadRequestError, "unsupported_parameter",
     "no tools"),
    ({"reasoning_effort": "high"}, openai.BadRequestError, "unsupported_value", "no reasoning"),
])
def test_errors_have_openai_shape(client: openai.OpenAI, changes, kind, code, said):
    with pytest.raises(kind) as caught:
        client.chat.completions.create(**{"model": "k-exaone", "messages": ASK, **changes})
    assert caught.value.code == code
    assert said in caught.value.body["message"]
    assert set(caught.value.body) == {"message", "type", "param", "code"}


def test_bodies_that_are_no_request(url: str):
    post = lambda content: httpx.post(f"{url}/v1/chat/completions", content=content)
    deep = b"[" * 20_000 + b"]" * 20_000
    for content, why in [(b"{", "EOF while parsing"), (b'{"a": "\xff"}', "invalid unicode"), (deep, "recursion limit"),
                         (b'{"temperature": NaN}', "expected value"), (b'{"user": "\\ud800"}', "hex escape")]:
        answer = post(content)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "invalid_json"
        assert why in answer.json()["error"]["message"]
    assert post(b"[]").status_code == 422
    assert post(b" " * 5_000_000).status_code == 413
    assert httpx.get(f"{url}/v1/nothing").json()["error"]["code"] == "unknown_url"
    assert httpx.get(f"{url}/v1/chat/completions").status_code in (404, 405)


def test_habits_of_clients_are_accepted(client: openai.OpenAI, script):
    answer = client.chat.completions.create(
        model="k-exaone", n=1, user="누구", presence_penalty=0, temperature=0,
        messages=[{"role": "system", "content": "짧게"},
                  {"role": "user", "content": [{"type": "text", "text": "안녕"}]}])
    assert answer.choices[0].message.content == TEXT


def test_a_full_queue_is_429(client: openai.OpenAI, url: str, service: LocalService, script: Script):
    script.pause = 0.05
    streams = [client.chat.completions.create(model="k-exaone", messages=ASK, stream=True) for _ in range(2)]
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="k-exaone", messages=ASK)
    assert caught.value.code == "queue_full"
    assert caught.value.response.headers["Retry-After"]
    assert httpx.get(f"{url}/health").json()["load"] == 2
    for stream in streams:
        stream.close()
    idle(service)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_model(url: str, service: LocalService, script: Script, stream: bool):
    script.pause = 0.05
    body = json.dumps({"messages": ASK, "stream": stream}).encode()
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as raw:
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        end = time.monotonic() + 5
        while script.given < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
    idle(service)
    assert script.given < 10


def test_a_failure_is_told_inside_a_stream(url: str, script: Script):
    script.fail = DokjaError("the model broke")
    lines = httpx.post(f"{url}/v1/chat/completions", json={"messages": ASK, "stream": True}).text.split("\n\n")
    assert json.loads(lines[-2].removeprefix("data: "))["error"]["message"] == "the model broke"


def test_board_and_health(url: str):
    assert httpx.get(f"{url}/api/board").json() == {"season": "시험", "budget_flops": None}
    assert httpx.get(f"{url}/health").json()["model"] == "k-exaone"


def test_pages_load_nothing_from_elsewhere(url: str):
    for path in ("/", "/board"):
        page = httpx.get(url + path, headers={"Accept-Language": "ko"})
        assert page.status_code == 200
        for attribute in ('src="http', 'href="http', "@import url(\"http"):
            assert attribute not in page.text


def test_without_a_model_there_is_the_board_only():
    app = create_app(None, lambda: {"season": "시험"})

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return [await client.get("/health"), await client.get("/api/board"), await client.get("/v1/models"),
                    await client.post("/v1/chat/completions", json={"messages": ASK}),
                    await client.get("/", headers={"Accept-Language": "ko"})]

    health, board, models, chat, page = asyncio.run(run())
    assert "아직 답할 모델이 없습니다" in page.text
    assert health.json()["model"] is None
    assert board.json() == {"season": "시험"}
    assert models.status_code == chat.status_code == 503
    assert chat.json()["error"]["code"] == "model_not_ready"

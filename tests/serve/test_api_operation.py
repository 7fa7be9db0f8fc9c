"""What an operator sees and sets: keys, limits, sizes, ids, logs, metrics, the end of the process."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families
from scripted import Running, Script

from dokja.errors import DokjaError
from dokja.models.model import Model
from dokja.serve import LocalService, Settings, create_app
from dokja.serve.api.keys import Bucket, find_key, read_keys
from dokja.serve.api.logs import JsonLines

pytestmark = pytest.mark.timed

ASK = {"messages": [{"role": "user", "content": "안녕하세요?"}]}
TEXT = "오늘은 날씨가 좋습니다."


@pytest.fixture
def script(loaded: Model) -> Script:
    return Script(loaded, TEXT, limit=2)


def calls(script: Script, settings: Settings, *requests: dict) -> list[httpx.Response]:
    """Answers to requests, made one after another to a fresh app."""
    app = create_app(LocalService({"pocket": script}), lambda: None, settings=settings)

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return [await client.request(**{"method": "POST", "url": "/v1/chat/completions", "json": ASK, **request})
                    for request in requests]

    return asyncio.run(run())


def keys(tmp_path: Path, text: str):
    file = tmp_path / "keys"
    file.write_text(text, encoding="utf-8")
    return read_keys(file, {})


def bearer(key: str) -> dict:
    return {"headers": {"Authorization": f"Bearer {key}"}}


def test_keys_are_asked_for(script: Script, tmp_path: Path):
    settings = Settings(keys=keys(tmp_path, "# ours\nsk-one 김철수\nsk-two\n"), pages=False)
    none, wrong, one, two, health, basic = calls(
        script, settings, {}, bearer("sk-three"), bearer("sk-one"), bearer("sk-two"),
        {"method": "GET", "url": "/health"}, {"headers": {"Authorization": "Basic sk-one"}})
    assert [answer.status_code for answer in (none, wrong, one, two, health, basic)] == [401, 401, 200, 200, 200, 401]
    assert none.json()["error"]["code"] == wrong.json()["error"]["code"] == "invalid_api_key"
    assert none.headers["WWW-Authenticate"] == "Bearer"
    assert "missing" in none.json()["error"]["message"]
    for path in ("/v1/models", "/tokenize", "/detokenize", "/v1/completions", "/v1/nothing"):
        assert calls(script, settings, {"url": path})[0].status_code == 401


def test_keys_of_the_environment_and_of_files(tmp_path: Path):
    found = read_keys(None, {"DOKJA_API_KEYS": "a, b"})
    assert [find_key(found, f"Bearer {text}") is not None for text in "abc"] == [True, True, False]
    [key] = keys(tmp_path, "sk-secret name requests=5 tokens=1000")
    assert (key.name, key.requests_a_minute, key.tokens_a_minute) == ("name", 5, 1000)
    assert "sk-secret" not in repr(key)
    for wrong in ("sk-secret requests=x", "sk-secret a b", "sk-secret speed=3", "# nothing"):
        with pytest.raises(DokjaError) as caught:
            keys(tmp_path, wrong)
        assert "sk-secret" not in str(caught.value)
    with pytest.raises(DokjaError, match="cannot be read"):
        read_keys(tmp_path / "none", {})


def test_requests_a_minute(script: Script, tmp_path: Path):
    settings = Settings(keys=keys(tmp_path, "sk-one requests=2\nsk-two\n"), pages=False)
    first, second, third, other = calls(script, settings, *[bearer("sk-one")] * 3, bearer("sk-two"))
    assert [first.status_code, second.status_code, third.status_code, other.status_code] == [200, 200, 429, 200]
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert 0 < int(third.headers["Retry-After"]) <= 30
    assert third.json()["error"]["code"] == "rate_limit_exceeded"
    assert "x-ratelimit-limit-requests" not in other.headers


def test_tokens_a_minute(script: Script):
    first, second = calls(script, Settings(tokens_a_minute=5, pages=False), {}, {})
    assert (first.status_code, second.status_code) == (200, 429)
    assert second.headers["x-ratelimit-remaining-tokens"] == "0"
    assert "5 tokens a minute" in second.json()["error"]["message"]
    used = first.json()["usage"]["total_tokens"]
    assert abs(int(second.headers["Retry-After"]) - (used - 5 + 1) * 60 / 5) <= 1


def test_a_bucket_refills_evenly():
    now = 0.0
    bucket = Bucket(60, clock=lambda: now)
    bucket.take(60)
    assert bucket.wait(1) == 1
    now = 10.0
    assert bucket.level == 10
    now = 1000.0
    assert bucket.level == 60


def test_the_queue_is_full(script: Script):
    script.limit = 0
    [answer] = calls(script, Settings(pages=False), {})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
    assert answer.headers["Retry-After"]


def test_bodies_over_the_limit(script: Script):
    async def pieces():
        for _ in range(10):
            yield b" " * 200

    settings = Settings(body_limit=1000, pages=False)
    told, untold = calls(script, settings, {"json": None, "content": b" " * 2000},
                         {"json": None, "content": pieces(), "headers": {"Content-Type": "application/json"}})
    assert told.status_code == untold.status_code == 413
    assert "over 1,000 bytes" in told.json()["error"]["message"]


def test_request_ids(script: Script):
    given, strange, none = calls(script, Settings(pages=False), {"headers": {"X-Request-Id": "abc-1"}},
                                 {"headers": {"X-Request-Id": "a b"}}, {})
    assert given.headers["X-Request-Id"] == "abc-1"
    assert given.json()["id"] == "chatcmpl-abc-1"
    assert strange.headers["X-Request-Id"] != "a b"
    assert len(none.headers["X-Request-Id"]) == 32
    assert script.asked[0].id == "abc-1"


def test_a_line_of_json_for_each_request(script: Script, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    settings = Settings(keys=keys(tmp_path, "sk-one 김철수"), pages=False)
    with caplog.at_level(logging.INFO, "dokja.serve.requests"):
        calls(script, settings, {"headers": {"X-Request-Id": "abc", **bearer("sk-one")["headers"]}}, {})
    done, refused = (json.loads(JsonLines().format(record)) for record in caplog.records)
    assert (done["request_id"], done["key"], done["status"], done["model"]) == ("abc", "김철수", 200, "pocket")
    assert done["completion_tokens"] == len(script.model.codec.encode(TEXT))
    assert done["seconds"] > 0
    assert refused["status"] == 401
    assert "sk-one" not in caplog.text


def test_metrics(script: Script):
    *_, found = calls(script, Settings(pages=False), {}, {"json": {}}, {"method": "GET", "url": "/metrics"})
    values = {(sample.name, *sorted(sample.labels.values())): sample.value
              for family in text_string_to_metric_families(found.text) for sample in family.samples}
    assert values["dokja_request_success_total", "pocket", "stop"] == 1
    assert values["dokja_http_requests_total", "/v1/chat/completions", "200", "POST"] == 1
    assert values["dokja_http_requests_total", "/v1/chat/completions", "422", "POST"] == 1
    assert values["dokja_time_to_first_token_seconds_count", "pocket"] == 1
    assert values["dokja_e2e_request_latency_seconds_count", "pocket"] == 1
    assert values["dokja_request_generation_tokens_sum", "pocket"] == len(script.model.codec.encode(TEXT))
    assert values["dokja_inter_token_latency_seconds_count", "pocket"] > 3
    assert values["dokja_num_requests_running", "pocket"] == 0
    assert ("dokja_kv_cache_usage_perc", "pocket") in values


def test_a_failure_of_ours_is_one_sentence_and_the_server_goes_on(script: Script):
    script.fail = ValueError("secret")
    running = Running(create_app(LocalService({"pocket": script}), lambda: None, settings=Settings(pages=False)))
    try:
        broken = httpx.post(f"{running.url}/v1/chat/completions", json=ASK)
        assert broken.status_code == 500
        assert broken.json()["error"]["code"] == "internal_error"
        assert "secret" not in broken.text
        events = httpx.post(f"{running.url}/v1/chat/completions", json={**ASK, "stream": True}).text
        assert "internal_error" in events
        assert "secret" not in events
        script.fail = None
        assert httpx.post(f"{running.url}/v1/chat/completions", json=ASK).status_code == 200
    finally:
        running.close()


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from dokja.models.folder import load_folder
from scripted import Script
from dokja.serve import LocalService, Settings, create_app, serve
script = Script(load_folder(Path({folder!r})), {text!r})
script.pause = 0.1
serve(create_app(LocalService({{"pocket": script}}), lambda: None, settings=Settings(pages=False)), port=0, grace=10)
"""


def test_sigterm_lets_streams_end_and_takes_nothing_new(tmp_path: Path):
    from pocket_models import make_folder

    program = PROGRAM.format(tests=str(Path(__file__).parent), folder=str(make_folder(tmp_path / "m")), text=TEXT)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[3]
            client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=20)
            stream = client.chat.completions.create(model="pocket", stream=True, **ASK)
            text = next(stream).choices[0].delta.content + (next(stream).choices[0].delta.content or "")
            process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            with pytest.raises(httpx.TransportError):
                httpx.get(f"{url}/health")
            text += "".join(chunk.choices[0].delta.content or "" for chunk in stream)
            _, errors = process.communicate(timeout=15)
        finally:
            process.kill()
    assert text == TEXT
    assert process.returncode == 0
    assert errors == ""

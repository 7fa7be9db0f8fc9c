"""Hundreds of streams at once, readers that leave, bodies that are none: no crash, no page lost, no answer mixed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator

import httpx
import openai
import pytest
from scripted import Running

from dokja.models.model import Model
from dokja.serve import LocalService, Settings, create_app
from dokja.serve.engine.engine import Engine
from dokja.serve.engine.sizing import Limits

pytestmark = pytest.mark.timed

KINDS = 12  # different requests
BODIES = (b"{", b"[]", b"", b"\xff\xfe", b'{"messages": 3}',
          b'{"messages": [{"role": "user", "content": "' + b"x" * 3000,
          b'{"prompt": "' + "가".encode() * 5000 + b'"}', b" " * 100_000, b'{"messages": ' + b"[" * 50_000)


@pytest.fixture(scope="module")
def service(loaded: Model) -> LocalService:
    # Fewer pages than all could hold at once: some must wait, and some are put back.
    return LocalService({"pocket": Engine(loaded, Limits(context=128, tokens=800, rows=16, budget=64), queue=2000)})


@pytest.fixture(scope="module")
def url(service: LocalService) -> Iterator[str]:
    running = Running(create_app(service, lambda: None, settings=Settings(pages=False, body_limit=50_000)))
    yield running.url
    running.close()


def ask(kind: int) -> dict:
    """One of KINDS requests, greedy or drawn, each with an answer of its own."""
    return {"model": "pocket", "seed": kind, "temperature": 0.8 * (kind % 3 > 0), "max_tokens": 12 + kind,
            "messages": [{"role": "user", "content": f"{kind}번 " + "학교에 갑니다. " * (kind % 4)}]}


async def stream(client: openai.AsyncOpenAI, kind: int, leave_after: int | None = None) -> str:
    text, pieces = "", 0
    answer = await client.chat.completions.create(**ask(kind), stream=True)
    async for chunk in answer:
        text += chunk.choices[0].delta.content or ""
        pieces += 1
        if pieces == leave_after:
            await answer.close()
            return "left"
    return text


async def bad(client: httpx.AsyncClient, number: int) -> int:
    path = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings")[number % 4]
    answer = await client.post(path, content=BODIES[number % len(BODIES)], headers={"Content-Type": "application/json"})
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    return answer.status_code


async def crowd(url: str, streams: int, rude: int) -> None:
    """Streams, readers that leave in the middle, and bad requests, in one random order."""
    draw = random.Random(4)
    many = httpx.Limits(max_connections=None)
    async with (openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=300,
                                   http_client=httpx.AsyncClient(limits=many, timeout=300)) as client,
                httpx.AsyncClient(base_url=url, timeout=300, limits=many) as plain):
        alone = [await stream(client, kind) for kind in range(KINDS)]
        assert len(set(alone)) > KINDS // 2

        async def polite(kind: int) -> None:
            assert await stream(client, kind) == alone[kind]

        work = [polite(number % KINDS) for number in range(streams)]
        work += [stream(client, draw.randrange(KINDS), draw.randrange(1, 8)) for _ in range(rude)]
        work += [bad(plain, number) for number in range(rude)]
        draw.shuffle(work)
        done = await asyncio.gather(*work)
        assert {status for status in done if isinstance(status, int)} <= {400, 413, 422}


def idle(service: LocalService) -> None:
    """Nothing runs, and every page is free again."""
    end = time.monotonic() + 10
    while (stats := service.stats()["pocket"]).running + stats.waiting:
        assert time.monotonic() < end, stats
        time.sleep(0.01)
    assert stats.pages_free == stats.pages_total > 0


def test_a_crowd(url: str, service: LocalService):
    asyncio.run(crowd(url, streams=200, rude=60))
    idle(service)
    assert httpx.get(f"{url}/health").json()["load"] == 0


@pytest.mark.slow
def test_a_large_crowd(url: str, service: LocalService):
    for _ in range(3):
        asyncio.run(crowd(url, streams=700, rude=250))
        idle(service)

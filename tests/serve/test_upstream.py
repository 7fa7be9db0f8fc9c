"""Another server as the models: our text layer over an OpenAI-compatible endpoint, which here is ours."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import uvicorn

from dokja.errors import DokjaError
from dokja.models.model import Model
from dokja.serve import LocalService, Settings, create_app, start
from dokja.serve.api.keys import read_keys
from dokja.serve.engine.types import Grammar
from dokja.serve.errors import BadRequestError, UnknownError
from dokja.serve.service import Answer, ChatAsk, CompletionAsk, Content, End, Options, Service
from dokja.serve.upstream import UpstreamService

pytestmark = pytest.mark.timed

ASK = ChatAsk([{"role": "user", "content": "안녕하세요?"}], options=Options(max_tokens=12, seed=5))


@dataclass
class Endpoint:
    url: str
    local: LocalService


@pytest.fixture(scope="module")
def endpoint(loaded: Model, other: Model) -> Iterator[Endpoint]:
    service = start({"first": loaded, "second": other})
    settings = Settings(keys=read_keys(None, {"DOKJA_API_KEYS": "secret"}), pages=False)
    app = create_app(service, lambda: None, settings=settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield Endpoint(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", service)
        server.should_exit = True
        thread.join()


@pytest.fixture
def upstream(endpoint: Endpoint) -> UpstreamService:
    return UpstreamService(endpoint.url, key="secret")


async def read(answer: Answer) -> tuple[str, End]:
    pieces = [piece async for piece in answer]
    assert isinstance(pieces[-1], End)
    return "".join(piece.text for piece in pieces if isinstance(piece, Content)), pieces[-1]


def test_an_answer_is_the_endpoints_own(upstream: UpstreamService, endpoint: Endpoint) -> None:
    assert list(upstream.models()) == ["first", "second"]
    asks = [ChatAsk(ASK.messages, name, Options(max_tokens=12, seed=5, top_k=20, repetition_penalty=1.1))
            for name in upstream.models()]

    async def answers(service: Service) -> list[tuple[str, End]]:
        return [await read(await service.chat(ask)) for ask in asks]

    for (text, end), (expected, theirs) in zip(asyncio.run(answers(upstream)), asyncio.run(answers(endpoint.local)),
                                               strict=True):
        assert text == expected
        assert text
        assert (end.finish, end.usage.completion) == (theirs.finish, theirs.usage.completion)


def test_logprobs_and_formats_go_through(upstream: UpstreamService) -> None:
    async def run() -> tuple[list[Content], str]:
        told = await upstream.chat(ChatAsk(ASK.messages, options=Options(max_tokens=4, seed=1, logprobs=2)))
        pieces = [piece async for piece in told if isinstance(piece, Content)]
        chosen = await upstream.chat(ChatAsk(ASK.messages, options=Options(
            max_tokens=30, grammar=Grammar("choice", '["예", "아니요"]'))))
        return pieces, (await read(chosen))[0]

    pieces, chosen = asyncio.run(run())
    entries = [entry for piece in pieces for entry in piece.logprobs]
    assert len(entries) == 4
    assert all(entry.logprob <= 0 and len(entry.top) == 2 for entry in entries)
    assert chosen in ("예", "아니요")


def test_text_tokens_and_vectors(upstream: UpstreamService, endpoint: Endpoint) -> None:
    async def run(service: Service) -> tuple[object, ...]:
        text, _ = await read(await service.complete(CompletionAsk("책은", options=Options(max_tokens=6, seed=2))))
        ids = (await service.tokenize(None, "나는 학교에 갑니다.")).ids
        vectors, count = await service.embed(None, ["책은", "나는"])
        return text, ids, await service.detokenize(None, ids), count, [len(vector) for vector in vectors]

    assert asyncio.run(run(upstream)) == asyncio.run(run(endpoint.local))


def test_stopping_ends_the_endpoints_work(upstream: UpstreamService, endpoint: Endpoint) -> None:
    async def run() -> End:
        answer = await upstream.chat(ChatAsk(ASK.messages, options=Options(ignore_eos=True, seed=3)))
        pieces = []
        async for piece in answer:
            pieces.append(piece)
            answer.stop()
        return pieces[-1]

    assert asyncio.run(run()).finish == "cancelled"
    deadline = time.monotonic() + 10
    while endpoint.local.stats()["first"].running and time.monotonic() < deadline:
        time.sleep(0.05)
    assert endpoint.local.stats()["first"].running == 0


def test_refusals_are_the_endpoints_own_words(upstream: UpstreamService) -> None:
    with pytest.raises(UnknownError, match="first, second"):
        asyncio.run(upstream.chat(ChatAsk(ASK.messages, "third")))
    with pytest.raises(BadRequestError):
        asyncio.run(upstream.chat(ChatAsk([{"role": "user", "content": ""}])))


def test_an_endpoint_that_is_not_there_is_one_sentence(endpoint: Endpoint) -> None:
    with pytest.raises(DokjaError, match="cannot be reached"):
        UpstreamService("http://127.0.0.1:9/v1")
    with pytest.raises(DokjaError, match="status 401"):
        UpstreamService(endpoint.url, key="wrong")
    with pytest.raises(DokjaError, match="has no model 'third'"):
        UpstreamService(endpoint.url, key="secret", names=["third"])

"""Structured output through the whole engine: many requests, drafts, errors on the way."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from pocket_models import make_model

from dokja.models.model import Model
from dokja.serve import LocalService
from dokja.serve.engine import grammar
from dokja.serve.engine.engine import Engine
from dokja.serve.engine.sizing import Limits
from dokja.serve.engine.types import Grammar, Request, SamplingParams, Stats
from dokja.serve.errors import BadRequestError
from dokja.serve.service import CompletionAsk, Content, Options

SCHEMA = {"type": "object", "properties": {"도시의 이름": {"enum": ["서울", "부산"]}, "나이": {"type": "integer",
          "minimum": 0, "maximum": 99}}, "required": ["도시의 이름", "나이"], "additionalProperties": False}
GRAMMARS = [Grammar("json_schema", json.dumps(SCHEMA)), Grammar("regex", "[0-9]{2}-[가나다]{2}"),
            Grammar("choice", '["예", "아니오"]'), None]
LIMITS = Limits(context=128, tokens=1000, rows=6, budget=32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder: Path = tmp_path_factory.mktemp("grammar")
    return make_model(folder / "model")


def ask(model: Model, requests: list[Request], *, speculate: bool) -> tuple[list[str | BaseException], Stats]:
    """The texts of the answers (or the errors), and the engine's counters after them."""
    engine = Engine(model, LIMITS, speculate=speculate)

    async def one(request: Request) -> str:
        tokens: list[int] = []
        async for step in engine.submit(request):
            tokens += step.tokens
            finish = step.finish
        assert finish in ("stop", "length")
        assert model.tokenizer is not None
        return model.tokenizer.decode(tokens) if finish == "stop" else ""

    async def every() -> list[str | BaseException]:
        return await asyncio.gather(*map(one, requests), return_exceptions=True)

    try:
        return asyncio.run(every()), engine.stats()
    finally:
        engine.close()


def test_a_grammar_that_takes_long_to_compile_holds_up_nobody(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    on, of = threading.Event(), grammar._source

    def slow(asked: Grammar) -> str:
        assert on.wait(20), "the event loop stands still while a grammar is compiled"
        return of(asked)

    async def several(service: LocalService) -> str:
        options = Options(max_tokens=50, seed=1, grammar=Grammar("choice", '["예", "아니오"]'))
        constrained = asyncio.ensure_future(service.complete(CompletionAsk("안녕", options=options)))
        text = "".join([piece.text async for piece in await service.complete(
            CompletionAsk("안녕", options=Options(max_tokens=3, seed=1))) if isinstance(piece, Content)])
        assert not constrained.done()
        on.set()
        with pytest.raises(BadRequestError, match="it is no JSON"):
            await service.complete(CompletionAsk("안녕", options=replace(options, grammar=Grammar("json_schema", "{"))))
        pieces = [piece.text async for piece in await constrained if isinstance(piece, Content)]
        assert "".join(pieces) in ("예", "아니오")
        return text

    monkeypatch.setattr(grammar, "_source", slow)
    service = LocalService({"m": Engine(model, LIMITS)})
    try:
        assert asyncio.run(several(service))
    finally:
        service.close()


def test_every_answer_keeps_to_its_own_grammar(model: Model) -> None:
    requests = [Request(f"r{i}", (1, 2, 3 + i), SamplingParams(
        max_tokens=100, temperature=1.5, seed=i, stop=model.stop, grammar=GRAMMARS[i % 4])) for i in range(12)]
    plain, _ = ask(model, requests, speculate=False)
    drafted, stats = ask(model, requests, speculate=True)
    assert plain == drafted
    assert 0 < stats.accepted <= stats.drafted
    assert stats.pages_free == stats.pages_total
    for i, text in enumerate(plain):
        assert isinstance(text, str)
        if i % 4 == 0 and text:
            jsonschema.validate(json.loads(text), SCHEMA)
        elif i % 4 == 1:
            assert re.fullmatch("[0-9]{2}-[가나다]{2}", text)
        elif i % 4 == 2:
            assert text in ("예", "아니오")
    assert any(plain[0::4])


def test_a_schema_that_does_not_compile_is_refused_at_once_and_one_that_grows_too_big_ends_alone(model: Model) -> None:
    wide = {f"k{i}{j}": {"type": "string", "pattern": f".*{j}.{{{i}}}"} for i in range(100) for j in range(10)}
    heavy = {"anyOf": [{"type": "object", "properties": wide, "required": [name]} for name in list(wide)[:3]]}
    grammars = [Grammar("json_schema", '{"type": "foo"}'), Grammar("json_schema", json.dumps(heavy)), GRAMMARS[2]]
    requests = [Request(f"r{i}", (1, 2), SamplingParams(max_tokens=60, seed=i, stop=model.stop, grammar=grammar))
                for i, grammar in enumerate(grammars)]
    (invalid, too_much, fine), stats = ask(model, requests, speculate=True)
    assert isinstance(invalid, BadRequestError)
    assert isinstance(too_much, BadRequestError)
    assert fine in ("예", "아니오")
    assert stats.pages_free == stats.pages_total

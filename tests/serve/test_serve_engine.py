"""The engine: order, limits, cancellation."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from dokja.models.model import Model
from dokja.serve import Engine, Options
from dokja.serve import old_engine as engine_module
from dokja.serve.errors import BadRequestError, BusyError, UnavailableError, UnknownError

ASK = [("user", "안녕")]


class Script:
    """Stands for the model: gives the tokens of a text, each when it is let go (at once unless `held`)."""

    def __init__(self, loaded: Model, text: str, *, held: bool = False) -> None:
        self.ids = loaded.codec.encode(text)
        self.gate = threading.Semaphore(0 if held else 10**6)
        self.started = 0
        self.given = 0
        self.closed = 0

    def __call__(self, model, prompt, sampling) -> Iterator[int]:
        self.started += 1
        try:
            for token in self.ids[: sampling.max_tokens]:
                assert self.gate.acquire(timeout=5)
                self.given += 1
                yield token
        finally:
            self.closed += 1


async def collect(answer):
    deltas = [delta async for delta in answer]
    return "".join(delta.text for delta in deltas), deltas[-1] if deltas else None


async def until(condition) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "waited too long"
        await asyncio.sleep(0.005)


def test_same_seed_same_text_and_other_seed_other_text(loaded: Model):
    async def run(seed: int) -> str:
        return (await collect(Engine({"m": loaded}).stream(None, ASK, Options(seed=seed, max_tokens=30))))[0]

    first, again, different = (asyncio.run(run(seed)) for seed in (1, 1, 2))
    assert first == again != different


def test_the_seed_that_was_drawn_is_told(loaded: Model):
    async def run() -> tuple[str, str]:
        engine = Engine({"m": loaded})
        drawn = engine.stream(None, ASK, Options(max_tokens=20))
        text = (await collect(drawn))[0]
        return text, (await collect(engine.stream(None, ASK, Options(max_tokens=20, seed=drawn.seed))))[0]

    text, again = asyncio.run(run())
    assert text == again


def test_finish_tells_length_from_stop(loaded: Model, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine_module, "stream", Script(loaded, "반갑습니다."))

    async def run(options: Options):
        return await collect(Engine({"m": loaded}).stream("m", ASK, options))

    text, last = asyncio.run(run(Options()))
    assert (text, last.finish) == ("반갑습니다.", "stop")
    text, last = asyncio.run(run(Options(max_tokens=1)))
    assert (last.finish, last.tokens) == ("length", 1)
    text, last = asyncio.run(run(Options(stop=("습",))))
    assert (text, last.finish) == ("반갑", "stop")


def test_markers_end_an_answer(loaded: Model, monkeypatch: pytest.MonkeyPatch):
    stops: set[int] = set()

    def silent(model, prompt, sampling) -> Iterator[int]:
        stops.update(sampling.stop)
        yield from ()

    monkeypatch.setattr(engine_module, "stream", silent)

    async def run() -> None:
        await collect(Engine({"m": loaded}).stream("m", ASK, Options()))

    asyncio.run(run())
    codec = loaded.codec
    user, assistant = map(codec.tokenizer.token_to_id, ("<|user|>", "<|assistant|>"))
    assert stops == {codec.end_of_text, codec.end_of_turn, user, assistant}


def test_what_cannot_be_answered_is_refused_before_streaming(loaded: Model):
    async def run() -> Engine:
        engine = Engine({"m": loaded, "n": loaded})
        with pytest.raises(UnknownError, match="unknown model 'x': choose from m, n"):
            engine.stream("x", ASK, Options())
        with pytest.raises(BadRequestError, match="too long"):
            engine.stream("m", [("user", "가" * 1000)], Options())
        return engine

    assert asyncio.run(run()).load == 0
    with pytest.raises(UnavailableError):
        Engine({})


def test_one_at_a_time_and_no_more_than_the_queue(loaded: Model, monkeypatch: pytest.MonkeyPatch):
    script = Script(loaded, "안녕하세요?", held=True)
    monkeypatch.setattr(engine_module, "stream", script)

    async def run() -> None:
        engine = Engine({"m": loaded}, queue=2)
        answers = [engine.stream("m", ASK, Options()) for _ in range(3)]
        with pytest.raises(BusyError, match="try again"):
            engine.stream("m", ASK, Options())
        await until(lambda: script.started)
        assert script.started == 1
        script.gate.release(1000)
        assert [(await collect(answer))[0] for answer in answers] == ["안녕하세요?"] * 3
        await until(lambda: engine.load == 0)
        await collect(engine.stream("m", ASK, Options()))

    asyncio.run(run())


def test_stopping_ends_the_reading_and_the_work(loaded: Model, monkeypatch: pytest.MonkeyPatch):
    script = Script(loaded, "오늘은 날씨가 좋습니다." * 5, held=True)
    monkeypatch.setattr(engine_module, "stream", script)

    async def run() -> None:
        engine = Engine({"m": loaded}, queue=1)
        running, waiting = (engine.stream("m", ASK, Options()) for _ in range(2))
        script.gate.release(3)
        await anext(running)
        waiting.stop()
        await until(lambda: engine.load == 1)  # one that waits leaves the queue at once
        assert await collect(waiting) == ("", None)
        running.stop()
        await collect(running)
        script.gate.release(1)
        await until(lambda: engine.load == 0)
        assert script.closed == script.started == 1
        assert script.given <= 5

    asyncio.run(run())


def test_an_answer_that_nobody_reads_frees_its_place(loaded: Model):
    async def run() -> None:
        engine = Engine({"m": loaded}, queue=0)
        engine.stream("m", ASK, Options(max_tokens=3))
        await until(lambda: engine.load == 0)

    asyncio.run(run())


def test_a_failing_model_is_an_error_for_the_reader_and_the_engine_goes_on(loaded: Model,
                                                                          monkeypatch: pytest.MonkeyPatch):
    def broken(model, prompt, sampling) -> Iterator[int]:
        yield 40
        raise RuntimeError("broken")

    async def run() -> None:
        engine = Engine({"m": loaded})
        with monkeypatch.context() as patch:
            patch.setattr(engine_module, "stream", broken)
            with pytest.raises(RuntimeError, match="broken"):
                await collect(engine.stream("m", ASK, Options()))
        await until(lambda: engine.load == 0)
        assert (await collect(engine.stream("m", ASK, Options(max_tokens=2))))[1].finish

    asyncio.run(run())


def test_stop_all(loaded: Model, monkeypatch: pytest.MonkeyPatch):
    script = Script(loaded, "오늘은 날씨가 좋습니다.", held=True)
    monkeypatch.setattr(engine_module, "stream", script)

    async def run() -> None:
        engine = Engine({"m": loaded})
        answer = engine.stream("m", ASK, Options())
        await until(lambda: script.started)
        engine.stop_all()
        assert await collect(answer) == ("", None)
        script.gate.release(1)
        await until(lambda: engine.load == 0)

    asyncio.run(run())

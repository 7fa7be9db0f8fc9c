"""Dokja's server with its pages, as `dokja serve` starts it: `python dokja_server.py FOLDER THREADS PORT`.

On standard input and output (protocol.py) it also says what its steps spent, and runs the engine without HTTP.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from protocol import serve

import dokja
import dokja.serve as room
from dokja.serve.engine.engine import Engine
from dokja.serve.engine.types import Request, SamplingParams
from dokja.serve.start import Setup, start


class Noted(NamedTuple):
    """One step; see `Watch`."""

    begin: float
    http: float
    seconds: float
    network: float
    tokens: int


class Watch:
    """Notes of every step of an engine: when it began, the HTTP thread's processor time then, how long it took, how
    much of that the network did, and how many tokens it was over."""

    def __init__(self, engine: Engine) -> None:
        self.steps: list[Noted] = []
        self.http: Callable[[], float] = lambda: 0.0  # seconds of the HTTP thread so far
        self._network, self._tokens = 0.0, 0
        core = engine._core
        run, logits, step = core.runner.run, core.runner.logits, core.step

        def timed(call: Callable[..., Any]) -> Callable[..., Any]:
            def network(*given: Any) -> Any:
                begin = time.perf_counter()
                result = call(*given)
                self._network += time.perf_counter() - begin
                return result

            return network

        def counted(works: Any) -> Any:
            self._tokens += sum(work.size for work in works)
            return run(works)

        def watched() -> Any:
            self._network, self._tokens = 0.0, 0
            begin, http = time.perf_counter(), self.http()
            events = step()
            if self._tokens:
                self.steps.append(Noted(begin, http, time.perf_counter() - begin, self._network, self._tokens))
            return events

        core.runner.run, core.runner.logits = timed(counted), timed(logits)  # type: ignore[method-assign]
        core.step = watched  # type: ignore[method-assign]


class Server:
    """A model behind the application."""

    def __init__(self, folder: str, threads: int, port: int) -> None:
        torch.set_num_threads(threads)
        service = start({"model": dokja.load(folder)}, Setup("int8", kv_memory=4 << 30, context=2048))
        engine = service.engines["model"]
        assert isinstance(engine, Engine)
        self.engine, self.watch = engine, Watch(engine)
        self.app, self.port = room.create_app(service, lambda: None), port

    def listen(self) -> None:
        """Begin to answer over HTTP."""
        self.http = threading.Thread(target=room.serve, args=(self.app, "127.0.0.1", self.port), daemon=True)
        self.http.start()
        assert self.http.ident is not None
        clock = time.pthread_getcpuclockid(self.http.ident)
        self.watch.http = lambda: time.clock_gettime(clock)

    def steps(self, batch: int) -> dict[str, float]:
        """Of the steps since the last call in which `batch` sequences decoded, and whose next did, too: medians of the
        seconds of a step, of the network in it, and from its begin to the next one's, and the mean of the HTTP thread's
        processor time between these; and that mean over all steps, in which prompts are read, too. All are
        forgotten."""
        noted, self.watch.steps = self.watch.steps, []
        pairs = [(one, after) for one, after in pairwise(noted) if one.tokens == after.tokens == batch]
        return {"step": _median([one.seconds for one, _ in pairs]),
                "network": _median([one.network for one, _ in pairs]),
                "period": _median([after.begin - one.begin for one, after in pairs]),
                "http": sum(after.http - one.http for one, after in pairs) / max(1, len(pairs)),
                "http_of_all": (self.watch.http() - noted[0].http) / len(noted) if noted else 0.0}

    def direct(self, prompts: list[str], tokens: int) -> float:
        """Tokens a second of the engine alone."""
        tokenizer = self.engine.model.tokenizer
        assert tokenizer is not None
        rows = [tuple(tokenizer.encode(prompt).ids) for prompt in prompts]

        async def one(number: int) -> None:
            sampling = SamplingParams(max_tokens=tokens, temperature=0.0)
            async for _ in self.engine.submit(Request(str(number), rows[number], sampling)):
                pass

        async def every() -> None:
            await asyncio.gather(*(one(number) for number in range(len(rows))))

        begin = time.perf_counter()
        asyncio.run(every())
        return len(rows) * tokens / (time.perf_counter() - begin)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2] if values else float("nan")


def main() -> None:
    server = Server(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    serve({"dokja": dokja.__name__, "torch": torch.__version__, "weights": "int8"},
          {"listen": server.listen, "steps": server.steps, "direct": server.direct})


if __name__ == "__main__":
    main()

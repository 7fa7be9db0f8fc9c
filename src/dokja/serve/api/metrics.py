"""Prometheus metrics, named as vLLM names its own, with dokja for its prefix."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ..engine.types import Stats
from ..service import Answer, ChatAsk, CompletionAsk, End, Piece, ServedModel, Service, Tokens, TokenText

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144)
_GAUGES: dict[str, tuple[str, Callable[[Stats], float]]] = {
    "num_requests_running": ("Requests in the batch", lambda stats: stats.running),
    "num_requests_waiting": ("Requests that wait", lambda stats: stats.waiting),
    "kv_cache_usage_perc": ("Share of KV pages in use, 0 to 1",
                            lambda stats: 1 - stats.pages_free / stats.pages_total if stats.pages_total else 0.0),
    "kv_cache_bytes": ("Bytes of the KV pages in use", lambda stats: stats.kv_bytes),
}
_COUNTERS: dict[str, tuple[str, Callable[[Stats], float]]] = {
    "prompt_tokens": ("Prompt tokens read", lambda stats: stats.prompt_tokens),
    "prefix_cache_hits": ("Prompt tokens that came from the prefix cache", lambda stats: stats.cached_tokens),
    "generation_tokens": ("Tokens written", lambda stats: stats.generated_tokens),
    "engine_steps": ("Steps of the network", lambda stats: stats.steps),
    "num_preemptions": ("Requests put back for want of pages", lambda stats: stats.preempted),
    "spec_decode_num_draft_tokens": ("Tokens drafted", lambda stats: stats.drafted),
    "spec_decode_num_accepted_tokens": ("Drafted tokens accepted", lambda stats: stats.accepted),
}


class Metrics:
    """The metrics of one app. HTTP requests and answers are counted as they end, engines are asked when scraped."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.service: Service | None = None
        labels = ("model_name",)
        self.http = Counter("dokja_http_requests", "HTTP requests by status", ("method", "route", "status"),
                            registry=self.registry)
        self.ended = Counter("dokja_request_success", "Answers by what ended them", ("model_name", "finished_reason"),
                             registry=self.registry)
        self.first = Histogram("dokja_time_to_first_token_seconds", "From the request to the first text", labels,
                               buckets=_SECONDS, registry=self.registry)
        self.between = Histogram("dokja_inter_token_latency_seconds", "Between two pieces of text", labels,
                                 buckets=_SECONDS, registry=self.registry)
        self.whole = Histogram("dokja_e2e_request_latency_seconds", "From the request to the end of its answer", labels,
                               buckets=_SECONDS, registry=self.registry)
        self.prompt = Histogram("dokja_request_prompt_tokens", "Prompt tokens of a request", labels, buckets=_TOKENS,
                                registry=self.registry)
        self.written = Histogram("dokja_request_generation_tokens", "Tokens of an answer", labels, buckets=_TOKENS,
                                 registry=self.registry)
        self.registry.register(self)  # type: ignore[arg-type]

    def collect(self) -> Iterator[Metric]:
        """Where the engines stand."""
        stats = self.service.stats() if self.service else {}
        for name, (said, read) in _GAUGES.items():
            gauge = GaugeMetricFamily(f"dokja_{name}", said, labels=("model_name",))
            for model, one in stats.items():
                gauge.add_metric((model,), read(one))
            yield gauge
        for name, (said, read) in _COUNTERS.items():
            counter = CounterMetricFamily(f"dokja_{name}", said, labels=("model_name",))
            for model, one in stats.items():
                counter.add_metric((model,), read(one))
            yield counter

    def text(self) -> bytes:
        """What Prometheus scrapes."""
        return generate_latest(self.registry)


class Measured:
    """A service whose answers are measured, whoever asks for them."""

    def __init__(self, service: Service, metrics: Metrics) -> None:
        self._service, self._metrics = service, metrics
        metrics.service = service

    def models(self) -> Mapping[str, ServedModel]:
        return self._service.models()

    async def chat(self, ask: ChatAsk) -> Answer:
        began = time.monotonic()
        return _Measured(await self._service.chat(ask), self._metrics, began)

    async def complete(self, ask: CompletionAsk) -> Answer:
        began = time.monotonic()
        return _Measured(await self._service.complete(ask), self._metrics, began)

    async def embed(self, model: str | None, inputs: Sequence[str | Sequence[int]]) -> tuple[list[list[float]], int]:
        return await self._service.embed(model, inputs)

    async def tokenize(self, model: str | None, source: str | ChatAsk, *, special: bool = True) -> Tokens:
        return await self._service.tokenize(model, source, special=special)

    async def detokenize(self, model: str | None, ids: Sequence[int]) -> str:
        return await self._service.detokenize(model, ids)

    def stats(self) -> Mapping[str, Stats]:
        return self._service.stats()

    def close(self) -> None:
        self._service.close()


class _Measured:
    """An answer that is timed while it is read."""

    def __init__(self, answer: Answer, metrics: Metrics, began: float) -> None:
        self._answer, self._metrics, self._began = answer, metrics, began
        self.model, self.seed, self.dropped, self.prompt = answer.model, answer.seed, answer.dropped, answer.prompt
        self._pieces = self._timed()

    @property
    def prompt_logprobs(self) -> Sequence[TokenText | None] | None:
        return self._answer.prompt_logprobs

    def stop(self) -> None:
        self._answer.stop()

    def __aiter__(self) -> AsyncIterator[Piece]:
        return self._pieces

    async def _timed(self) -> AsyncIterator[Piece]:
        metrics, model, last = self._metrics, self.model, 0.0
        between = metrics.between.labels(model)
        async for piece in self._answer:
            now = time.monotonic()
            if isinstance(piece, End):
                metrics.ended.labels(model, piece.finish).inc()
                metrics.whole.labels(model).observe(now - self._began)
                metrics.prompt.labels(model).observe(piece.usage.prompt)
                metrics.written.labels(model).observe(piece.usage.completion)
            elif last:
                between.observe(now - last)
            else:
                metrics.first.labels(model).observe(now - self._began)
            last = now
            yield piece

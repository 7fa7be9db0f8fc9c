"""`dokja serve`, once its options are read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import DokjaError
from ..models.loading import locate
from .api import Settings, log_json, read_keys
from .app import create_app
from .local import LocalService
from .server import serve
from .service import Service
from .start import Setup, Speculate, named, read_models, read_size, start
from .store import Store, default_database
from .weights import KINDS

_T = TypeVar("_T", bound=str)
ENGINES = ("dokja", "vllm")
DRAFTERS: tuple[Speculate, ...] = ("mtp", "ngram", "off")
UPSTREAM_KEY = "DOKJA_UPSTREAM_KEY"


@dataclass(frozen=True)
class Source:
    """Where the models run: here, in vLLM, or behind another endpoint. The fields are the command's options."""

    models: Sequence[str]
    names: Sequence[str]
    engine: str
    vllm_arguments: Sequence[str]
    own_decoder: bool
    upstream: str | None


def setup(weights: str, kv_memory: str | None, batch: int, queue: int, context: int | None, lora: Sequence[str],
          speculate: str | None) -> Setup:
    """How Dokja's own engine is to run; DokjaError for what is none of the choices."""
    loras: dict[str, Path] = {}
    for text in lora:
        name, mark, folder = text.partition("=")
        if not mark or not name or name in loras:
            raise DokjaError(f"--lora {text}: write NAME=FOLDER, each name once")
        loras[name] = Path(folder)
    memory = None if kv_memory is None else read_size(kv_memory, "--kv-memory")
    return Setup(_one_of("weights", weights, KINDS), memory, batch, queue, context, loras,
                 None if speculate is None else _one_of("speculate", speculate, DRAFTERS))


def run(source: Source, setup: Setup, *, host: str, port: int, api_keys: Path | None, rate_requests: int | None,
        rate_tokens: int | None, max_body: str, timeout: float | None, grace: float, log_lines: bool, pages: bool,
        database: str | None) -> None:
    """Load, announce, serve until a signal comes; what is wrong with an option is told before anything is loaded."""
    settings = Settings(keys=read_keys(api_keys, os.environ), requests_a_minute=rate_requests,
                        tokens_a_minute=rate_tokens, body_limit=read_size(max_body, "--max-body"),
                        longest_wait=timeout, pages=pages)
    where = (database or default_database()) if pages else None
    if where is not None:
        Store(where).close()
    if log_lines:
        log_json()  # what is said while models are loaded is a line of the log too
    service = service_of(source, setup)
    try:
        app = create_app(service, lambda: None, settings=settings, database=where)
        serve(app, host, port, grace=grace)
    finally:
        service.close()


def service_of(source: Source, setup: Setup) -> Service:
    """The service that the options ask for."""
    if source.upstream is not None:
        try:
            from .upstream import UpstreamService
        except ImportError as error:
            raise DokjaError(f"--upstream needs the openai package ({error}): install dokja[upstream]") from error
        if source.engine != "dokja" or source.names:
            raise DokjaError("--upstream serves another endpoint's models under their own names: leave out --engine "
                             "and --name")
        return UpstreamService(source.upstream, key=os.environ.get(UPSTREAM_KEY), names=source.models or None)
    if not source.models:
        raise DokjaError("there is no model to serve: give a folder, a .gguf file, a name, or --upstream URL")
    if source.engine == "dokja":
        if source.vllm_arguments or source.own_decoder:
            raise DokjaError("--vllm-arg and --own-decoder say how vLLM runs a model: add --engine vllm")
        return start(read_models(source.models, source.names, setup), setup)
    _one_of("engine", source.engine, ENGINES)
    if setup.weights != "fp32" or setup.kv_memory is not None or setup.loras or setup.speculate is not None:
        raise DokjaError("--weights, --kv-memory, --lora and --speculate are for Dokja's engine: tell vLLM "
                         "with --vllm-arg quantization=... or gpu_memory_utilization=...")
    from .vllm import VllmEngine

    options = {"max_num_seqs": setup.batch, **dict(map(_vllm_argument, source.vllm_arguments))}
    return LocalService({name: VllmEngine(locate(one), context=setup.context, queue=setup.batch + setup.queue,
                                          own_decoder=source.own_decoder, options=options)
                         for name, one in named(source.models, source.names).items()})


def _vllm_argument(text: str) -> tuple[str, Any]:
    """KEY=VALUE with a number, true, false or null read as such."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise DokjaError(f"--vllm-arg {text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _one_of(option: str, value: str, choices: Sequence[_T]) -> _T:
    found = next((choice for choice in choices if choice == value), None)
    if found is None:
        raise DokjaError(f"unknown {option} {value!r}: choose from {', '.join(choices)} with --{option}")
    return found

"""32 chats at once that share a system prompt of 1,000 tokens, over HTTP, streaming: our server and its peers'.

All get the same text through /v1/completions (the base model has no chat template), greedy, and write on past an end of
text. In a `new` round no server has seen the system prompt; in a `known` round all have, and only what users say is
new. Servers take turns, and whoever is not asked is stopped. transformers serve, which takes minutes a round and keeps
no prefix of such a model, is measured in one.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import statistics
import sys
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
from bars import Bar, at_least, at_most
from client import Load, load
from tokenizers import Tokenizer
from weights import Files, gemma_with_tokenizer
from worker import HERE, Worker, python_of

from dokja.build.exercises import mixed
from dokja.build.korean import documents

CHATS, SHARED, TOKENS, SLOW_ROUNDS = 32, 1000, 48, 1
KINDS = ("new", "known")
OVERHEAD = 0.05  # of a step, that scheduler, sampler and HTTP may take


@dataclass
class Server:
    """A server in its process, stopped whenever it is not asked."""

    name: str
    worker: Worker
    port: int
    model: str = "model"
    extra: dict[str, Any] = field(default_factory=dict)
    slow: bool = False
    loads: dict[str, list[Load]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, prompts: list[str]) -> Load:
        self.worker.process.send_signal(signal.SIGCONT)
        found = load(self.url, self.model, prompts, TOKENS, self.extra)
        self.worker.process.send_signal(signal.SIGSTOP)
        return found

    def rate(self, kind: str) -> float:
        return statistics.median(one.rate for one in self.loads[kind]) if self.loads[kind] else float("nan")


def run(arguments: argparse.Namespace, files: Files) -> tuple[dict[str, Any], list[Bar]]:
    """The table, and bars against each peer that is installed; then what our own steps spend."""
    tokenizer = Tokenizer.from_file(str(files.hf / "tokenizer.json"))
    servers = _started(arguments, files, _prompts(tokenizer, "warm", 0)[:2])
    ours, overhead = servers[0], _Overhead(servers[0], arguments.threads)
    for number in range(arguments.rounds):
        for kind in KINDS:
            prompts = _prompts(tokenizer, f"round {number}", KINDS.index(kind))
            for server in servers:
                if not server.slow or (number < SLOW_ROUNDS and kind == "new"):
                    server.loads[kind].append(server.ask(prompts))
                if server is ours and kind == "known":
                    overhead.note(_prompts(tokenizer, f"round {number}", 2))
    table = _table(servers)
    data, bars = overhead.result()
    for peer in servers[1:]:
        goal = 3.0 if peer.slow else 1.2
        bars += [at_least(f"{CHATS} chats over HTTP, {kind} system prompt, against {peer.name}",
                          ours.rate(kind) / peer.rate(kind), goal) for kind in KINDS if peer.loads[kind]]
    for server in servers:
        server.worker.process.send_signal(signal.SIGCONT)
        server.worker.end()
    return {"table": table, "overhead": data, "versions": {one.name: one.worker.versions for one in servers}}, bars


def _started(arguments: argparse.Namespace, files: Files, warm: list[str]) -> list[Server]:
    """Every server that is installed and has answered these prompts; ours first."""
    threads, xllamacpp = str(arguments.threads), python_of(arguments.peers / "xllamacpp")
    llama = python_of(arguments.peers / "llama-cpp")  # makes the file that the server reads
    ports = [_free_port() for _ in range(3)]
    endless = _endless(files.hf)
    ours = Server("dokja int8", Worker("dokja server", [
        sys.executable, str(HERE / "dokja_server.py"), str(files.hf), threads, str(ports[0])]), ports[0],
        extra={"ignore_eos": True, "stream_options": {"include_usage": True}})
    servers = [ours]
    if xllamacpp and llama:
        file = gemma_with_tokenizer(arguments.files, llama)
        servers.append(Server("llama.cpp server Q8_0 (AVX2 wheel)", Worker("llama.cpp server", [
            str(xllamacpp), str(HERE / "xllamacpp_server.py"), str(file), threads, str(ports[1])]),
            ports[1], extra={"ignore_eos": True, "stream_options": {"include_usage": True}}))
    else:
        print("llama.cpp's server is not installed: make bench-peers")
    servers.append(Server("transformers serve fp32", Worker("transformers serve", [
        sys.executable, str(HERE / "transformers_server.py"), str(endless), threads, str(ports[2])]), ports[2],
        model=str(endless), slow=True))
    ready = []
    for server in servers:
        log = arguments.files / f"{server.worker.name.replace(' ', '-')}.log"
        try:
            server.worker.start(log)
            if server is ours:
                server.worker.ask(do="listen")
            _wait(server)
            server.ask(warm)
            ready.append(server)
        except (RuntimeError, OSError, httpx.HTTPError) as error:
            if server is ours:
                raise
            print(f"{server.name} is left out: {error!r} ({log})")
    return ready


def _wait(server: Server, seconds: float = 180) -> None:
    """Until it answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if httpx.get(f"{server.url}/health", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise RuntimeError(f"{server.name} does not answer at {server.url}: see its log")


def _endless(hf: Path) -> Path:
    """The same folder for transformers serve, which can be kept from stopping only by its generation config."""
    folder = hf.with_name("hf-endless")
    folder.mkdir(exist_ok=True)
    for file in hf.iterdir():
        copy = folder / file.name
        if file.name != "generation_config.json" and not copy.exists():
            copy.symlink_to(file.resolve())
    config = json.loads((hf / "generation_config.json").read_text(encoding="utf-8"))
    (folder / "generation_config.json").write_text(json.dumps(config | {"eos_token_id": None}), encoding="utf-8")
    return folder


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _prompts(tokenizer: Tokenizer, shared: str, turn: int) -> list[str]:
    """What each chat sends: a system prompt that the name `shared` decides, and a question of its own."""
    seed = sum(shared.encode())
    ids: list[int] = []
    for document in documents(seed):
        ids += tokenizer.encode(document.content + "\n", add_special_tokens=False).ids
        if len(ids) >= SHARED:
            break
    system = tokenizer.decode(ids[:SHARED])
    items = islice(mixed("train", seed), turn * CHATS, (turn + 1) * CHATS)
    return [f"{system}\n\n질문: {item.prompt}\n대답:" for item in items]


def _table(servers: list[Server]) -> list[dict[str, Any]]:
    print(f"\n{f'{CHATS} chats over HTTP, {SHARED} shared tokens, {TOKENS} written':52s}{'tokens/s':>9s}"
          f"{'first piece p50':>17s}{'p99 s':>8s}{'between p50':>13s}{'p99 ms':>8s}")
    rows = []
    for server in servers:
        for kind in KINDS:
            if not server.loads[kind]:
                continue
            first = [_share(one.first, q) for q in (0.5, 0.99) for one in server.loads[kind]]
            between = [_share(one.between, q) for q in (0.5, 0.99) for one in server.loads[kind]]
            half = len(server.loads[kind])
            row = {"server": server.name, "prompt": kind, "rate": server.rate(kind), "rounds": half,
                   "first_p50": statistics.median(first[:half]), "first_p99": statistics.median(first[half:]),
                   "between_p50": statistics.median(between[:half]), "between_p99": statistics.median(between[half:])}
            print(f"{server.name + ', ' + kind + ' system prompt':52s}{row['rate']:9.1f}{row['first_p50']:17.2f}"
                  f"{row['first_p99']:8.2f}{1000 * row['between_p50']:13.0f}{1000 * row['between_p99']:8.0f}")
            rows.append(row)
    return rows


def _share(values: list[float], share: float) -> float:
    """The value below which that share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class _Overhead:
    """What of a step at batch 32 is not the network's forward."""

    def __init__(self, ours: Server, threads: int) -> None:
        self.ours, self.threads = ours, threads
        self.noted: dict[str, list[dict[str, float]]] = {"direct": [], "http": []}
        self.rates: list[float] = []

    def note(self, prompts: list[str]) -> None:
        """The steps of the HTTP round that was, and of the same load without HTTP."""
        worker = self.ours.worker
        worker.process.send_signal(signal.SIGCONT)
        self.noted["http"].append(worker.ask(do="steps", batch=CHATS))
        self.rates.append(worker.ask(do="direct", prompts=prompts, tokens=TOKENS))
        self.noted["direct"].append(worker.ask(do="steps", batch=CHATS))
        worker.process.send_signal(signal.SIGSTOP)

    def result(self) -> tuple[dict[str, Any], list[Bar]]:
        """Figures printed, and bars. What HTTP takes is its thread's processor time against that of all threads of a
        step of 32 that write; from step to step it looks like more, since the one who asks works on the same cores.
        Over all steps, reading the prompts included, is printed beside it."""
        def median(where: str, what: str) -> float:
            return statistics.median(one[what] for one in self.noted[where])

        direct, http, rate = (statistics.median(self.rates), self.ours.rate("known"), median("direct", "network"))
        step, served = median("direct", "step"), median("http", "http")
        inside, outside = 1 - rate / step, served / (self.threads * step)
        print(f"\na step of {CHATS}: network {1000 * rate:.1f} ms, step {1000 * step:.1f} ms, processor time of HTTP "
              f"{1000 * served:.1f} ms ({1000 * median('http', 'http_of_all'):.1f} ms over all steps, with the reading "
              "of prompts), from step to step over HTTP, with who asks on the same cores, "
              f"{1000 * median('http', 'period'):.1f} ms; engine alone {direct:.1f} tokens/s, over HTTP {http:.1f}")
        return ({"noted": self.noted, "direct": direct, "http": http},
                [at_most(f"scheduler and sampler, share of a step of {CHATS}", inside, OVERHEAD),
                 at_most(f"scheduler, sampler and HTTP, share of a step of {CHATS}", inside + outside, OVERHEAD)])

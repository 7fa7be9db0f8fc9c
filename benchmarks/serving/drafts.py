"""What drafts are worth: an EXAONE 4.5 and a K-EXAONE of pocket size, trained here with their MTP layers, write with
them and without.

The first is dense: to check a few tokens takes little longer than to write one. In the second each token has experts of
its own to compute, and a pocket one has few weights to wait for meanwhile. Answers must be the same, token for token.
One request at a time, where drafts are meant to pay, and several at once, at a temperature too where hardly any can
stand; drafts on and off take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from bars import Bar, at_least

from dokja.build.document import Document
from dokja.build.korean import documents
from dokja.build.packing import encode, pack
from dokja.build.schedule import Schedule
from dokja.build.tokenizer import train_tokenizer
from dokja.build.train import NextToken, NextTokenConfig, Step, TrainConfig, Trainer
from dokja.models.families import family
from dokja.models.folder import load_folder, save_folder
from dokja.models.model import Model
from dokja.models.scaling import scaled
from dokja.serve.engine.engine import Engine
from dokja.serve.engine.sizing import Limits
from dokja.serve.engine.types import Request, SamplingParams
from dokja.serve.quantise import prepare

# Deep, as the official model is, so that one MTP layer costs little beside the trunk; few words, so that the head does
# not cost more than both; text of one kind, which some minutes of training are enough to learn.
SIZE, PERIODS, VOCAB, CONTEXT, BATCH, STEPS, KIND = 8_000_000, 4, 1536, 256, 8, 400, "korean/dialogue"
MTP_WEIGHT = 0.3  # DeepSeek-V3's of its first ten trillion tokens
PROMPTS, PROMPT, TOKENS = 6, 40, 160
TRAINED, HELD_OUT = 1, 2  # seeds of the text
REPEATS = 3
GOALS = {"k-exaone": 1.3, "exaone-4.5": 0.95}  # with MTP drafts, greedy, one request at a time


def run(arguments: argparse.Namespace) -> tuple[dict[str, Any], list[Bar]]:
    """Ratios of tokens a second with drafts to those without, of each family."""
    data: dict[str, Any] = {}
    bars: list[Bar] = []
    for name, goal in GOALS.items():
        folder: Path = arguments.files / f"{name}-{4 * PERIODS}x{STEPS}"
        if not folder.exists():
            _train(folder, name)
        data[name], more = _measured(folder, name, goal, arguments.rounds)
        bars += more
    return data, bars


def _measured(folder: Path, name: str, goal: float, rounds: int) -> tuple[dict[str, Any], list[Bar]]:
    model = load_folder(folder)
    prepare(model.decoder, "fp32")
    texts = [model.codec.encode(document.content)[:PROMPT] for document in islice(_texts(HELD_OUT), PROMPTS)]
    sentence = next(line for document in _texts(HELD_OUT) for line in document.content.split("\n")
                    if 20 <= len(model.codec.encode(line)) <= PROMPT)
    repeating = [model.codec.encode(f"{sentence}\n" * REPEATS)]
    begun = [[model.codec.end_of_text, *ids] for ids in texts]
    cases = [("MTP drafts, greedy", True, begun, 0.0, 1, goal),
             ("MTP drafts, temperature 0.7", True, begun, 0.7, 1, 0.95),
             *((f"MTP drafts, {at_once} at once, temperature {heat}", True, 2 * begun, heat, at_once, 0.95)
               for at_once in (4, 12) for heat in (0.7, 1.5)),
             ("n-gram drafts, a text that repeats", False, repeating, 0.0, 1, 0.95),
             ("n-gram drafts, other text, temperature 0.7", False, begun, 0.7, 1, 0.95)]
    print(f"\n{name + ', tokens/s, one at a time where not said':58s}{'without':>9s}{'with':>9s}{'ratio':>8s}"
          f"{'accepted':>10s}")
    data: dict[str, Any] = {}
    bars: list[Bar] = []
    for case, mtp, prompts, temperature, at_once, goal in cases:
        without, drafted, accepted = _compare(model, mtp, prompts, temperature, at_once, rounds)
        ratio = statistics.median(b / a for a, b in zip(without, drafted, strict=True))
        print(f"{case:58s}{statistics.median(without):9.1f}{statistics.median(drafted):9.1f}{ratio:8.2f}{accepted:10.0%}")
        data[case] = {"without": without, "with": drafted, "ratio": ratio, "accepted": accepted}
        bars.append(at_least(f"{name}, {case}, against none", ratio, goal))
    return data, bars


def _texts(seed: int) -> Iterator[Document]:
    """The built-in text of one kind, endless."""
    return (document for document in documents(seed) if document.source == KIND)


def _train(folder: Path, name: str) -> None:
    """Train the model with the season's own trainer and write its folder."""
    chosen = family(name)
    codec = train_tokenizer(_texts(TRAINED), VOCAB, chosen.chat, max_bytes=2_000_000)
    spec = scaled(chosen.spec, SIZE, context=CONTEXT, vocab=codec.vocab)
    spec = replace(spec, layers=(*spec.layers[:4], *spec.layers[4:8] * (PERIODS - 1)))  # three local, one global each
    sequences = pack(encode(codec, _texts(TRAINED)), CONTEXT, codec.end_of_text, codec.vocab, enough=STEPS * BATCH)
    objective = NextToken(sequences, NextTokenConfig(batch=BATCH, mtp_weight=MTP_WEIGHT), seed=1)
    trainer = Trainer(spec, objective, TrainConfig(seed=1), Schedule([STEPS]))

    def report(step: Step) -> None:
        if step.step % 100 == 0:
            print(f"training {spec.name}: step {step.step} of {STEPS}, loss {step.loss:.2f}", flush=True)

    trainer.run(STEPS, report)
    save_folder(folder, trainer.model.eval(), codec, {"family": name, "seed": 1, "steps": STEPS})


def _compare(model: Model, mtp: bool, prompts: Sequence[Sequence[int]], temperature: float, at_once: int,
             rounds: int) -> tuple[list[float], list[float], float]:
    """Tokens a second without and with drafts by round, and the share of drafts that stood."""
    limits = Limits(CONTEXT, (at_once + 3) * CONTEXT, rows=at_once, prefix_cache=False, mtp=mtp)
    engine = Engine(model, limits)
    try:
        written: list[tuple[list[list[int]], list[list[int]]]] = []
        rates: tuple[list[float], list[float]] = ([], [])
        for counted in range(-1, rounds):
            answers = []
            for drafts in (False, True):
                start = time.perf_counter()
                answers.append(asyncio.run(_write(engine, prompts, temperature, at_once, drafts)))
                if counted >= 0:
                    rates[drafts].append(sum(map(len, answers[-1])) / (time.perf_counter() - start))
            written.append((answers[0], answers[1]))
        if any(plain != drafted for plain, drafted in written):
            raise AssertionError("drafts changed an answer")
        stats = engine.stats()
        return (*rates, stats.accepted / max(1, stats.drafted))
    finally:
        engine.close()


async def _write(engine: Engine, prompts: Sequence[Sequence[int]], temperature: float, at_once: int,
                 drafts: bool) -> list[list[int]]:
    """What follows each prompt; where one has ended the next begins."""
    places = asyncio.Semaphore(at_once)

    async def one(number: int, ids: Sequence[int]) -> list[int]:
        sampling = SamplingParams(max_tokens=TOKENS, temperature=temperature, seed=number)
        answer: list[int] = []
        async with places:
            async for step in engine.submit(Request(str(number), tuple(ids), sampling, speculate=drafts)):
                answer += step.tokens
        return answer

    return list(await asyncio.gather(*(one(number, ids) for number, ids in enumerate(prompts))))

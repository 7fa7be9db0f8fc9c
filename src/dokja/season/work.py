"""What the worker processes of a season do: prepare a team, train it for a while, judge its model.

A job reads and writes files under the season's folder and returns plain data; only the main process writes the
database. Every job can be cut off anywhere and done again.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing import parent_process
from multiprocessing.connection import wait
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from ..build.corpus import open_corpus
from ..build.document import Document
from ..build.exercises import SKILLS, Exercise, chance, exercises, mixed, verify
from ..build.packing import Sequences, encode, interleave, pack
from ..build.schedule import Schedule
from ..build.seeds import named_seed
from ..build.tokenizer import train_tokenizer
from ..build.train import Checkpoints, NextToken, NextTokenConfig, Step, TrainConfig, Trainer
from ..errors import DokjaError
from ..judge.baselines import NGram, xz_bits_per_byte
from ..judge.exact import answer_all
from ..judge.likelihood import document_bits
from ..models.codec import Codec
from ..models.families import family
from ..models.folder import save_folder
from ..models.generate import Sampling, generate
from ..models.scaling import scaled_vocab
from ..models.spec import ModelSpec
from .plan import Plan
from .rules import Rules

TOKENIZER_BYTES = 3_000_000
SPELLED = 20_000  # exercises whose characters the tokenizers see
NGRAM_BYTES = 4_000_000
CURVE_POINTS = 60  # a stage

_stop: Event
_messages: Queue[tuple[Any, ...]]


@dataclass(frozen=True)
class Season:
    """What every job needs to know."""

    home: Path
    plan: Plan
    rules: Rules

    @property
    def corpus(self) -> Path:
        return self.home / "corpus"

    def team(self, name: str) -> Path:
        """The folder of one team."""
        return self.home / "teams" / name

    def model(self, name: str, stage: int) -> Path:
        """The model folder that a team's stage left."""
        return self.team(name) / f"stage-{stage}"


def start_worker(threads: int, stop: Event, messages: Queue[tuple[Any, ...]]) -> None:
    """What a worker process does first. It ends with its parent, however that ends; Ctrl-C is the parent's."""
    global _stop, _messages
    _stop, _messages = stop, messages
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
    import torch

    torch.set_num_threads(threads)


def prepare(season: Season, name: str) -> dict[str, Any]:
    """Train the team's tokenizer and pack its data; the spec as it will be trained, and where its stages end."""
    folder, chosen = season.team(name), family(name)
    corpus = open_corpus(season.corpus)
    vocab = scaled_vocab(chosen.spec, season.plan.size)
    # Words come from the text and characters from the exercises too: merged numerals such as 사십육 would hide from a
    # model how numbers are made, and a rare syllable in three bytes which one it is.
    samples = islice(mixed("train", named_seed(season.plan.seed, "spelling")), SPELLED)
    codec = train_tokenizer(corpus.train(), vocab, chosen.chat, max_bytes=TOKENIZER_BYTES,
                            spelled=(item.prompt + item.answer for item in samples))
    spec = season.plan.spec(name, codec.vocab)
    ends = season.plan.stage_ends(spec, season.rules)
    documents = _with_exercises(season, corpus.train())
    packed = pack(encode(codec, documents, answer_weight=season.rules.answer_weight), spec.context, codec.end_of_text,
                  codec.vocab, enough=ends[-1] * season.plan.batch(spec))
    with _disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        codec.tokenizer.save(str(folder / "tokenizer.json"))
        packed.save(folder / "sequences.npz")
    return {"spec": spec.to_dict(), "ends": ends}


def train(season: Season, name: str, spec: dict[str, Any], ends: list[int], until: int) -> dict[str, Any]:
    """Train from the team's checkpoint, or from random weights, up to step `until` or until asked to stop."""
    folder = season.team(name)
    trainer = _trainer(season, name, ModelSpec.from_dict(spec), ends)
    checkpoints = _checkpoints(folder)
    extra = checkpoints.restore(trainer) or {"curve": [], "seconds": 0.0, "recent": []}
    curve: list[list[float]] = extra["curve"]
    recent: list[float] = extra["recent"]
    seconds: float = extra["seconds"]
    every = max(1, ends[-1] // (CURVE_POINTS * len(ends)))
    began = said = time.monotonic()

    while trainer.step_index < until and not _stop.is_set():
        done: Step = trainer.step()
        recent.append(done.loss)
        if done.step % every == 0 or done.step in ends:
            curve.append([done.step, sum(recent) / len(recent)])
            recent.clear()
        now = time.monotonic()
        if now - said > 0.3 or done.step >= until:
            said = now
            _messages.put((name, done.step, done.loss, seconds + now - began))
    seconds += time.monotonic() - began
    with _disk(folder):
        checkpoints.save(trainer, {"curve": curve, "seconds": seconds, "recent": recent})
    return {"step": trainer.step_index, "seconds": seconds, "curve": curve}


def judge(season: Season, name: str, spec: dict[str, Any], ends: list[int], stage: int) -> dict[str, Any]:
    """Score the team's model as its stage left it, and write it as a model folder."""
    trainer = _trainer(season, name, ModelSpec.from_dict(spec), ends)
    _checkpoints(season.team(name)).restore(trainer)
    model = trainer.model.eval()
    chosen = family(name)
    codec = Codec.load(season.team(name) / "tokenizer.json", chosen.chat)
    heldout = open_corpus(season.corpus).heldout()
    bits = document_bits(model, list(encode(codec, heldout)), codec.end_of_text)
    hits: dict[str, list[bool]] = {}
    replies: dict[str, list[list[str]]] = {}
    for skill in SKILLS:
        items = evaluation_items(season, skill)
        answers = answer_all(model, codec, [item.prompt for item in items])
        hits[skill] = [verify(item, answer) for item, answer in zip(items, answers, strict=True)]
        replies[skill] = [[item.prompt, item.answer, answer]
                          for item, answer in zip(items[:8], answers, strict=False)]
    options = Sampling(max_tokens=120, temperature=0.7, top_p=0.9, seed=named_seed(season.plan.seed, "sample"),
                       stop=(codec.end_of_text, codec.end_of_turn))
    openings = _openings(heldout)
    written = generate(model, [[codec.end_of_text, *codec.encode(opening)] for opening in openings], options)
    samples = [[opening, codec.decode(ids)] for opening, ids in zip(openings, written, strict=True)]
    card = {
        "family": name, "team": chosen.title, "company": chosen.company, "season": season.rules.name, "stage": stage,
        "seed": season.plan.seed, "tokens": trainer.tokens, "flops": trainer.flops,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "notice": "A published architecture at pocket size, trained from random weights in a Dokja season; "
                  "not the company's model.",
    }
    with _disk(season.home):
        save_folder(season.model(name, stage), model, codec, card)
    return {"bits": bits, "bytes": [len(document.content.encode()) for document in heldout], "hits": hits,
            "replies": replies, "samples": samples}


def baselines(season: Season) -> list[tuple[str, float, str]]:
    """(name, bits per byte of the held-out text, note) of a compressor and of an n-gram model of the training text."""
    corpus = open_corpus(season.corpus)
    heldout = [document.content for document in corpus.heldout()]
    ngram = NGram.fit((document.content for document in corpus.train()), max_bytes=NGRAM_BYTES)
    return [("xz -9", xz_bits_per_byte(heldout), "the held-out text on its own"),
            ("n-gram", ngram.bits_per_byte(heldout), f"interpolated, fitted on the first {NGRAM_BYTES / 1e6:.0f} MB "
                                                     "of the training text")]


def evaluation_items(season: Season, skill: str) -> list[Exercise]:
    """The unseen exercises of one skill: the same for every team and stage."""
    stream = exercises(skill, "evaluation", named_seed(season.plan.seed, "evaluation", skill))
    return [next(stream) for _ in range(season.rules.items)]


def chances(season: Season) -> dict[str, float]:
    """What a guesser reaches on the season's own items of each skill."""
    return {skill: chance(skill, evaluation_items(season, skill)) for skill in SKILLS}


def _with_exercises(season: Season, texts: Any) -> Any:
    seed = season.plan.seed
    exercise_documents = (item.document() for item in mixed("train", named_seed(seed, "exercises")))
    return interleave(texts, exercise_documents, season.rules.exercise_share, named_seed(seed, "interleave"))


def _trainer(season: Season, name: str, spec: ModelSpec, ends: list[int]) -> Trainer:
    seed = named_seed(season.plan.seed, name)
    data = Sequences.load(season.team(name) / "sequences.npz")
    objective = NextToken(data, NextTokenConfig(batch=season.plan.batch(spec)), seed)
    return Trainer(spec, objective, TrainConfig(seed=seed), Schedule(ends))


def _checkpoints(team: Path) -> Checkpoints:
    """A stage's judge reads what its last segment left: one is enough, and the next step is waited for by nobody."""
    return Checkpoints(team / "checkpoints", keep=1, asynchronous=False)


def _openings(heldout: Sequence[Document]) -> list[str]:
    """The first words of three held-out texts, for the teams to go on from."""
    texts = [document.text for document in heldout if len(document.text) > 100][:3]
    return [" ".join(text.split()[:4]) for text in texts] or ["오늘"]


class _disk:  # noqa: N801 (used as a statement)
    """Turns a full disk into a sentence; drafts are removed by whoever wrote them."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        full = (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "os error 28" in str(error)
        if full:
            for draft in self.where.rglob("*.draft"):
                if draft.is_file():
                    draft.unlink(missing_ok=True)
            raise DokjaError(f"no space left on the disk of {self.where}: free some and run the same command again, "
                             "the season goes on from its last checkpoint") from error


"""The loop of a run: prepare, go on from the newest checkpoint, step, look, save; one screen to read it all.

A run's folder: run.json (the resolved recipe and what it says), data/ (what was made of the text), metrics.jsonl (a
line a step), samples.jsonl, checkpoints/, and at the end model/, which `dokja serve` reads.
"""

from __future__ import annotations

import json
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from ... import __version__
from ...errors import DokjaError
from ...models.cost import parameters, training_flops_per_token
from ...models.decoder import Decoder
from ...models.folder import save_folder
from ...models.generate import Sampling, generate
from ..parallel import make_parallel
from ..post.grpo import Sampler
from ..schedule import Schedule
from ..seeds import named_seed
from ..watch import check_sinks, model_card, open_sinks
from .checkpoint import Checkpoints
from .prepare import Material, prepare
from .recipe import FREE, Recipe, differences
from .tasks import objective
from .trainer import Parallel, Step, Trainer

RECORD = "run.json"
Tell = Callable[[dict[str, Any]], None]
_SAMPLE_TOKENS = 80


@dataclass(frozen=True)
class Outcome:
    """Where a run stands: its step of so many, and the signal that stopped it before the last (None: none did)."""

    step: int
    steps: int
    stopped_by: str | None


def run(recipe: Recipe, folder: Path, show: Tell, parallel: Parallel | None = None,
        sampler: Sampler | None = None) -> Outcome:
    """Train by a recipe in `folder`, or go on with the run that is there.

    show: is told every record that goes into metrics.jsonl, and what happens in words ({"event": ..., "message": ...}).
    parallel: this process among those of the run, found out without it; the first alone shows and writes.
    sampler: what answers in reinforcement learning, the plain one without it.
    SIGINT and SIGTERM end the run after the step, with a checkpoint. Raises DokjaError when the folder holds a run of
    another recipe, when the run diverges, and when the disk is full; the checkpoint before is whole.
    """
    parallel = parallel or make_parallel(recipe.parallel, precision=recipe.train.precision)
    if parallel.count > 1 and recipe.task.kind == "grpo":
        raise DokjaError("grpo samples from the model in one piece, which several processes do not hold: run it as one")
    if recipe.train.compile and max(recipe.parallel.expert, recipe.parallel.tensor) > 1:
        raise DokjaError("what passes between experts' and tensor ranks is not compiled: leave train.compile off, or "
                         "use parallel.shard alone")
    if recipe.train.precision == "fp8" and recipe.parallel.tensor > 1:
        raise DokjaError("float8 layers are not divided by tensor parallelism: leave train.precision at bf16, or "
                         "use parallel.shard and parallel.expert")
    first = parallel.index == 0
    if first:
        check_sinks(recipe.watch.log)
        _claim(recipe, folder)
        show({"event": "prepare", "message": "preparing text, tokenizer and model"})
        material = prepare(recipe, folder)
    parallel.any(False)  # what the first process made is there for all
    if not first:
        show = _nothing
        material = prepare(recipe, folder)
    steps = _steps(recipe, material)
    trainer = _trainer(recipe, material, steps, parallel, sampler)
    checkpoints = Checkpoints(folder / "checkpoints", keep=recipe.watch.keep, asynchronous=recipe.watch.asynchronous,
                              parallel=parallel)
    seconds = (checkpoints.restore(trainer) or {"seconds": 0.0})["seconds"]
    sinks = None
    if first:
        record = _record(recipe, folder, material, steps)
        sinks = open_sinks(folder, recipe.watch.log, record, trainer.step_index)
        show({"event": "start", "step": trainer.step_index, **record["facts"]})

    def tell(line: dict[str, Any]) -> None:
        if sinks is not None:
            sinks.log(line)
        show(line)

    if trainer.step_index and first:
        tell({"event": "resume", "step": trainer.step_index, "message": f"going on at step {trainer.step_index:,}"})
        _forget_samples(folder, trainer.step_index)
    watch, began = recipe.watch, time.monotonic() - seconds

    def save() -> None:
        if trainer.step_index not in checkpoints.steps():
            checkpoints.save(trainer, {"seconds": time.monotonic() - began})

    try:
        with _signals() as caught:
            while trainer.step_index < steps and not parallel.any(bool(caught)):
                step = trainer.step()
                tell(_line(step, time.monotonic() - began))
                if step.skipped:
                    tell({"event": "spike", "step": step.step, "message": f"step skipped: {step.skipped}"})
                last = step.step == steps
                if _due(step.step, watch.evaluate, last) and material.heldout is not None:
                    bits = material.heldout.bits_per_byte(trainer.model, recipe.task.batch)
                    tell({"event": "evaluation", "step": step.step, "heldout": bits})
                if _due(step.step, watch.sample, last):
                    model = _whole(trainer)
                    if model is not None:
                        _sample(recipe, folder, material, trainer, model)
                if _due(step.step, watch.checkpoint, last):
                    save()
            checkpoints.wait()
            if trainer.step_index < steps:
                save()
                checkpoints.wait()
    finally:
        if sinks is not None:
            sinks.close()
    if trainer.step_index == steps:
        model = _whole(trainer)
        if model is not None:
            _finish(recipe, folder, material, trainer, model)
    stopped = trainer.step_index < steps
    return Outcome(trainer.step_index, steps, (caught[0] if caught else "another process") if stopped else None)


def _nothing(line: dict[str, Any]) -> None: ...


def _whole(trainer: Trainer) -> Decoder | None:
    """The model in one piece: the trainer's own, or for the first of several processes a copy; None for the others."""
    parallel = trainer.parallel
    if parallel.count == 1:
        return trainer.model
    model = Decoder(trainer.spec) if parallel.index == 0 else None
    mine = {} if model is None else model.state_dict()
    for name, tensor in trainer.tensors().items():
        if name.startswith("model."):
            whole = parallel.whole(name, tensor)
            if model is not None:
                mine[name.removeprefix("model.")].copy_(whole)
    return model


def _due(step: int, every: int, last: bool) -> bool:
    return last or (every > 0 and step % every == 0)


def _line(step: Step, seconds: float) -> dict[str, Any]:
    return {"step": step.step, "loss": step.loss, "rate": step.rate, "gradient_norm": step.gradient_norm,
            "tokens": step.tokens, "flops": step.flops, "seconds": round(seconds, 3), "skipped": bool(step.skipped),
            **step.numbers}


def _claim(recipe: Recipe, folder: Path) -> None:
    """Refuse a folder whose run was made by another recipe; what only says how it is looked at may differ."""
    path = folder / RECORD
    if not path.exists():
        if folder.exists() and any(folder.iterdir()) and not (folder / "data").exists():
            raise DokjaError(f"{folder} holds something else: give --out an empty folder or one that does not exist")
        folder.mkdir(parents=True, exist_ok=True)
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))["recipe"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DokjaError(f"{path} is not readable as a run's record ({error}): give another folder") from None
    changed = {key: values for key, values in differences(before, recipe.to_dict()).items()
               if not any(key == free or key.startswith(free + ".") for free in FREE)}
    if changed:
        key, (was, now) = next(iter(changed.items()))
        raise DokjaError(f"{folder} holds a run with {key} = {was!r}, not {now!r}: give another folder to --out, or "
                         "--fresh to begin again")


def _steps(recipe: Recipe, material: Material) -> int:
    schedule = recipe.schedule
    if (schedule.steps is None) == (schedule.tokens is None):
        raise DokjaError("a run ends after so many steps or so many tokens: set one of schedule.steps and "
                         "schedule.tokens")
    if schedule.tokens is not None:
        return max(1, int(schedule.tokens // (recipe.task.batch * material.spec.context)))
    assert schedule.steps is not None
    return schedule.steps


def _trainer(recipe: Recipe, material: Material, steps: int, parallel: Parallel, sampler: Sampler | None) -> Trainer:
    its = recipe.schedule
    schedule = Schedule([steps], warmup=its.warmup, decay=its.decay, floor=its.floor, shape=its.shape)
    return Trainer(material.spec, objective(recipe, material, sampler), recipe.train, schedule, model=material.model,
                   parallel=parallel)


def _record(recipe: Recipe, folder: Path, material: Material, steps: int) -> dict[str, Any]:
    """Write run.json: the resolved recipe, and what follows from it."""
    path, spec = folder / RECORD, material.spec
    counted = parameters(spec)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    if path.exists():
        started = json.loads(path.read_text(encoding="utf-8"))["facts"]["started"]
    record = {
        "recipe": recipe.to_dict(), "digest": recipe.digest(),
        "facts": {
            "spec": spec.to_dict(), "family": material.family.name, "parameters": counted.total,
            "active": counted.active, "context": spec.context, "steps": steps,
            "tokens_per_step": recipe.task.batch * spec.context,
            "flops_per_token": training_flops_per_token(spec, spec.context), "started": started,
            "device": recipe.train.device, "threads": torch.get_num_threads(),
            "machine": f"{platform.system()} {platform.machine()}",
            "versions": {"dokja": __version__, "torch": torch.__version__, "python": platform.python_version()},
        },
        "data": material.about,
    }
    draft = path.with_name(path.name + ".draft")
    draft.write_text(json.dumps(record, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
    return record


def _sample(recipe: Recipe, folder: Path, material: Material, trainer: Trainer, model: Decoder) -> None:
    """What the model writes now, greedily; a line a prompt."""
    codec = material.codec
    options = Sampling(max_tokens=_SAMPLE_TOKENS, temperature=0.7, top_p=0.9,
                       seed=named_seed(recipe.train.seed, "sample", trainer.step_index),
                       stop=(codec.end_of_text, codec.end_of_turn))
    prompts = recipe.watch.prompts or _openings(material)
    ids = [[codec.end_of_text, *codec.encode(prompt)] for prompt in prompts]
    written = generate(model, ids, options)
    trainer.model.train()
    with open(folder / "samples.jsonl", "a", encoding="utf-8") as file:
        for prompt, answer in zip(prompts, written, strict=True):
            line = {"step": trainer.step_index, "prompt": prompt, "text": codec.decode(answer)}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _forget_samples(folder: Path, step: int) -> None:
    """Drop what was written after a step that the run went back to."""
    path = folder / "samples.jsonl"
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
        path.write_text("".join(kept), encoding="utf-8")


def _openings(material: Material) -> tuple[str, ...]:
    """The first words of three held-out sequences."""
    if material.heldout is None:
        return ("오늘",)
    codec = material.codec
    texts = (codec.decode(row[1:33].tolist()) for row in material.heldout.sequences.tokens[:3])
    return tuple(" ".join(text.split()[:4]) or "오늘" for text in texts)


def _finish(recipe: Recipe, folder: Path, material: Material, trainer: Trainer, model: Decoder) -> None:
    card = {"family": material.family.name, "team": recipe.name, "seed": recipe.train.seed, "tokens": trainer.tokens,
            "flops": trainer.flops, "recipe": recipe.digest(),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "notice": "A published architecture trained with Dokja from random weights; not the company's model."}
    save_folder(folder / "model", model.eval(), material.codec, card)
    (folder / "model" / "README.md").write_text(model_card(folder), encoding="utf-8")
    (folder / "model" / "README.ko.md").write_text(model_card(folder, "ko"), encoding="utf-8")


@contextmanager
def _signals() -> Iterator[list[str]]:
    """A list that holds the name of SIGINT or SIGTERM once one came; a second one acts as usual."""
    caught: list[str] = []
    if threading.current_thread() is not threading.main_thread():  # signals go to the main thread, not to Ray's
        yield caught
        return

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(signal.Signals(number).name)
        signal.signal(number, before[number])

    before: dict[int, Any] = {}
    for number in (int(signal.SIGINT), int(signal.SIGTERM)):
        before[number] = signal.getsignal(number)
        signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

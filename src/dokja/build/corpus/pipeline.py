"""`dokja build corpus`: a recipe in, a folder of shards and a manifest out, in phases that can be interrupted anywhere.

read: pieces of sources to runs; near: near-duplicates among their signatures; finish: buckets of runs to segments;
join: segments to shards. Work lies in OUT/.work until the corpus is whole; what is done there is not done again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DokjaError
from .dedup import NearDuplicates
from .engine import Engine, engine
from .recipe import Recipe
from .report import write_report
from .shards import FORMAT, MANIFEST, Shards, manifest_hash, open_shards
from .sources import Piece, file_hash, pieces
from .spool import hits_of, signatures, zstandard
from .tally import Tally
from .work import (
    SPLITS,
    TRAIN,
    Plan,
    finish_bucket,
    gram,
    join_segments,
    load_tokenizer,
    near_duplicates,
    read_piece,
    token_dtype,
)

Progress = Callable[[str, int, int], None]

_BUCKETS_OF_DATASET = 64  # how large a dataset is, nobody says before it is read
_WORK = ".work"
_PLAN = 1  # the format of a working folder


def build(recipe: Recipe, out: Path, *, workers: int = 1, engine_name: str = "local", fresh: bool = False,
          progress: Progress | None = None) -> Shards:
    """Make the corpus of a recipe under `out`, or go on where an interrupted run stopped.

    workers: processes. engine_name: "local" or "ray". fresh: replace a finished corpus, and begin again where one was
    interrupted. progress: called with a phase, pieces of work done and all of them. The same recipe and the same text
    give the same bytes, whatever the workers, the engine and the order of files.

    Raises DokjaError for a recipe or text that does not fit, and when the disk is full; then nothing there claims to be
    a corpus.
    """
    try:
        with _locked(out):
            return _build(recipe, out, workers, engine_name, fresh, progress or (lambda phase, done, whole: None))
    except OSError as error:
        with contextlib.suppress(OSError):
            if error.errno in (errno.ENOSPC, errno.EDQUOT) or (error.errno is None and
                                                               shutil.disk_usage(out).free < 1 << 20):
                raise DokjaError(f"the disk of {out} is full; free some space and run the same command again: it goes "
                                 "on where it was") from None
        raise DokjaError(f"{error.filename or out} cannot be read or written ({error.strerror or error}); choose a "
                         "folder that can be written to") from None


def _build(recipe: Recipe, out: Path, workers: int, engine_name: str, fresh: bool, progress: Progress) -> Shards:
    zstandard()
    if (out / MANIFEST).exists() and not fresh:
        raise DokjaError(f"{out} holds a finished corpus; choose another folder, or replace it with --fresh")
    if not (out / _WORK).exists() and any(entry.name != MANIFEST for entry in out.iterdir()) and not (
            out / MANIFEST).exists():
        raise DokjaError(f"{out} holds files that are no corpus; choose another folder")
    plan, work = _prepare(recipe, out, workers, fresh)
    times: dict[str, float] = {}
    with engine(engine_name, workers) as runner:
        read = _phase("read", [(str(plan.folder), piece) for piece in work], read_piece,
                      lambda task: plan.folder / "read" / f"{task[1].name}.json", runner, progress, times)
        tally = _merged(recipe, read)
        runs = tuple(sorted(run for result in read for run in result["runs"]))
        if not runs:
            raise DokjaError(f"no text is left of {_told(tally)}; look at what the sources hold and loosen the recipe")
        with _timed("near", times):
            _near(plan, runs, progress)
            _common(plan, runs)
        done = _phase("finish", [(str(plan.folder), bucket, runs) for bucket in range(plan.buckets)], finish_bucket,
                      lambda task: plan.folder / "buckets" / f"{task[1]:06d}" / "result.json", runner, progress, times)
        done.sort(key=lambda result: result["bucket"])
        tally.merge(_merged(recipe, done))
        shards = _join(plan, done, runner, progress, times)
    manifest = _manifest(plan, read, tally, shards)
    _publish(plan, out, manifest, tally, done, times)
    return open_shards(out)


def _prepare(recipe: Recipe, out: Path, workers: int, fresh: bool) -> tuple[Plan, list[Piece]]:
    """The plan and the pieces of work; those of an interrupted run of the same recipe over the same files."""
    folder = (out / _WORK).resolve()
    work = [piece for source in recipe.sources for piece in pieces(source, workers)]
    benchmarks = [str(Path(path).resolve()) for path in
                  (recipe.decontaminate.benchmarks if recipe.decontaminate else ())]
    tokenizer = _tokenizer(recipe)
    inputs = {path: _stamp(Path(path)) for path in {piece.path for piece in work if piece.path}.union(
        benchmarks, [tokenizer] if tokenizer else [])}
    total = sum(piece.size for piece in work if piece.part == 0)
    buckets = max(1, -(-total // recipe.sizes.bucket_bytes),
                  _BUCKETS_OF_DATASET if any(not piece.path for piece in work) else 0)
    plan = {"format": _PLAN, "recipe": recipe.to_dict(), "buckets": buckets, "benchmarks": benchmarks,
            "tokenizer": tokenizer, "inputs": inputs}
    path = folder / "plan.json"
    try:
        known = None if fresh else json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    if known is not None and plan == {key: value for key, value in known.items() if key != "pieces"}:
        work = [Piece(**piece) for piece in known["pieces"]]
    else:
        _clear(folder)
        draft = path.with_suffix(".draft")
        whole = {**plan, "pieces": [dataclasses.asdict(piece) for piece in work]}
        draft.write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
        os.replace(draft, path)
    for name in ("read", "runs", "buckets"):
        (folder / name).mkdir(exist_ok=True)
    return Plan.load(str(folder)), work


def _tokenizer(recipe: Recipe) -> str | None:
    if recipe.tokenizer is None:
        return None
    path = Path(recipe.tokenizer)
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.exists():
        raise DokjaError(f"{path} does not exist; give a tokenizer.json or a folder with one")
    if load_tokenizer(str(path.resolve())).token_to_id(recipe.end_of_text) is None:
        raise DokjaError(f"{path} has no token {recipe.end_of_text!r} to end documents with; name its own in "
                         "end_of_text")
    return str(path.resolve())


def _stamp(path: Path) -> list[int]:
    """Tells whether a file was changed: bytes and nanoseconds; of a folder the youngest file."""
    if path.is_dir():
        stats = [file.stat() for file in path.rglob("*") if file.is_file()]
        return [sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)]
    if not path.exists():
        raise DokjaError(f"{path} does not exist; mend the recipe")
    return [path.stat().st_size, path.stat().st_mtime_ns]


def _phase(name: str, tasks: list[Any], function: Callable[[Any], dict[str, Any]], result_of: Callable[[Any], Path],
           runner: Engine, progress: Progress, times: dict[str, float]) -> list[dict[str, Any]]:
    """The results of all tasks, those that an earlier run has left among them."""
    results, left = [], []
    with _timed(name, times):
        for task in tasks:
            try:
                results.append(json.loads(result_of(task).read_text(encoding="utf-8")))
            except (OSError, ValueError):
                left.append(task)
        progress(name, len(results), len(tasks))
        for result in runner.map(function, left):
            results.append(result)
            progress(name, len(results), len(tasks))
    return results


@contextmanager
def _timed(name: str, times: dict[str, float]) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    times[name] = times.get(name, 0.0) + time.perf_counter() - begun


def _merged(recipe: Recipe, results: list[dict[str, Any]]) -> Tally:
    tally = Tally(recipe.samples)
    for result in results:
        tally.merge(Tally.from_dict(result["tally"], recipe.samples))
    return tally


def _near(plan: Plan, runs: tuple[str, ...], progress: Progress) -> None:
    """Write the keys of near-duplicates that are dropped, rising."""
    config, path = plan.recipe.near, plan.folder / "near.keys"
    if config is None or path.exists():
        return
    folder = plan.folder / "near"
    near = NearDuplicates(config, folder)
    paths = [plan.folder / "runs" / run for run in runs]
    for bucket in range(plan.buckets):
        for key, row in signatures(paths, bucket, plan.buckets, config.slots + 1):
            near.add_signature(key, row)
        progress("near", bucket + 1, plan.buckets)
    draft = path.with_suffix(".draft")
    np.fromiter(near.duplicates(), np.int64).tofile(draft)
    os.replace(draft, path)
    shutil.rmtree(folder, ignore_errors=True)
    for run in paths:  # signatures take as much room as short texts, and are not looked at again
        run.with_suffix(".signatures").unlink(missing_ok=True)
        run.with_suffix(".keys").unlink(missing_ok=True)


def _common(plan: Plan, runs: tuple[str, ...]) -> None:
    """Write which n-grams of benchmarks more documents share than is a leak."""
    recipe, copies = plan.recipe.decontaminate, near_duplicates(plan.folder)
    counts: Counter[str] = Counter()
    for key, hits in hits_of([plan.folder / "runs" / run for run in runs]):
        place = int(np.searchsorted(copies, key))
        if place == len(copies) or copies[place] != key:
            counts.update({gram(hit[2]) for hit in json.loads(hits)})
    common = sorted(found for found, count in counts.items() if recipe is not None and count > recipe.common)
    (plan.folder / "common.json").write_text(json.dumps(common, ensure_ascii=False), encoding="utf-8")


def _join(plan: Plan, buckets: list[dict[str, Any]], runner: Engine, progress: Progress,
          times: dict[str, float]) -> dict[str, list[dict[str, Any]]]:
    """The shards of every source."""
    kinds = ("text", "tokens") if plan.tokenizer else ("text",)
    tasks = []
    for source in plan.recipe.sources:
        for split in SPLITS:
            segments = tuple((result["bucket"], result["segments"][f"{source.name}.{split}"]) for result in buckets
                             if f"{source.name}.{split}" in result["segments"])
            tasks += [(str(plan.folder), source.name, split, kind, segments) for kind in kinds if segments]
    shutil.rmtree(plan.folder / "out", ignore_errors=True)
    (plan.folder / "out").mkdir()
    found: dict[str, list[dict[str, Any]]] = {source.name: [] for source in plan.recipe.sources}
    with _timed("join", times):
        for number, shards in enumerate(runner.map(join_segments, tasks), start=1):
            for shard in shards:
                found[shard["file"].split("/")[1]].append(shard)
            progress("join", number, len(tasks))
    return {name: sorted(shards, key=lambda shard: shard["file"]) for name, shards in found.items()}


def _manifest(plan: Plan, read: list[dict[str, Any]], tally: Tally, shards: dict[str, list[dict[str, Any]]]
              ) -> dict[str, Any]:
    recipe = plan.recipe
    tokens = {name: [sum(shard["tokens"] for shard in held if shard["file"].startswith(f"{top}/"))
                     for top in ("tokens", "tokens-heldout")] for name, held in shards.items()}
    sizes = {source.name: tokens[source.name][0] if plan.tokenizer else tally.counts[source.name, "out", ""].bytes
             for source in recipe.sources}
    whole = sum(sizes.values())
    if not whole:
        raise DokjaError(f"no text is left to train on of {_told(tally)}; look at what the sources hold and loosen the "
                         "recipe")
    sources = {}
    for source in recipe.sources:
        counts = {what: tally.counts[source.name, what, ""] for what in ("in", "out", "heldout")}
        dropped: dict[str, dict[str, dict[str, int]]] = {}
        changed: dict[str, dict[str, int]] = {}
        for (name, what, why), count in sorted(tally.counts.items()):
            if name == source.name and what.startswith("dropped "):
                dropped.setdefault(what.removeprefix("dropped "), {})[why] = dataclasses.asdict(count)
            elif name == source.name and what.startswith("changed "):
                changed.setdefault(what.removeprefix("changed "), {})[why] = count.documents
        hashes = sorted(result["hash"] for result in read if result["source"] == source.name and result["hash"])
        sources[source.name] = {
            "licence": source.licence,
            "origin": source.origin,
            "input": {"sha256": hashlib.sha256("\n".join(hashes).encode()).hexdigest(), "files": len(hashes)},
            "in": dataclasses.asdict(counts["in"]),
            "out": {**dataclasses.asdict(counts["out"]), "tokens": tokens[source.name][0]},
            "heldout": {**dataclasses.asdict(counts["heldout"]), "tokens": tokens[source.name][1]},
            "share": sizes[source.name] / whole,
            "dropped": dropped,
            "changed": changed,
            "shards": shards[source.name],
        }
    tokenizer = None
    if plan.tokenizer is not None:
        loaded = load_tokenizer(plan.tokenizer)
        vocab = loaded.get_vocab_size()
        tokenizer = {"dtype": token_dtype(vocab).name, "vocab": vocab, "tokenizer": file_hash(Path(plan.tokenizer)),
                     "end_of_text": recipe.end_of_text, "end_of_text_id": loaded.token_to_id(recipe.end_of_text)}
    manifest = {
        "format": FORMAT,
        "name": recipe.name,
        "recipe": recipe.digest(),
        "benchmarks": _content_hash(plan.benchmarks),
        "sources": dict(sorted(sources.items())),
        "tokens": tokenizer,
        "stages": recipe.mixture(sizes),
    }
    return {**manifest, "hash": manifest_hash(manifest)}


def _content_hash(paths: tuple[str, ...]) -> str | None:
    """Of what the files and folders hold, wherever they lie."""
    files = [file for path in map(Path, paths) for file in (path.rglob("*") if path.is_dir() else [path])
             if file.is_file()]
    return hashlib.sha256("\n".join(sorted(map(file_hash, files))).encode()).hexdigest() if files else None


def _publish(plan: Plan, out: Path, manifest: dict[str, Any], tally: Tally, done: list[dict[str, Any]],
             times: dict[str, float]) -> None:
    """Move the finished corpus into its place, the manifest last, and take the working folder away."""
    import yaml

    draft = plan.folder / "out"
    if plan.tokenizer is not None:
        shutil.copyfile(plan.tokenizer, draft / "tokenizer.json")
    (draft / "recipe.yaml").write_text(yaml.safe_dump(plan.recipe.to_dict(), allow_unicode=True, sort_keys=False),
                                       encoding="utf-8")
    write_report(draft, plan.recipe, manifest, tally, done, times)
    (draft / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    # While files are exchanged there is no manifest, so no reader can take a mixture for a corpus.
    (out / MANIFEST).unlink(missing_ok=True)
    for top in ("text", "tokens"):
        for split in SPLITS:
            shutil.rmtree(out / (top if split == TRAIN else f"{top}-{split}"), ignore_errors=True)
    for entry in sorted(draft.iterdir(), key=lambda entry: entry.name == MANIFEST):
        os.replace(entry, out / entry.name)
    _clear(plan.folder)
    shutil.rmtree(plan.folder, ignore_errors=True)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Two runs must not work in one folder."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows: there the user sees to it
        yield
        return
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DokjaError(f"another run is working in {out}; wait for it or choose another folder") from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    """An empty folder."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _told(tally: Tally) -> str:
    documents = sum(count.documents for (_, what, _), count in tally.counts.items() if what == "in")
    reasons: Counter[str] = Counter()
    for (_, what, why), count in sorted(tally.counts.items()):
        if what.startswith("dropped "):
            reasons[f"{what.removeprefix('dropped ')}: {why}"] += count.documents
    said = "; ".join(f"{number:,} {why}" for why, number in reasons.most_common(3))
    return f"{documents:,} document{'s' * (documents != 1)}" + (f" ({said})" if said else "")

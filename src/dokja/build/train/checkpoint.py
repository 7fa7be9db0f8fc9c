"""Checkpoints of a run: written beside the training, complete or invisible, verified by hash, the last few kept.

A checkpoint is a folder step-00001200 with safetensors files and checkpoint.json, which holds the run's state and the
SHA-256 of every file. It is written under another name and renamed when all of it is on the disk.

A run of one process writes state.safetensors. In a run of several each writes what it alone, or first of all, holds,
into files that PyTorch's `HuggingFaceStorageReader` reads (DCP's safetensors format); so does `shards.py`, for any
number of processes. DCP's own writers are not used: they serialise in memory, and its metadata file is a pickle.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import struct
import threading
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...errors import DokjaError
from ..layout import Box

RECORD = "checkpoint.json"
SINGLE = "state.safetensors"
_DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.bfloat16: "BF16", torch.float16: "F16",
           torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8"}
_PATIENCE = 0.02  # seconds between looks for what other processes wrote
_CHUNK = 8 << 20  # bytes at a time: neither the disk nor the hash holds the interpreter's lock for long


class Resumable(Protocol):
    """What can be checkpointed: a `Trainer`."""

    def tensors(self) -> dict[str, Tensor]: ...

    def state(self) -> dict[str, Any]: ...

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any], where: str) -> None: ...


class Ranks(Protocol):
    """The processes of a run: `trainer.Parallel`, whose docstrings hold."""

    index: int
    count: int

    def any(self, value: bool) -> bool: ...

    def held(self, name: str, tensor: Tensor) -> tuple[tuple[int, ...], list[Box], bool]: ...


class Damaged(DokjaError):  # noqa: N818 (a state of a file)
    """A checkpoint that is not what was written; the one before may be whole."""


class Checkpoints:
    """The checkpoints of one run, in one folder.

    keep: how many of the newest stay. asynchronous: whether `save` returns once the tensors are copied, and a thread
    writes them. parallel: the processes of the run, None for one; they share the folder, and each must call `save`,
    `wait` and `restore` when the others do.
    """

    def __init__(self, folder: Path, *, keep: int = 2, asynchronous: bool = True,
                 parallel: Ranks | None = None) -> None:
        if keep < 1:
            raise DokjaError(f"{keep} checkpoints kept are none to go on from: keep at least 1")
        self.folder, self.keep, self.asynchronous = folder, keep, asynchronous
        self.parallel = parallel if parallel is not None and parallel.count > 1 else None
        self._copies: dict[tuple[str, int], Tensor] = {}  # by name and the how-manieth box of it
        self._offsets: dict[tuple[str, int], tuple[int, ...]] = {}
        self._writer: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._written, self._abandoned = threading.Event(), threading.Event()

    def save(self, run: Resumable, extra: Mapping[str, Any] | None = None) -> None:
        """Save a run with `extra` (JSON) beside it.

        An earlier save that is still being written is waited for. What went wrong with it is raised here or by `wait`:
        DokjaError for a full disk, with the checkpoints before left whole.
        """
        self.wait()
        for name, tensor in run.tensors().items():
            for box, offset, part in self._own(name, tensor.detach()):
                kept = self._copies.get((name, box))
                if kept is None or kept.shape != part.shape:
                    self._copies[name, box] = part.to("cpu", copy=True).contiguous()
                else:
                    kept.copy_(part)
                self._offsets[name, box] = offset
        record = {"state": run.state(), "extra": dict(extra or {})}
        self._written.clear()
        self._abandoned.clear()
        self._begin(record)
        self._writer = threading.Thread(target=self._write, args=(record,), name="checkpoint")
        self._writer.start()
        if not self.asynchronous:
            self.wait()

    def _own(self, name: str, tensor: Tensor) -> list[tuple[int, tuple[int, ...], Tensor]]:
        """The boxes of a tensor that this process saves: number, offset in the whole, content."""
        if self.parallel is None:
            return [(0, (0,) * tensor.ndim, tensor)]
        _, boxes, first = self.parallel.held(name, tensor)
        return [(i, box.offset, box.of(tensor)) for i, box in enumerate(boxes)] if first else []

    @property
    def writing(self) -> bool:
        """Whether something is still on its way to the disk."""
        return self._writer is not None and self._writer.is_alive()

    def wait(self) -> None:
        """Until what was saved is on the disk; raises what went wrong with it."""
        if self._writer is not None and self.parallel is not None:
            self._written.wait()
            if self.parallel.any(self._failure is not None):
                self._abandoned.set()
        if self._writer is not None:
            self._writer.join()
            self._writer = None
            if self.parallel is not None and self.parallel.any(self._failure is not None) and self._failure is None:
                raise DokjaError(f"another process could not write its part of a checkpoint in {self.folder}: its "
                                 "message says why")
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def restore(self, run: Resumable) -> dict[str, Any] | None:
        """Bring a run to its newest whole checkpoint and return its `extra`; None where there is none at all.

        A damaged one is passed over with a warning. Raises DokjaError when all are damaged, and when they belong to
        another run.
        """
        self.wait()
        if self._first:
            for path in self.folder.glob("step-*.draft"):  # cut off while it was being written
                shutil.rmtree(path, ignore_errors=True)
        self._meet()
        found = self._found()
        for path in reversed(found):
            damage = None
            try:
                tensors, record = self._read(path, run)
            except Damaged as error:
                damage = error
            if (self.parallel is not None and self.parallel.any(damage is not None)) or damage is not None:
                if damage is not None:
                    warnings.warn(f"{damage}; going on from the one before", stacklevel=2)
                continue
            if self.parallel is not None:
                from .shards import read_shards

                tensors = read_shards(path, run.tensors(), self.parallel)
            run.restore(tensors, record["state"], str(path))
            return dict(record["extra"])
        if found:
            raise DokjaError(f"every checkpoint in {self.folder} is damaged: delete them to begin the run again")
        return None

    def _read(self, path: Path, run: Resumable) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Verify a checkpoint, or this process's share of its files, and read what needs no one else."""
        record = read_record(path)
        if self.parallel is not None:
            verify(path, record, sorted(record["files"])[self.parallel.index :: self.parallel.count])
            return {}, record
        if set(record["files"]) == {SINGLE}:
            return read(path)
        from .shards import read_shards

        verify(path, record, record["files"])
        return read_shards(path, run.tensors(), None), record

    @property
    def _first(self) -> bool:
        return self.parallel is None or self.parallel.index == 0

    def _meet(self) -> None:
        """Go on when all processes are here."""
        if self.parallel is not None:
            self.parallel.any(False)

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, the oldest first."""
        return [int(path.name.removeprefix("step-")) for path in self._found()]

    def _found(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir() and path.suffix != ".draft")

    def _draft(self, record: dict[str, Any]) -> tuple[Path, Path]:
        path = self.folder / f"step-{record['state']['step']:08d}"
        return path, path.with_suffix(".draft")

    def _begin(self, record: dict[str, Any]) -> None:
        """An empty folder for all processes to write into."""
        if self._first:
            path, draft = self._draft(record)
            try:
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir(parents=True)
            except OSError as error:
                self._failure = _told(error, path)
        self._meet()

    def _write(self, record: dict[str, Any]) -> None:
        path, draft = self._draft(record)
        try:
            if self._failure is not None:
                return
            files = self._write_files(draft)
            if self.parallel is not None:
                files = self._all_files(draft, files)
            if self._first and not self._abandoned.is_set():
                record["files"] = files
                publish(draft, path, record)
                for old in self._found()[: -self.keep]:
                    shutil.rmtree(old)
        except OSError as error:
            self._failure = _told(error, path)
        except BaseException as error:  # whatever it is, the thread must not swallow it
            self._failure = error
        finally:
            self._written.set()
            if self._first and (self._failure is not None or self._abandoned.is_set()):
                shutil.rmtree(draft, ignore_errors=True)

    def _write_files(self, draft: Path) -> dict[str, str]:
        """This process's files by name, with their SHA-256."""
        if self.parallel is None:
            return {SINGLE: write_tensors(draft / SINGLE, {name: copy for (name, _), copy in self._copies.items()})}
        files = {}
        boxes = sorted({box for _, box in self._copies})
        for box in boxes:  # a file names a tensor once
            name = f"shard-{self.parallel.index + 1:05d}-model-{box + 1:05d}-of-{len(boxes):05d}.safetensors"
            part = {name: copy for (name, its), copy in self._copies.items() if its == box}
            files[name] = write_tensors(draft / name, part, {of: self._offsets[of, box] for of in part})
        return files

    def _all_files(self, draft: Path, files: dict[str, str]) -> dict[str, str]:
        """Tell the first process what this one wrote; it waits for all, the others have nothing left to do."""
        assert self.parallel is not None
        told = draft / f"written-{self.parallel.index:05d}.json"
        part = told.with_suffix(".part")
        part.write_text(json.dumps(files), encoding="utf-8")
        part.rename(told)
        self._written.set()
        while self._first and not self._abandoned.is_set():
            reports = sorted(draft.glob("written-*.json"))
            if len(reports) == self.parallel.count:
                for report in reports:
                    files |= json.loads(report.read_text(encoding="utf-8"))
                    report.unlink()
                break
            if not threading.main_thread().is_alive():
                raise DokjaError(f"the run ended before all processes had written their parts of {draft}")
            time.sleep(_PATIENCE)
        return files


def publish(draft: Path, path: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a checkpoint whose files are in `draft`, and give it its name."""
    content = json.dumps(record, ensure_ascii=False)
    signed = json.dumps({"sha256": hashlib.sha256(content.encode()).hexdigest(), "record": content}, ensure_ascii=False)
    with open(draft / RECORD, "w", encoding="utf-8") as file:
        file.write(signed)
        _sync(file.fileno())
    _sync_folder(draft)
    shutil.rmtree(path, ignore_errors=True)  # the same step, saved before a restart
    draft.rename(path)
    _sync_folder(path.parent)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the record of one checkpoint; raises Damaged for anything that was not written so."""
    record = read_record(path)
    verify(path, record, record["files"])
    tensors: dict[str, Tensor] = {}
    for name in record["files"]:
        try:
            with safe_open(path / name, framework="pt") as file:
                tensors |= {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError) as error:
            raise Damaged(f"{path / name} is not readable ({error})") from error
    return tensors, record


def verify(path: Path, record: Mapping[str, Any], names: Iterable[str]) -> None:
    """Raise Damaged for the first of these files that is not what was written."""
    for name in names:
        try:
            if digest(path / name) != record["files"][name]:
                raise Damaged(f"{path / name} has changed since it was written")
        except OSError as error:
            raise Damaged(f"{path / name} is not readable ({error})") from error


def read_record(path: Path) -> dict[str, Any]:
    """What checkpoint.json says: "state", "extra" and the hashes of "files"; raises Damaged."""
    try:
        signed = json.loads((path / RECORD).read_text(encoding="utf-8"))
        if hashlib.sha256(signed["record"].encode()).hexdigest() != signed["sha256"]:
            raise Damaged(f"{path / RECORD} has changed since it was written")
        record: dict[str, Any] = json.loads(signed["record"])
        return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path / RECORD} is not readable ({error})") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor],
                  offsets: Mapping[str, tuple[int, ...]] | None = None) -> str:
    """A safetensors file, written and hashed in one pass; its SHA-256.

    offsets: where the tensors lie in whole ones, as DCP's reader looks for it.

    The library's own writer holds the interpreter's lock while it writes, and training would stand still.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    if offsets is not None:
        places = {name: {"saved_offsets": list(offset)} for name, offset in offsets.items()}
        header["__metadata__"] |= {"DCP_VERSION": "1.0", "DCP_SHARDING_INFO": json.dumps(places, ensure_ascii=False)}
    offset = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape),
                        "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    encoded = json.dumps(header, ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % 8)
    hashed = hashlib.sha256()
    with open(path, "wb", buffering=0) as file:
        def put(data: Any) -> None:
            view = memoryview(data).cast("B")
            for at in range(0, len(view), _CHUNK):
                piece = view[at : at + _CHUNK]
                while piece:
                    written = file.write(piece)
                    assert written
                    hashed.update(piece[:written])
                    piece = piece[written:]

        put(struct.pack("<Q", len(encoded)))
        put(encoded)
        for name in sorted(tensors):
            if tensors[name].numel():
                put(tensors[name].contiguous().view(-1).view(torch.uint8).numpy())
        _sync(file.fileno())
    return hashed.hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _told(error: OSError, path: Path) -> DokjaError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DokjaError(f"no space left for the checkpoint {path}: free some and run the same command again, the run "
                          "goes on from the checkpoint before")
    return DokjaError(f"the checkpoint {path} could not be written ({error.strerror}): run the same command again, the "
                      "run goes on from the checkpoint before")


def _sync(descriptor: int) -> None:
    os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # not every file system lets a folder be synchronised
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

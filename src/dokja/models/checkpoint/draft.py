"""Folders and files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ...errors import DokjaError


@contextmanager
def draft(path: Path, *, replace: bool = False, file: bool = False) -> Iterator[Path]:
    """A temporary folder beside `path`, or in it the one file to write; moved to `path` when the block ends.

    A target that exists (other than an empty folder) is replaced if `replace` says so; otherwise, and when the disk
    does not take it, DokjaError is raised and nothing is left behind.
    """
    if not replace and (path.is_file() or (path.is_dir() and (file or any(path.iterdir())))):
        raise DokjaError(f"{path} exists already: give another path or remove it")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise DokjaError(f"{path} cannot be written: {error.strerror}") from error
    try:
        yield made / path.name if file else made
        made.chmod(0o755)  # a temporary folder is for its owner alone
        if path.is_dir() and replace:
            shutil.rmtree(path)
        os.replace(made / path.name if file else made, path)
    except (OSError, SafetensorError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error).partition("\n")[0]
        raise DokjaError(f"{path} cannot be written: {reason}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)

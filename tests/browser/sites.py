"""The site of `pocket_site.py` in a process of its own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def site(database: Path, *models: str) -> Iterator[str]:
    """The address of a running site, whose season is finished; SIGTERM must end it cleanly."""
    program = [sys.executable, str(Path(__file__).with_name("pocket_site.py")), str(database), *models]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found, "the site did not start"
            yield found[0]
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            finally:
                process.kill()
    assert process.returncode == 0

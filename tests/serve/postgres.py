"""A PostgreSQL server of the tests' own, on a free port, in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def programs() -> Path | None:
    """The folder of initdb and postgres, the newest; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    program = found[-1] if found else shutil.which("initdb")
    return Path(program).resolve().parent if program else None


def _account() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as another account that is there."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
        except KeyError:
            continue
    raise RuntimeError("there is no account but root to run PostgreSQL")


@contextmanager
def server(bin_folder: Path) -> Iterator[str]:
    """The URL of a running server, without a database name at its end."""
    account = _account()
    home = Path(tempfile.mkdtemp(prefix="dokja-pg-"))
    if account:
        os.chown(home, account["user"], account["group"])
    data = home / "data"
    try:
        subprocess.run([bin_folder / "initdb", "-D", data, "-U", "dokja", "-A", "trust", "-E", "UTF8", "--locale=C",
                        "--no-sync"], check=True, capture_output=True, cwd=home, **account)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with subprocess.Popen([bin_folder / "postgres", "-D", data, "-p", str(port), "-k", home, "-c", "fsync=off",
                               "-c", "listen_addresses=127.0.0.1"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, cwd=home, **account) as process:
            try:
                _wait(bin_folder, port, process)
                yield f"postgresql://dokja@127.0.0.1:{port}"
            finally:
                process.send_signal(signal.SIGINT)  # its fast shutdown
                try:
                    process.wait(20)
                finally:
                    process.kill()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait(bin_folder: Path, port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while subprocess.run([bin_folder / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode:
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            assert process.stderr is not None
            raise RuntimeError(f"PostgreSQL did not start: {process.stderr.read().decode()}")
        time.sleep(0.1)

"""Starting and ending the server as a process does."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from dokja.errors import DokjaError
from dokja.serve.server import _bind

pytestmark = pytest.mark.timed

PROGRAM = "from dokja.serve import create_app, serve; serve(create_app(None, lambda: None), port=0)"


def test_a_port_in_use_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DokjaError, match=f"port {port} is in use .*choose another with --port"):
            _bind("127.0.0.1", port)


@pytest.mark.parametrize(("host", "port"), [("no.such.host.invalid", 8300), ("127.0.0.1", 70000)])
def test_an_impossible_address_is_one_sentence(host: str, port: int):
    with pytest.raises(DokjaError, match="cannot listen on"):
        _bind(host, port)


def test_ctrl_c_ends_it_cleanly():
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("Dokja serves at http://127.0.0.1:")
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=15)
        finally:
            process.kill()
    assert process.returncode == 0
    assert errors == ""

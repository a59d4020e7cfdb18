"""Commands that have imported the library before they begin: most take less time than their imports do."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 900.0  # seconds; many times what any command takes


def run_script(script: Path, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a script in a folder, which has its output in files for as long."""
    streams = (folder / "stdout.txt", folder / "stderr.txt")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [str(script), *map(str, arguments)]
    status = forked(command, environment, folder, streams)
    said = [path.read_text() for path in streams]
    for path in streams:
        path.unlink()
    return subprocess.CompletedProcess(command, status, *said)


def forked(command: list[str], environment: dict[str, str], folder: Path, streams: tuple[Path, Path]) -> int:
    """Returns the exit status of ``law`` or a script and its arguments, forked from :mod:`tests.fork_server`.

    Standard output and error are appended to the two files of ``streams``.
    """
    places = {"folder": str(folder), "streams": [str(path) for path in streams]}
    request = {"arguments": command, "environment": environment, **places}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(str(_server()))
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile() as answers, ended(int(answers.readline())):
            return int(answers.readline())


@contextlib.contextmanager
def ended(process: int) -> Iterator[None]:
    """Kills in the end what is left of a command's processes."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)


@functools.cache
def _server() -> Path:
    """Returns the socket of this process's server of law commands."""
    folder = Path(tempfile.mkdtemp())
    path, environment = folder / "socket", {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([sys.executable, "-m", "tests.fork_server", str(path)], env=environment, cwd=ROOT)
    atexit.register(shutil.rmtree, folder)
    atexit.register(server.wait)
    atexit.register(server.kill)
    end = time.monotonic() + TIMEOUT
    while not path.exists():
        assert server.poll() is None, "the server of law commands has not started"
        assert time.monotonic() < end
        time.sleep(0.02)
    return path

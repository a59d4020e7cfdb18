"""Commands without their imports: a process that has loaded the library forks one for each command.

python -m tests.fork_server SOCKET; a request is a line of JSON, the answers are the process and its exit status.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import socketserver
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import honeyguide
import models


def load() -> None:
    """Imports the library and what it needs; it looks at no environment. Law does, and is left to the commands."""
    for package in (honeyguide, models):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in ("torch._dynamo", "matplotlib.backends.backend_agg", "matplotlib.backends.backend_pdf"):
        importlib.import_module(name)
    gc.freeze()


def become(arguments: list[str], environment: dict[str, str], folder: str, streams: list[str]) -> None:
    """Runs ``law`` or a script as if this process had been started for it, and ends."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), number)
    status: Any = 1
    try:
        sys.argv = arguments
        if arguments[0] == "law":
            from law.cli.cli import run

            status = run()
        else:
            runpy.run_path(arguments[0], run_name="__main__")
            status = 0
    except SystemExit as error:
        status = error.code
    except BaseException:
        traceback.print_exc()
    if isinstance(status, str):
        sys.stderr.write(f"{status}\n")
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


class Handler(socketserver.StreamRequestHandler):
    """Runs one command, in a process of its own."""

    def handle(self) -> None:
        """Answers with the command's process, and when it has ended with its exit status."""
        request = json.loads(self.rfile.readline())
        process = os.fork()
        if process == 0:
            self.server.socket.close()
            self.request.close()
            become(**request)
        self.wfile.write(f"{process}\n".encode())
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        self.wfile.write(f"{status}\n".encode())


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """Ends with the process that has started it."""

    owner = os.getppid()

    def service_actions(self) -> None:
        """Looks after processes that have ended."""
        super().service_actions()
        if os.getppid() != self.owner:
            sys.exit()


if __name__ == "__main__":
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # the other one has a thread, which a fork would lose
    path = sys.argv[1]
    with Server(f"{path}.new", Handler) as server:
        Path(f"{path}.new").rename(path)  # where it is, it listens
        load()
        server.serve_forever(poll_interval=0.1)

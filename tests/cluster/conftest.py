"""Starts Slurm and HTCondor for all tests here, and ends them; where they can't be had, the end of the run says so."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.batch import Batch, BatchLaw, HTCondor, Slurm, wait_for

HERE = Path(__file__).resolve().parent
WHERE = "HONEYGUIDE_CLUSTER"  # folder of the schedulers; where it is set, those that run there are used
KINDS = {"slurm": Slurm, "htcondor": HTCondor}
_started: list[subprocess.Popen[bytes]] = []


def pytest_sessionstart(session: pytest.Session) -> None:
    """Starts both, once for all processes of pytest."""
    # a shell lets what it starts in the background ignore Ctrl-C, and so would all commands of the tests
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if WHERE in os.environ or session.config.option.collectonly:
        return
    # short: paths of sockets have at most 107 characters
    folder = Path(tempfile.mkdtemp(prefix="hgc", dir="/tmp"))
    folder.chmod(0o755)
    os.environ[WHERE] = str(folder)
    for name in KINDS:
        (folder / name).mkdir()
        with (folder / f"{name}.log").open("wb") as log:
            command = ["bash", HERE / f"{name}.sh", folder / name, str(_free_ports(5))]
            _started.append(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True)
            )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says loudly which tests were not run."""
    for name in KINDS if _started else ():
        reason = _reason(name)
        if reason:
            terminalreporter.section(f"NOT TESTED WITH A REAL {name.upper()}", sep="!", red=True, bold=True)
            terminalreporter.write_line(reason)


def pytest_unconfigure() -> None:
    """Ends both."""
    for process in _started:
        process.stdin.close()
    for process in _started:
        process.wait(timeout=60)
    if _started:
        _started.clear()
        shutil.rmtree(os.environ.pop(WHERE), ignore_errors=True)


def _free_ports(count: int) -> int:
    """Returns the first of so many ports in a row that nobody listens at."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
        try:
            for offset in range(count):
                with socket.socket() as other:
                    other.bind(("127.0.0.1", port + offset))
        except OSError:
            continue
        return port


def _reason(name: str) -> str:
    """Returns what the script of a scheduler has said, where that can't be had."""
    folder = Path(os.environ[WHERE], name)
    return folder.with_suffix(".log").read_text() if (folder / "unavailable").exists() else ""


@pytest.fixture(scope="session", params=list(KINDS))
def scheduler(request: pytest.FixtureRequest) -> Batch:
    """Each of the two."""
    name = request.param
    folder = Path(os.environ[WHERE], name)
    while not (folder / "ready").exists():
        if (folder / "unavailable").exists():
            pytest.skip(f"no {name}: {(folder / 'unavailable').read_text()}")
        if (folder / "ended").exists():
            pytest.fail(f"{name} does not start: {folder.with_suffix('.log').read_text()[-3000:]}")
        time.sleep(0.2)
    return KINDS[name](folder, name)


@pytest.fixture
def batch(scheduler: Batch) -> Iterator[Batch]:
    """A scheduler that others may use as well."""
    with _turn(scheduler, fcntl.LOCK_SH):
        yield scheduler


@pytest.fixture
def own_batch(scheduler: Batch) -> Iterator[Batch]:
    """A scheduler that nobody else uses, so that its daemons may be killed."""
    with _turn(scheduler, fcntl.LOCK_EX):
        yield scheduler
        scheduler.start_daemon()


@contextlib.contextmanager
def _turn(scheduler: Batch, kind: int) -> Iterator[None]:
    with (scheduler.folder / "turn").open("a") as file:
        fcntl.flock(file, kind)
        yield


@pytest.fixture
def law(batch: Batch, request: pytest.FixtureRequest) -> Iterator[BatchLaw]:
    """An empty store; in the end there is no job in the queue and no lock."""
    yield from _law(batch, request.node.name)


@pytest.fixture
def own_law(own_batch: Batch, request: pytest.FixtureRequest) -> Iterator[BatchLaw]:
    """The same with a scheduler that nobody else uses."""
    yield from _law(own_batch, request.node.name)


def _law(batch: Batch, name: str) -> Iterator[BatchLaw]:
    folder = batch.folder / "work" / f"{name.partition('[')[0]}_{uuid.uuid4().hex[:6]}"
    batch.ask("mkdir", str(folder))
    law = BatchLaw(batch, folder)
    try:
        yield law
        wait_for(lambda: not law.queue, seconds=20)
        assert not law.locks
    finally:
        law.end()

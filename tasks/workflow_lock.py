"""One law process at a time works on the jobs of a workflow."""

from __future__ import annotations

import getpass
import json
import os
import platform
import sys
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

from honeyguide.errors import HoneyguideError

HEARTBEAT_SECONDS = 10.0
STALE_SECONDS = 300.0
"""A lock whose owner has not been heard of for so long is taken over."""


class WorkflowLockedError(HoneyguideError):
    """Another law process works on the same jobs."""


class WorkflowLock:
    """A file that says who works on the jobs of a workflow; a context manager.

    The owner touches it from time to time. A lock is taken over where its owner, a process of this machine, is no
    more, or where it has not been touched for ``STALE_SECONDS``. A lock that is taken over is renamed first, which
    only one of several processes can do.

    Args:
        path: The file; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="workflow lock", daemon=True)

    def __enter__(self) -> WorkflowLock:
        """Takes the lock.

        Raises:
            WorkflowLockedError: Another process has it.
        """
        while not self._create():
            owner = self._owner()
            if owner is not None and not self._is_stale(owner):
                raise WorkflowLockedError(
                    "another law process works on the same jobs, and would run them twice with this one",
                    where=self._path,
                    got=f"{owner['user']} on {owner['host']}, process {owner['pid']}, since {owner['since']}: "
                    f"{owner['command']}",
                    hint="wait for it, or end it: its jobs live on, and the next law process goes on with them",
                )
            self._remove_stale()
        self._heart.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._heart.join()
        self._path.unlink(missing_ok=True)

    def _create(self) -> bool:
        """Returns whether the lock is now this process's; its file comes into being with its content."""
        own = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}")
        own.write_text(json.dumps(_this_process()))
        try:
            os.link(own, self._path)
        except FileExistsError:
            return False
        finally:
            own.unlink()
        return True

    def _owner(self) -> dict[str, Any] | None:
        try:
            owner: dict[str, Any] = json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return owner

    def _is_stale(self, owner: dict[str, Any]) -> bool:
        if owner["host"] == platform.node():
            return _start_of(owner["pid"]) != owner["start"]
        try:
            return time.time() - self._path.stat().st_mtime > STALE_SECONDS
        except FileNotFoundError:
            return True

    def _remove_stale(self) -> None:
        grave = self._path.with_name(f".{self._path.name}.{uuid.uuid4().hex}")
        try:
            self._path.rename(grave)
        except FileNotFoundError:
            return
        grave.unlink()

    def _beat(self) -> None:
        while not self._done.wait(HEARTBEAT_SECONDS):
            try:
                os.utime(self._path)
            except FileNotFoundError:
                return


def _this_process() -> dict[str, Any]:
    return {
        "user": getpass.getuser(),
        "host": platform.node(),
        "pid": os.getpid(),
        "start": _start_of(os.getpid()),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        # law has put its subcommand into the program's name, too
        "command": " ".join(sys.argv).replace("law run run ", "law run ")[:500],
    }


def _start_of(pid: int) -> str | None:
    """Returns when a process of this machine was started, in clock ticks since boot; None where there is none."""
    try:
        # the name in parentheses may hold anything
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]

"""The wish of a batch system that a training stops soon."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from honeyguide.errors import HoneyguideError


class StoppedError(HoneyguideError):
    """A training was stopped from outside; it can be continued."""


class AbandonedError(HoneyguideError):
    """A training was given up by whoever watches its epochs."""


class StopRequest:
    """Notes SIGTERM in place of dying by it; a context manager.

    Args:
        listen: Whether to note signals at all: without a checkpoint there is nothing to be gained.
    """

    def __init__(self, *, listen: bool = True) -> None:
        self.requested = False
        # Python lets only the main thread handle signals
        self._listen = listen and threading.current_thread() is threading.main_thread()
        self._previous: Any = None

    def __enter__(self) -> StopRequest:
        if self._listen:
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listen:
            signal.signal(signal.SIGTERM, self._previous or signal.SIG_DFL)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True

"""What keeps law fast with many branches."""

from __future__ import annotations

from typing import Any

import luigi.worker


class TaskHistory(list[tuple[Any, str, bool]]):
    """A list of (task, status, runnable) that finds an entry without comparing with every other.

    law 0.1.21 asks luigi's worker for each task that it adds whether its history has the entry already; with a plain
    list that is quadratic in branches, and half of the time of a local run of 1,000. Tasks are compared by identity:
    luigi makes one instance per set of parameters, and the history keeps each alive.
    """

    def __init__(self) -> None:
        super().__init__()
        self._keys: set[tuple[int, str, bool]] = set()

    def append(self, entry: tuple[Any, str, bool]) -> None:
        """Adds an entry."""
        super().append(entry)
        self._keys.add((id(entry[0]), *entry[1:]))

    def __contains__(self, entry: object) -> bool:
        return isinstance(entry, tuple) and (id(entry[0]), *entry[1:]) in self._keys


def install() -> None:
    """Gives every luigi worker that is made from now on a :class:`TaskHistory`."""
    plain = luigi.worker.Worker.__init__
    if getattr(plain, "with_history", False):
        return

    def init(self: luigi.worker.Worker, *args: Any, **kwargs: Any) -> None:
        plain(self, *args, **kwargs)
        self._add_task_history = TaskHistory()

    init.with_history = True  # type: ignore[attr-defined]
    luigi.worker.Worker.__init__ = init  # type: ignore[method-assign]

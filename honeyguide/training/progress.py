"""What a training tells while it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class TrainingProgress(Protocol):
    """Is told of every batch and every epoch; a context manager around the whole training."""

    def __enter__(self) -> TrainingProgress:
        """Begins."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends, with an error or without."""

    def model(self, cost: str) -> None:
        """Is told what the model costs, in a line."""

    def start(self, *, num_epochs: int, num_events: int, done: int = 0) -> None:
        """Is told how many epochs there will be at most, how many events each has, and how many events are done."""

    def batch(self, num_events: int) -> None:
        """Is told that a training batch has been issued."""

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Is given the epoch's entry of ``metrics.json``."""


class SilentProgress:
    """Says nothing."""

    def __enter__(self) -> SilentProgress:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def model(self, cost: str) -> None:
        """Does nothing."""

    def start(self, *, num_epochs: int, num_events: int, done: int = 0) -> None:
        """Does nothing."""

    def batch(self, num_events: int) -> None:
        """Does nothing."""

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Does nothing."""


class TerminalProgress:
    """A bar with events/s and every term in a terminal; elsewhere a line per epoch.

    Args:
        console: Where to write; standard error if not given.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[terms]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._num_epochs, self._num_events, self._started = 0, 0, 0.0

    def __enter__(self) -> TerminalProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def model(self, cost: str) -> None:
        """Shows the line."""
        self._console.print(cost, soft_wrap=True, highlight=False)

    def start(self, *, num_epochs: int, num_events: int, done: int = 0) -> None:
        """Shows a bar of what is done, which is more than nothing where a training goes on."""
        self._num_epochs, self._started = num_epochs, time.perf_counter()
        epoch = f"epoch {min(1 + done // max(num_events, 1), num_epochs)}/{num_epochs}"
        self._task = self._bar.add_task(epoch, total=num_epochs * num_events, completed=done, rate="", terms="")
        if done:
            self._console.print(f"the training goes on in {epoch}", highlight=False)

    def batch(self, num_events: int) -> None:
        """Advances the bar."""
        if self._task is None:
            return
        self._num_events += num_events
        rate = self._num_events / max(time.perf_counter() - self._started, 1e-9)
        self._bar.update(self._task, advance=num_events, rate=f"{rate:,.0f} events/s")

    def epoch(self, record: Mapping[str, Any]) -> None:
        """Shows the epoch's terms."""
        terms = format_terms(record)
        number = record["epoch"] + 1
        if self._console.is_terminal and self._task is not None:
            description = f"epoch {min(number + 1, self._num_epochs)}/{self._num_epochs}"
            self._bar.update(self._task, description=description, terms=terms)
        else:
            rate = f"{record['events_per_second']:,.0f} events/s"
            self._console.print(f"epoch {number}/{self._num_epochs}  {rate}  {terms}", soft_wrap=True, highlight=False)


def format_terms(record: Mapping[str, Any]) -> str:
    """Returns every term of the epoch, training / validation, e.g. ``total 1.23/1.25  kl 3.4/3.5``."""
    validation = record["validation"] or {}
    parts = []
    for name, value in record["train"].items():
        other = f"/{validation[name]:.4g}" if name in validation else ""
        parts.append(f"{name} {value:.4g}{other}")
    return "  ".join(parts)

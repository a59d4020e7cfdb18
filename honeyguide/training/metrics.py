"""The record of a training: metrics.json and TensorBoard files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any


class MetricsLog:
    """Collects an entry per epoch; a context manager.

    Args:
        folder: Where ``metrics.json`` and ``tensorboard/`` shall be.
        weights: Weight of each term in the loss, and what else can be annealed, as it is in the config.
        tensorboard: Whether to write TensorBoard files too.

    Attributes:
        epochs: The entries so far.
    """

    def __init__(self, folder: Path, *, weights: Mapping[str, float], tensorboard: bool) -> None:
        self._path = folder / "metrics.json"
        self._weights = dict(weights)
        self.epochs: list[dict[str, Any]] = []
        self._writer: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter  # costs seconds, so not at the top

            self._writer = SummaryWriter(str(folder / "tensorboard"))

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, record: dict[str, Any]) -> None:
        """Adds an epoch: ``epoch``, ``train`` and ``validation`` (means by term), and further numbers."""
        self.epochs.append(record)
        if self._writer is None:
            return
        for name, value in record.items():
            if isinstance(value, Mapping):
                for term, mean in value.items():
                    self._writer.add_scalar(f"{term}/{name}", mean, record["epoch"])
            elif value is not None and name != "epoch":
                self._writer.add_scalar(f"training/{name}", value, record["epoch"])

    def close(self, **summary: Any) -> None:
        """Writes ``metrics.json``: the summary, the weights and all epochs."""
        content = {**summary, "weights": self._weights, "epochs": self.epochs}
        self._path.write_text(json.dumps(content, indent=1))

    @property
    def events_per_second(self) -> float:
        """Training events per second over all epochs."""
        events = sum(record["events_per_second"] * record["seconds"] for record in self.epochs)
        seconds = sum(record["seconds"] for record in self.epochs)
        return float(events / seconds)

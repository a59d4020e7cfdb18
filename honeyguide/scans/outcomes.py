"""What came of the trainings of a scan, read from their files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from honeyguide.errors import ConfigError, StoreError, nearest_name

FAILURE = "failure.json"
Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Outcome:
    """What came of one training.

    Attributes:
        value: The objective at the best epoch: the one of the weights that are kept.
        best_epoch: That epoch, from 1.
        num_epochs: Epochs that were trained.
        seconds: Time that these took, without validation.
    """

    value: float
    best_epoch: int
    num_epochs: int
    seconds: float


def objective_of(record: Mapping[str, Any], name: str) -> float:
    """Returns the objective in an epoch's entry of ``metrics.json``: of the validation split where there is one.

    Raises:
        ConfigError: There is no term of that name.
    """
    means = record["validation"] or record["train"]
    if name not in means:
        raise ConfigError(
            "the training has no such term", where="--objective", got=name, nearest=nearest_name(name, means),
            allowed=", ".join(means),
        )  # fmt: skip
    return float(means[name])


def read_metrics(folder: Path) -> dict[str, Any]:
    """Returns the ``metrics.json`` of the training in ``folder``.

    Raises:
        StoreError: It can't be read.
    """
    try:
        metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
        return metrics
    except (OSError, ValueError) as error:
        raise StoreError("the metrics of a training can't be read", where=folder, got=error) from error


def read_outcome(folder: Path, objective: str) -> Outcome:
    """Returns what came of the training in ``folder``.

    Raises:
        StoreError: Its metrics can't be read.
        ConfigError: It has no such term.
    """
    metrics = read_metrics(folder)
    epochs, best = metrics["epochs"], metrics["best_epoch"]
    return Outcome(
        value=objective_of(epochs[best], objective),
        best_epoch=best + 1,
        num_epochs=len(epochs),
        seconds=sum(record["seconds"] for record in epochs),
    )


def write_failure(folder: Path, reason: str) -> None:
    """Writes why there is no training: it has diverged, and would again."""
    (folder / FAILURE).write_text(json.dumps({"reason": reason}, indent=1))

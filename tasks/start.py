"""The weights that a training begins with: a file, by its content, or another experiment's training."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from honeyguide.errors import ConfigError, DataError
from honeyguide.training.start_settings import StartSettings, weights_file

if TYPE_CHECKING:
    from honeyguide.training.settings import TrainingSettings


def start_file(start: StartSettings) -> Path:
    """Returns the file of weights that the settings name; a relative path starts at the current folder.

    Raises:
        DataError: It is not there.
    """
    assert start.weights is not None, "the settings name weights or an experiment"
    path = Path(os.path.expandvars(start.weights)).expanduser().absolute()
    if not weights_file(path).is_file():
        raise DataError(
            "the weights that the training begins with are not there", where="training.start.weights", got=path
        )
    return weights_file(path)


def content_digest(path: Path) -> str:
    """Returns a digest of what is in a file, 32 hexadecimal digits."""
    status = path.stat()
    return _digest(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _digest(path: Path, mtime_ns: int, size: int) -> str:  # noqa: ARG001  another file has others
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def base_overrides(start: StartSettings, seed: int) -> tuple[str, ...]:
    """Returns the overrides of the experiment that a training of this seed begins with; its only seed is among them.

    Raises:
        ConfigError: The experiment begins, directly or not, with itself, or it has folds.
    """
    from configs.load import load_experiment, parse_overrides

    assert start.experiment is not None, "the settings name an experiment"
    overrides = base = parse_overrides(
        _joined(start.overrides, f"training.seeds=[{seed if start.seed is None else start.seed}]")
    )
    name, seen = start.experiment, {(start.experiment, base)}
    training: TrainingSettings = load_experiment(name, base).settings.training
    if training.folds is not None:
        raise ConfigError(
            "the experiment that the training begins with has folds, so no one training",
            where="training.start.experiment",
            got=name,
            hint="training.start.overrides: training.folds=null",
        )
    while training.start is not None and training.start.experiment is not None:
        name, base = training.start.experiment, parse_overrides(training.start.overrides)
        if (name, base) in seen:
            raise ConfigError(
                "an experiment begins with itself",
                where="training.start.experiment",
                got=name,
                hint="training.start.overrides: training.start=null",
            )
        seen.add((name, base))
        training = load_experiment(name, base).settings.training
    return overrides


def _joined(*parts: str) -> str:
    return ",".join(filter(None, parts))

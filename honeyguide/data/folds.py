"""Folds for cross-validation: which events validate is decided by a hash of the event id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.model_inputs import ModelInputs
from honeyguide.data.splits import uniform

_SALT = 0x666F6C64  # unrelated to the hash that makes the splits


@dataclass(frozen=True)
class Fold:
    """One of the folds of the model inputs in a folder.

    Attributes:
        folder: Folder of model inputs.
        number: Which fold validates, from 0.
        count: How many there are.
    """

    folder: Path
    number: int
    count: int


class SelectedRows:
    """Some rows of a mapped array, read when they are asked for.

    Attributes:
        array: The whole array.
        shape: Shape of what is selected.
    """

    def __init__(self, array: NDArray[Any], rows: NDArray[np.int64]) -> None:
        self.array = array
        self._rows = rows
        self.shape = (len(rows), *array.shape[1:])

    def __getitem__(self, which: slice) -> NDArray[Any]:
        selected: NDArray[Any] = self.array[self._rows[which]]
        return selected


def fold_of(event_id: NDArray[np.int64], *, count: int) -> NDArray[np.int64]:
    """Returns the number of the one fold in which each event validates, shape (num_events,)."""
    return (uniform(event_id, salt=_SALT) * count).astype(np.int64)


def split_fold(sources: Sequence[ModelInputs], fold: Fold) -> tuple[list[ModelInputs], list[ModelInputs]]:
    """Returns the events that train and those that validate; every event of the sources is in one of the two."""
    training, validating = [], []
    for source in sources:
        deciding = source.event_id if source.group is None else source.group
        validates = fold_of(deciding, count=fold.count) == fold.number
        training.append(_select(source, np.flatnonzero(~validates)))
        validating.append(_select(source, np.flatnonzero(validates)))
    return training, validating


def _select(source: ModelInputs, rows: NDArray[np.int64]) -> ModelInputs:
    """Returns some rows of the source; arrays of several values per row are read when they are asked for."""
    return source.map(lambda array: array[rows] if array.ndim == 1 else cast(Any, SelectedRows(array, rows)))

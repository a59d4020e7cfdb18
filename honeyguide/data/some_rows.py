"""Some rows of many, drawn at random, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from honeyguide.data.batch import Batch
from honeyguide.data.model_inputs import ModelInputs
from honeyguide.data.streams import BatchStream, drop_pages
from honeyguide.errors import DataError


def read_some_rows(files: Mapping[str, Path], number: int, *, seed: int = 0) -> ModelInputs:
    """Returns at most ``number`` rows of all files together, drawn at random, in the order of the files.

    Args:
        files: Model inputs of each sample.
        number: How many rows, at most.
        seed: Of the draw.

    Raises:
        DataError: There are no rows.
        StoreError: A file is missing or damaged.
    """
    sources = [ModelInputs.open(path) for path in files.values()]
    ends = np.cumsum([0, *(len(source) for source in sources)])
    if not ends[-1]:
        raise DataError("there are no test rows", hint="which samples of the dataset have a test split?")
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.choice(ends[-1], min(number, int(ends[-1])), replace=False))
    parts = []
    for source, low, high in zip(sources, ends, ends[1:], strict=False):
        rows = drawn[(drawn >= low) & (drawn < high)] - low
        parts.append({name: array[rows] for name, array in source.arrays().items()})
        drop_pages(source)
    return ModelInputs.from_arrays({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def as_batch(rows: ModelInputs, *, device: torch.device | str = "cpu") -> Batch:
    """Returns rows as one batch."""
    return next(BatchStream([rows], batch_size=len(rows), device=device).batches())


def read_rows_by_id(files: Mapping[str, Path], event_ids: Sequence[int]) -> ModelInputs:
    """Returns the rows with the given ids, in the order of the files.

    Raises:
        DataError: There is no row with one of the ids.
        StoreError: A file is missing or damaged.
    """
    parts = []
    for path in files.values():
        source = ModelInputs.open(path)
        rows = np.flatnonzero(np.isin(source.event_id, event_ids))
        parts.append({name: array[rows] for name, array in source.arrays().items()})
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    missing = sorted(set(event_ids) - {int(number) for number in found.get("event_id", ())})
    if missing:
        raise DataError("there are no test rows with these ids", got=", ".join(map(str, missing)))
    return ModelInputs.from_arrays(found)

"""What model inputs hold, counted over every event: ranges, NaN, padding, empty and repeated events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.model_inputs import ModelInputs, list_inputs
from honeyguide.data.splits import SPLITS
from honeyguide.data.streams import drop_pages

BLOCK_ROWS = 16384

Floats = NDArray[np.float64]
Key = tuple[str, str]


@dataclass(frozen=True)
class ObjectTable:
    """The objects of all events, or those of one set of all rows.

    Attributes:
        prefix: What comes before the names of its columns: the name of the set and a space, or nothing.
        columns: Its columns.
        features: (num_events, size, num_features).
        mask: True where there is an object, (num_events, size).
    """

    prefix: str
    columns: tuple[Column, ...]
    features: NDArray[np.float32]
    mask: NDArray[np.bool_]


def object_tables(inputs: ModelInputs, spec: InputSpec) -> list[ObjectTable]:
    """Returns the objects, or every set of rows."""
    if spec.level != "row":
        return [ObjectTable("", spec.columns, inputs.objects, inputs.mask)]
    arrays = [(item, inputs.sets[item.name]) for item in spec.sets]
    return [ObjectTable(f"{item.name} ", item.columns, found.features, found.mask) for item, found in arrays]


@dataclass
class Census:
    """The counts of one sample in one split; columns are those of the objects, then those of the event.

    Attributes:
        num_events: Events.
        num_empty: Events without any object.
        padding: Share of the object slots that are empty.
        low: Smallest finite value of each column, (num_columns,); infinite where there is none.
        high: Largest finite value of each column.
        num_nan: NaN of each column.
        num_infinite: Infinite values of each column.
        hashes: Hash of the inputs of every event that has objects, (num_events - num_empty,), sorted.
    """

    num_events: int
    num_empty: int
    padding: float
    low: Floats
    high: Floats
    num_nan: NDArray[np.int64]
    num_infinite: NDArray[np.int64]
    hashes: NDArray[np.uint64]


def take_census(folder: Path, spec: InputSpec) -> dict[Key, Census]:
    """Returns the counts of every (sample, split) of the model inputs in ``folder``."""
    return {
        (sample, split): _count(ModelInputs.open(path), spec)
        for split in SPLITS
        for sample, path in list_inputs(folder, split).items()
    }


def num_repeated(census: Mapping[Key, Census]) -> dict[Key, int]:
    """Returns how many events of each sample and split have the same inputs as another event of the same ones."""
    return {key: len(counted.hashes) - len(np.unique(counted.hashes)) for key, counted in census.items()}


def num_leaked(census: Mapping[Key, Census]) -> int:
    """Returns how many test events have the same inputs as an event that trains or validates."""
    learnt = [counted.hashes for (_, split), counted in census.items() if split != "test"]
    tested = [counted.hashes for (_, split), counted in census.items() if split == "test"]
    if not learnt or not tested:
        return 0
    return int(np.isin(np.concatenate(tested), np.concatenate(learnt)).sum())


def constant_columns(census: Mapping[Key, Census], names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the columns that have one value in all events that train."""
    trained = [counted for (_, split), counted in census.items() if split == "train"]
    if not trained:
        return ()
    low = np.min([counted.low for counted in trained], axis=0)
    high = np.max([counted.high for counted in trained], axis=0)
    return tuple(name for name, constant in zip(names, low >= high, strict=True) if constant)


def column_names(spec: InputSpec) -> tuple[str, ...]:
    """Returns the names of the columns of the objects (of each set), then those of the event."""
    of_sets = (f"{item.name} {column.name}" for item in spec.sets for column in item.columns)
    return (
        *(column.name for column in spec.columns),
        *of_sets,
        *(f"event {column.name}" for column in spec.event_columns),
    )


def rare_columns(spec: InputSpec) -> frozenset[str]:
    """Returns the names of the columns of categories of objects: one of them may be absent from all events."""
    of_sets = {f"{s.name} {column.name}" for s in spec.sets for column in s.columns if column.kind == "category"}
    return frozenset(of_sets | {column.name for column in spec.columns if column.kind == "category"})


def _count(source: ModelInputs, spec: InputSpec) -> Census:
    width = len(column_names(spec))
    census = Census(
        num_events=len(source),
        num_empty=0,
        padding=0.0,
        low=np.full(width, np.inf),
        high=np.full(width, -np.inf),
        num_nan=np.zeros(width, dtype=np.int64),
        num_infinite=np.zeros(width, dtype=np.int64),
        hashes=np.zeros(0, dtype=np.uint64),
    )
    tables = object_tables(source, spec)
    hashes, num_objects = [], 0
    for start in range(0, len(source), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        event, first = source.event[rows], 0
        filled = np.zeros(len(event), dtype=np.bool_)
        for table in tables:
            mask = table.mask[rows]
            _add_columns(census, slice(first, first + len(table.columns)), table.features[rows][mask])
            first += len(table.columns)
            filled |= mask.any(1)
            num_objects += int(mask.sum())
        _add_columns(census, slice(first, width), event)
        census.num_empty += int((~filled).sum())
        parts = [part for table in tables for part in (table.features[rows][filled], table.mask[rows][filled])]
        hashes += list(_hashes([*parts, event[filled]]))
        drop_pages(source)
    census.padding = 1 - num_objects / max(sum(table.mask.size for table in tables), 1)
    census.hashes = np.sort(np.array(hashes, dtype=np.uint64))
    return census


def _add_columns(census: Census, columns: slice, values: NDArray[np.float32]) -> None:
    """Counts values of shape (number, column)."""
    if not values.size:
        return
    finite = np.isfinite(values)
    census.num_nan[columns] += np.isnan(values).sum(0)
    census.num_infinite[columns] += np.isinf(values).sum(0)
    low = np.where(finite, values, np.inf).min(0)
    high = np.where(finite, values, -np.inf).max(0)
    census.low[columns] = np.minimum(census.low[columns], low)
    census.high[columns] = np.maximum(census.high[columns], high)


def _hashes(arrays: Sequence[NDArray[Any]]) -> Iterator[int]:
    for parts in zip(*arrays, strict=True):
        yield xxhash.xxh64_intdigest(b"".join(part.tobytes() for part in parts))

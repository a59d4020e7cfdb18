"""Values of features with the weights of their events, in a stream, from the event store or from model inputs."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import Collection, EventBlock
from honeyguide.data.features import FEATURES, Feature
from honeyguide.data.input_spec import InputSpec
from honeyguide.data.model_inputs import ModelInputs
from honeyguide.errors import ConfigError, DataError, nearest_name
from honeyguide.evaluation.settings import HistogramSettings
from honeyguide.io.event_store import EventStore
from honeyguide.preprocess.derived import SOURCES, feature_values

Floats = NDArray[np.float64]
Key = tuple[str, str]
_NOT_FEATURES = frozenset({"id", "process", "generator", "signal_point", "label", "truth", "group"})
_UNITS = {name: feature.unit for table in FEATURES.values() for name, feature in table.items()}


@dataclass(frozen=True)
class Rows:
    """A block of events.

    Attributes:
        weight: Event weights (num_events,).
        values: Per (collection, feature): values of all objects, and the index of the event that each is of.
        truth: Code of the truth of each event, -1 for none; None where events have no truth.
    """

    weight: Floats
    values: dict[Key, tuple[Floats, NDArray[np.int64]]]
    truth: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.weight)


def store_rows(
    paths: Sequence[Path], keys: Sequence[Key], num_events: int, *, truths: Sequence[str] = ()
) -> Iterator[Rows]:
    """Yields the features ``keys`` of all events of a sample in the event store, ``num_events`` events at a time.

    Args:
        paths: Shards of the sample.
        keys: Features to read.
        num_events: Events per block.
        truths: Names behind the codes of truths that the rows get; none: they get none.
    """
    for path in paths:
        with EventStore(path) as store:
            places = np.array([*(truths.index(name) for name in store.attrs["truths"] if truths), -1])
            columns = _columns(keys, store.columns)
            if truths:
                columns.setdefault("events", []).append("truth")
            for block in store.iter_blocks(num_events, columns=columns):
                weight = np.asarray(block.events["weight"], np.float64)
                truth = places[block.events["truth"]] if truths else None  # -1, no truth, is the last
                yield Rows(weight, {key: _values(block, key) for key in keys}, truth)


def store_truths(shards: Mapping[str, Sequence[Path]]) -> tuple[str, ...]:
    """Returns the names of the truths of all samples, in the order in which they come; empty where there are none."""
    names: dict[str, None] = {}
    for path in (path for paths in shards.values() for path in paths):
        with EventStore(path) as store:
            names |= dict.fromkeys(store.attrs["truths"])
    return tuple(names)


def input_rows(path: Path, spec: InputSpec, num_events: int) -> Iterator[Rows]:
    """Yields the columns of model inputs, as the model sees them; padding is left out."""
    inputs = ModelInputs.open(path)
    for start in range(0, len(inputs), num_events):
        part = slice(start, start + num_events)
        mask = inputs.mask[part]
        event, _ = np.nonzero(mask)
        objects = inputs.objects[part][mask]
        values: dict[Key, tuple[Floats, NDArray[np.int64]]] = {}
        for i, column in enumerate(spec.columns):
            values["objects", column.name] = (objects[:, i].astype(np.float64), event)
        every = np.arange(len(mask))
        for i, column in enumerate(spec.event_columns):
            values["event", column.name] = (inputs.event[part][:, i].astype(np.float64), every)
        for item in spec.sets:
            arrays = inputs.sets[item.name]
            there = arrays.mask[part]
            row, _ = np.nonzero(there)
            objects = arrays.features[part][there]
            for i, column in enumerate(item.columns):
                values[item.name, column.name] = (objects[:, i].astype(np.float64), row)
            values["event", f"num_{item.name}"] = (there.sum(1).astype(np.float64), every)
        truth = None if inputs.truth is None else inputs.truth[part].astype(np.int64)
        yield Rows(inputs.weight[part].astype(np.float64), values, truth)


def input_features(spec: InputSpec) -> dict[Key, Feature]:
    """Returns the columns of model inputs; scaled columns have neither the unit nor the range of their feature."""
    named = [("objects", column.name) for column in spec.columns]
    named += [("event", column.name) for column in spec.event_columns]
    features = {key: Feature(key[1], f"scaled {key[1]}") for key in named}
    for item in spec.sets:
        features |= {
            (item.name, column.name): Feature(column.name, f"{item.name}: scaled {column.name}")
            for column in item.columns
        }
        features["event", f"num_{item.name}"] = Feature(f"num_{item.name}", f"objects of {item.name} that are read")
    return features


def store_sample(name: str, paths: Sequence[Path]) -> dict[str, Any]:
    """Returns what is known of a sample: process, generator, label, signal.

    Raises:
        DataError: The sample has no files.
    """
    if not paths:
        raise DataError(f"sample '{name}' has no event-store files")
    with EventStore(paths[0]) as store:
        info = store.sample
    return {"process": info.process, "generator": info.generator, "label": info.label, "signal": info.signal_name}


def input_sample(path: Path, spec: InputSpec) -> dict[str, Any]:
    """Returns what is known of a sample of model inputs, from its first event."""
    inputs = ModelInputs.open(path)
    point = int(inputs.signal_point[0])
    return {
        "process": spec.processes[inputs.process[0]],
        "generator": spec.generators[inputs.generator[0]],
        "label": "signal" if inputs.label[0] else "background",
        "signal": spec.signal_points[point] if point >= 0 else None,
    }


def store_features(path: Path, settings: HistogramSettings) -> list[Key]:
    """Returns the features to fill: those of the settings, or all of the store that have an order or few categories."""
    with EventStore(path) as store:
        stored = {name: [c for c in columns if c not in _NOT_FEATURES] for name, columns in store.columns.items()}
        parents = store.parents
    available = {name: list(columns) for name, columns in stored.items()}
    for (collection, name), sources in SOURCES.items():
        if all(group in stored and set(columns) <= set(stored[group]) for group, columns in sources.items()):
            available[collection].append(name)
    numbers = [f"num_{name}" for name, parent in parents.items() if parent == "events"]
    available["events"] += [name for name in numbers if name not in available["events"]]
    wanted: Mapping[str, Sequence[str]] = settings.features or available
    for collection, names in wanted.items():
        for allowed, name in [(available, collection), *((available.get(collection, []), name) for name in names)]:
            if name not in allowed:
                raise ConfigError(
                    f"'{name}' is not in the event store",
                    where=f"histograms.features.{collection}",
                    allowed=", ".join(allowed),
                    nearest=nearest_name(name, allowed),
                )
    keys = [(collection, name) for collection, names in wanted.items() for name in names]
    return keys if settings.features else [key for key in keys if not _unordered(known_feature(key))]


def _unordered(feature: Feature | None) -> bool:
    return feature is not None and feature.kind == "category" and not feature.categories


def _values(block: EventBlock, key: Key) -> tuple[Floats, NDArray[np.int64]]:
    """Returns the values of a feature, and the index of the event that each is of."""
    collection, name = key
    if (counted := _counted(key, block.events)) is not None:
        return block.collections[counted].counts.astype(np.float64), np.arange(len(block))
    size = len(block) if collection == "events" else len(block.collections[collection])
    parent = None if collection == "events" else _parent_index(block.collections[collection])
    values = feature_values(block, collection, name, index=np.arange(size), jet=parent)
    return np.asarray(values, np.float64), _event_index(block, collection)


def _parent_index(objects: Collection) -> NDArray[np.int64]:
    return np.repeat(np.arange(len(objects.offsets) - 1), objects.counts)


def _event_index(block: EventBlock, collection: str) -> NDArray[np.int64]:
    if collection == "events":
        return np.arange(len(block))
    objects = block.collections[collection]
    return _event_index(block, objects.parent)[_parent_index(objects)]


def _counted(key: Key, stored: Container[str]) -> str | None:
    """Returns the collection whose objects a feature counts in each event; None where it does not."""
    collection, name = key
    counts = collection == "events" and name.startswith("num_") and name not in stored and key not in SOURCES
    return name.removeprefix("num_") if counts else None


def _columns(keys: Sequence[Key], stored: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Returns the stored columns behind the features, by collection."""
    columns: dict[str, list[str]] = {}
    for collection, name in keys:
        counted = _counted((collection, name), stored["events"])
        own = {collection: (name,)} if counted is None else {counted: ()}
        sources: Mapping[str, Sequence[str]] = SOURCES.get((collection, name), own)
        for group in (collection, *sources):
            columns.setdefault(group, []).extend(sources.get(group, ()))
    return columns


def known_feature(key: Key) -> Feature | None:
    """Returns the entry of the feature table, None where there is none."""
    return FEATURES.get(key[0], {}).get(key[1])


def row_feature(key: Key) -> Feature:
    """Returns a feature of a store of rows, whose names are free, with the unit that the feature table has for it."""
    collection, name = key
    label = name if collection == "events" else f"{collection}: {name}"
    return Feature(name, label, _UNITS.get(name, ""))

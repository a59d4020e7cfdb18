"""Histograms of the input features of all samples, on common axes, filled in a stream."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boost_histogram as bh
import h5py
import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import Collection, EventBlock
from honeyguide.data.features import FEATURES, Feature
from honeyguide.errors import ConfigError, DataError, nearest_name
from honeyguide.evaluation.settings import HistogramSettings
from honeyguide.io.event_store import EventStore
from honeyguide.preprocess.derived import SOURCES, feature_values

Floats = NDArray[np.float64]
Key = tuple[str, str]
SCHEMA = 1
_NOT_FEATURES = frozenset({"id", "process", "generator", "signal_point", "label"})
_MAX_INTEGER_BINS = 200


@dataclass(frozen=True)
class FeatureHistogram:
    """One feature of one sample.

    Attributes:
        counts: Number of entries per bin, with underflow first and overflow last, (num_bins + 2,).
        sumw: Sum of event weights, same shape.
        sumw2: Sum of squared event weights, same shape. The objects of one event are correlated; the error that this
            gives counts them as independent.
        nan: Entries that are NaN, in no bin.
    """

    counts: Floats
    sumw: Floats
    sumw2: Floats
    nan: int


@dataclass(frozen=True)
class HistogramSet:
    """All histograms of a dataset.

    Attributes:
        edges: (collection, feature) to bin edges, (num_bins + 1,).
        axis_labels: (collection, feature) to the label of the axis, with the unit.
        categories: (collection, feature) to the names of the bins, empty where they are numbers.
        samples: Sample to what is known of it: process, generator, label, signal.
        histograms: Sample to (collection, feature) to its histogram.
    """

    edges: dict[Key, Floats]
    axis_labels: dict[Key, str]
    categories: dict[Key, tuple[str, ...]]
    samples: dict[str, dict[str, Any]]
    histograms: dict[str, dict[Key, FeatureHistogram]]


def fill_histograms(
    shards: Mapping[str, Sequence[Path]], folder: Path, *, settings: HistogramSettings, num_events: int = 16384
) -> HistogramSet:
    """Returns histograms of all samples' features; writes ``histograms.h5`` and ``histograms.json`` to ``folder``.

    Two passes: the axes come from the first ``settings.range_events`` events of every sample, then all events are
    filled, so all samples share one binning, and nothing is lost to under- and overflow. An entry of a jet or a
    constituent has the weight of its event. The result does not depend on ``num_events``, and memory not on the data.

    Args:
        shards: Sample name to its event-store files.
        folder: Where to write; it exists.
        settings: Features and binning.
        num_events: Events in memory at a time.

    Raises:
        ConfigError: A feature of the settings is not in the store.
        DataError: A sample has no events, or no finite value of a feature.
    """
    samples = {name: _sample(name, paths) for name, paths in shards.items()}
    keys = _features(next(iter(shards.values()))[0], settings)
    first = {name: _head(paths, keys, settings.range_events, num_events) for name, paths in shards.items()}
    axes = {key: _axis(key, [values[key] for values in first.values()], settings) for key in keys}
    histograms = {name: _fill(_blocks(paths, num_events), axes) for name, paths in shards.items()}
    known = {key: _known(key) for key in keys}
    result = HistogramSet(
        edges={key: np.asarray(axis.edges) for key, axis in axes.items()},
        axis_labels={key: feature.axis_label if feature else ": ".join(key) for key, feature in known.items()},
        categories={key: feature.categories if feature else () for key, feature in known.items()},
        samples=samples,
        histograms=histograms,
    )
    write_histograms(result, folder)
    return result


def write_histograms(histograms: HistogramSet, folder: Path) -> None:
    """Writes ``histograms.h5`` (all numbers) and ``histograms.json`` (totals per sample and feature)."""
    summary: dict[str, Any] = {"schema": SCHEMA, "samples": {}}
    with h5py.File(folder / "histograms.h5", "w", track_order=True) as file:
        file.attrs["schema"] = SCHEMA
        for (collection, feature), edges in histograms.edges.items():
            group = file.create_group(f"axes/{collection}/{feature}", track_order=True)
            group["edges"] = edges
            group.attrs["label"] = histograms.axis_labels[collection, feature]
            group.attrs["categories"] = json.dumps(histograms.categories[collection, feature])
        for sample, contents in histograms.histograms.items():
            base = file.create_group(f"samples/{sample}", track_order=True)
            base.attrs["info"] = json.dumps(histograms.samples[sample])
            totals = summary["samples"][sample] = {**histograms.samples[sample], "features": {}}
            for (collection, feature), h in contents.items():
                group = base.create_group(f"{collection}/{feature}")
                group["counts"], group["sumw"], group["sumw2"] = h.counts, h.sumw, h.sumw2
                group.attrs["nan"] = h.nan
                totals["features"][f"{collection}/{feature}"] = {
                    "entries": int(h.counts.sum()),
                    "underflow": int(h.counts[0]),
                    "overflow": int(h.counts[-1]),
                    "nan": h.nan,
                    "sum_of_weights": float(h.sumw.sum()),
                }
    (folder / "histograms.json").write_text(json.dumps(summary, indent=1, allow_nan=False) + "\n")


def read_histograms(path: Path) -> HistogramSet:
    """Returns what :func:`write_histograms` wrote to ``histograms.h5``."""
    with h5py.File(path) as file:
        keys = [(collection, feature) for collection in file["axes"] for feature in file["axes"][collection]]
        samples = {name: json.loads(group.attrs["info"]) for name, group in file["samples"].items()}
        axes = {key: file["axes"][key[0]][key[1]] for key in keys}
        return HistogramSet(
            edges={key: axis["edges"][()] for key, axis in axes.items()},
            axis_labels={key: axis.attrs["label"] for key, axis in axes.items()},
            categories={key: tuple(json.loads(axis.attrs["categories"])) for key, axis in axes.items()},
            samples=samples,
            histograms={name: {key: _read(file["samples"][name][key[0]][key[1]]) for key in keys} for name in samples},
        )


def _read(group: h5py.Group) -> FeatureHistogram:
    return FeatureHistogram(group["counts"][()], group["sumw"][()], group["sumw2"][()], int(group.attrs["nan"]))


def _blocks(paths: Iterable[Path], num_events: int) -> Iterator[EventBlock]:
    for path in paths:
        with EventStore(path) as store:
            yield from store.iter_blocks(num_events)


def _sample(name: str, paths: Sequence[Path]) -> dict[str, Any]:
    if not paths:
        raise DataError(f"sample '{name}' has no event-store files")
    with EventStore(paths[0]) as store:
        info = store.sample
    return {"process": info.process, "generator": info.generator, "label": info.label, "signal": info.signal_name}


def _features(path: Path, settings: HistogramSettings) -> list[Key]:
    """Returns the features to fill: those of the settings, or all of the store that have an order or few categories."""
    with EventStore(path) as store:
        stored = {name: [c for c in columns if c not in _NOT_FEATURES] for name, columns in store.columns.items()}
    available = {name: list(columns) for name, columns in stored.items()}
    for (collection, name), sources in SOURCES.items():
        if all(group in stored and set(columns) <= set(stored[group]) for group, columns in sources.items()):
            available[collection].append(name)
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
    return keys if settings.features else [key for key in keys if not _unordered(_known(key))]


def _unordered(feature: Feature | None) -> bool:
    return feature is not None and feature.kind == "category" and not feature.categories


def _values(block: EventBlock, key: Key) -> tuple[Floats, NDArray[np.int64]]:
    """Returns the values of a feature, and the index of the event that each is of."""
    collection, name = key
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


def _head(paths: Sequence[Path], keys: Sequence[Key], limit: int, num_events: int) -> dict[Key, Floats]:
    """Returns the values of all features in the first ``limit`` events."""
    parts: dict[Key, list[Floats]] = {key: [] for key in keys}
    seen = 0
    for block in _blocks(paths, min(num_events, limit)):
        for key in keys:
            values, event = _values(block, key)
            parts[key].append(values[event < limit - seen])
        seen += len(block)
        if seen >= limit:
            break
    return {key: np.concatenate(values) if values else np.empty(0) for key, values in parts.items()}


def _axis(key: Key, samples: Sequence[Floats], settings: HistogramSettings) -> bh.axis.Axis:
    """Returns the common axis: angles whole, categories and integers one bin each, all else central quantiles."""
    finite = [values[np.isfinite(values)] for values in samples]
    present = [values for values in finite if len(values)]
    if not present:
        raise DataError(f"no sample has a finite value of {key[0]}.{key[1]}", hint="leave it out of the features")
    feature = _known(key)
    if feature is not None and feature.categories:
        return bh.axis.Regular(len(feature.categories), -0.5, len(feature.categories) - 0.5)
    if feature is not None and feature.kind == "angle":
        # pi itself is a legal angle and belongs into the last bin
        return bh.axis.Regular(settings.num_bins, -math.pi, math.nextafter(math.pi, 4))
    tail = (1 - settings.coverage) / 2
    quantiles = np.array([np.quantile(values, [tail, 1 - tail]) for values in present])
    low, high = float(quantiles[:, 0].min()), float(quantiles[:, 1].max())
    if all(np.array_equal(values, np.rint(values)) for values in present) and high - low < _MAX_INTEGER_BINS:
        return bh.axis.Regular(int(high) - int(low) + 1, int(low) - 0.5, int(high) + 0.5)
    if high <= low:
        low, high = low - 0.5 * max(abs(low), 1), high + 0.5 * max(abs(high), 1)
    width = (high - low) / settings.num_bins
    return bh.axis.Regular(settings.num_bins, low, high + 1e-3 * width)


def _fill(blocks: Iterable[EventBlock], axes: Mapping[Key, bh.axis.Axis]) -> dict[Key, FeatureHistogram]:
    weighted = {key: bh.Histogram(axis, storage=bh.storage.Weight()) for key, axis in axes.items()}
    counts = {key: bh.Histogram(axis, storage=bh.storage.Int64()) for key, axis in axes.items()}
    nan = dict.fromkeys(axes, 0)
    for block in blocks:
        weight = np.asarray(block.events["weight"], np.float64)
        for key in axes:
            values, event = _values(block, key)
            missing = np.isnan(values)
            nan[key] += int(missing.sum())
            if missing.any():  # the library would count them as overflow
                values, event = values[~missing], event[~missing]
            weighted[key].fill(values, weight=weight[event])
            counts[key].fill(values)
    return {
        key: FeatureHistogram(
            np.asarray(counts[key].values(flow=True), np.float64),
            np.asarray(weighted[key].values(flow=True)),
            np.asarray(weighted[key].variances(flow=True)),
            nan[key],
        )
        for key in axes
    }


def _known(key: Key) -> Feature | None:
    return FEATURES.get(key[0], {}).get(key[1])

"""Histograms of the input features of all samples, on common axes, filled in a stream."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boost_histogram as bh
import h5py
import numpy as np
from numpy.typing import NDArray

from honeyguide.data.features import Feature
from honeyguide.data.model_inputs import list_inputs, read_spec
from honeyguide.errors import ConfigError, DataError
from honeyguide.evaluation.histogram_rows import (
    Floats,
    Key,
    Rows,
    input_features,
    input_rows,
    input_sample,
    known_feature,
    row_feature,
    store_features,
    store_rows,
    store_sample,
    store_truths,
)
from honeyguide.evaluation.settings import HistogramSettings

SCHEMA = 1
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
        samples: Sample to what is known of it: process, generator, label, signal. Or truth to the same: its label is
            background, all else is None.
        histograms: Sample or truth to (collection, feature) to its histogram.
    """

    edges: dict[Key, Floats]
    axis_labels: dict[Key, str]
    categories: dict[Key, tuple[str, ...]]
    samples: dict[str, dict[str, Any]]
    histograms: dict[str, dict[Key, FeatureHistogram]]


def fill_histograms(
    shards: Mapping[str, Sequence[Path]], folder: Path, *, settings: HistogramSettings, num_events: int = 16384
) -> HistogramSet:
    """Returns histograms of features per sample or truth; writes ``histograms.h5``, ``histograms.json`` to ``folder``.

    Two passes: the axes come from the first ``settings.range_events`` events of every sample, then all events are
    filled, so all samples share one binning, and nothing is lost to under- and overflow. An entry of a jet or a
    constituent has the weight of its event. The result does not depend on ``num_events``, and memory not on the data.

    Args:
        shards: Sample name to its event-store files.
        folder: Where to write; it exists.
        settings: Features and binning.
        num_events: Events in memory at a time.

    Raises:
        ConfigError: A feature of the settings is not in the store; events have no truth, and the settings ask for it.
        DataError: A sample has no files; no sample has a finite value of a feature that the settings name.
    """
    samples = {name: store_sample(name, paths) for name, paths in shards.items()}
    keys = store_features(next(iter(shards.values()))[0], settings)
    truths = store_truths(shards)
    features = {key: row_feature(key) if truths else known_feature(key) for key in keys}
    groups = _truths_to_fill(truths, settings)
    result = _fill_set(
        lambda name: store_rows(shards[name], keys, num_events, truths=groups), samples, features, settings, groups
    )
    write_histograms(result, folder)
    return result


def fill_input_histograms(
    inputs: Path, split: str, folder: Path, *, settings: HistogramSettings, num_events: int = 16384
) -> HistogramSet:
    """Returns histograms of the scaled columns that a model sees, of all samples of a split; writes the same files.

    Of rows these are their own columns and those of every set, and the number of objects of every set.

    Args:
        inputs: Folder of PreprocessTask.
        split: ``train``, ``validation`` or ``test``.
        folder: Where to write; it exists.
        settings: Binning; ``features`` does not apply, all columns are filled.
        num_events: Events in memory at a time.

    Raises:
        DataError: The split has no events.
    """
    spec, paths = read_spec(inputs), list_inputs(inputs, split)
    if not paths:
        raise DataError(f"no sample has events in the split '{split}'", where=inputs)
    samples = {name: input_sample(path, spec) for name, path in paths.items()}
    result = _fill_set(
        lambda name: input_rows(paths[name], spec, num_events),
        samples,
        input_features(spec),
        settings,
        _truths_to_fill(spec.truths, settings),
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


@dataclass(frozen=True)
class _Extent:
    low: float
    high: float
    integer: bool


def _truths_to_fill(truths: Sequence[str], settings: HistogramSettings) -> tuple[str, ...]:
    """Returns the truths that have histograms of their own; empty where samples have."""
    if settings.by == "truth" and not truths:
        raise ConfigError("these events have no truths", where="histograms.by", got="truth", allowed="sample")
    return () if settings.by == "sample" else tuple(truths)


def _fill_set(
    source: Callable[[str], Iterator[Rows]],
    samples: dict[str, dict[str, Any]],
    features: Mapping[Key, Feature] | Mapping[Key, Feature | None],
    settings: HistogramSettings,
    truths: Sequence[str],
) -> HistogramSet:
    """Returns the filled histograms; ``source`` gives the rows of a sample, and is asked twice."""
    extents = [_extents(source(name), settings) for name in samples]
    axes = {
        key: _axis(key, feature, [extent[key] for extent in extents if key in extent], settings)
        for key, feature in features.items()
    }
    groups = list(truths) if truths else list(samples)
    filler = _Filler(axes, len(groups))
    for index, name in enumerate(samples):
        for rows in source(name):
            filler.fill(rows, np.full(len(rows), index) if rows.truth is None or not truths else rows.truth)
    unknown = {"process": None, "generator": None, "label": "background", "signal": None}
    return HistogramSet(
        edges={key: np.asarray(axis.edges) for key, axis in axes.items()},
        axis_labels={key: f.axis_label if f else ": ".join(key) for key, f in features.items()},
        categories={key: f.categories if f else () for key, f in features.items()},
        samples={name: dict(unknown) for name in truths} if truths else samples,
        histograms={name: filler.result(index) for index, name in enumerate(groups)},
    )


def _extents(blocks: Iterable[Rows], settings: HistogramSettings) -> dict[Key, _Extent]:
    """Returns the central quantiles of each feature in the first events of a sample."""
    parts: dict[Key, list[Floats]] = {}
    seen = 0
    for block in blocks:
        for key, (values, event) in block.values.items():
            parts.setdefault(key, []).append(values[(event < settings.range_events - seen) & np.isfinite(values)])
        seen += len(block)
        if seen >= settings.range_events:
            break
    tail = (1 - settings.coverage) / 2
    extents = {}
    for key, pieces in parts.items():
        values = np.concatenate(pieces)
        if len(values):
            low, high = np.quantile(values, [tail, 1 - tail])
            extents[key] = _Extent(float(low), float(high), bool(np.array_equal(values, np.rint(values))))
    return extents


def _axis(key: Key, feature: Feature | None, extents: Sequence[_Extent], settings: HistogramSettings) -> bh.axis.Axis:
    """Returns the common axis: angles whole, categories and integers one bin each, all else central quantiles."""
    num_bins = settings.num_bins
    if not extents and not settings.features:  # a collection may have no objects: its histograms are empty
        return bh.axis.Regular(num_bins, 0, 1)
    if not extents:
        raise DataError(f"no sample has a finite value of {key[0]}.{key[1]}", hint="leave it out of the features")
    if feature is not None and feature.categories:
        return bh.axis.Regular(len(feature.categories), -0.5, len(feature.categories) - 0.5)
    if feature is not None and feature.kind == "angle" and not feature.derived:
        # of differences of angles (derived) most lie near 0; pi itself is a legal angle and belongs into the last bin
        return bh.axis.Regular(num_bins, -math.pi, math.nextafter(math.pi, 4))
    low, high = min(extent.low for extent in extents), max(extent.high for extent in extents)
    if all(extent.integer for extent in extents) and high - low < _MAX_INTEGER_BINS:
        return bh.axis.Regular(int(high) - int(low) + 1, int(low) - 0.5, int(high) + 0.5)
    if high <= low:
        low, high = low - 0.5 * max(abs(low), 1), high + 0.5 * max(abs(high), 1)
    return bh.axis.Regular(num_bins, low, high + 1e-3 * (high - low) / num_bins)


class _Filler:
    """Fills the histograms of all samples or truths, the groups, in one pass."""

    def __init__(self, axes: Mapping[Key, bh.axis.Axis], num_groups: int) -> None:
        group = bh.axis.Integer(0, num_groups, underflow=False, overflow=False)  # -1, no truth, is in no bin
        self._weighted = {key: bh.Histogram(axis, group, storage=bh.storage.Weight()) for key, axis in axes.items()}
        self._counts = {key: bh.Histogram(axis, group, storage=bh.storage.Int64()) for key, axis in axes.items()}
        self._nan = {key: np.zeros(num_groups, np.int64) for key in axes}

    def fill(self, rows: Rows, group: NDArray[np.int64]) -> None:
        """Fills in a block of events, each in its group; -1 for none."""
        for key, nan in self._nan.items():
            values, event = rows.values[key]
            missing = np.isnan(values)
            if missing.any():  # the library would count them as overflow
                of = group[event[missing]]
                nan += np.bincount(of[of >= 0], minlength=len(nan))
                values, event = values[~missing], event[~missing]
            self._weighted[key].fill(values, group[event], weight=rows.weight[event])
            self._counts[key].fill(values, group[event])

    def result(self, group: int) -> dict[Key, FeatureHistogram]:
        """Returns the histograms of one group."""
        return {
            key: FeatureHistogram(
                np.asarray(self._counts[key].values(flow=True)[:, group], np.float64),
                np.ascontiguousarray(self._weighted[key].values(flow=True)[:, group]),
                np.ascontiguousarray(self._weighted[key].variances(flow=True)[:, group]),
                int(nan[group]),
            )
            for key, nan in self._nan.items()
        }

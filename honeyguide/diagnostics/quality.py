"""The quality of the data: ranges, NaN, padding, repeated events, and drift between splits and generators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.input_spec import InputSpec
from honeyguide.data.splits import SPLITS
from honeyguide.diagnostics.census import (
    Census,
    Key,
    column_names,
    constant_columns,
    num_leaked,
    num_repeated,
    object_tables,
    rare_columns,
    take_census,
)
from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.drift import Comparison, compare, drifted, event_features
from honeyguide.diagnostics.inspected import Events
from honeyguide.diagnostics.section import Cell, Plot, Section, Table
from honeyguide.plotting.drift import classifier_figure, distance_figure, histogram_figure

NAME, TITLE = "quality", "Data quality"
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)

Found = list[tuple[Comparison, NDArray[np.bool_], bool]]
Bools = NDArray[np.bool_]


def section(context: Context) -> Section:
    """Returns what the model inputs are like."""
    events, settings = context.inspected.events, context.settings
    names = column_names(events.spec)
    census = take_census(context.sources.inputs, events.spec)
    features = event_features(events)
    found = {
        kind: _drift(features, pairs, seed=settings.seed, significance=settings.significance)
        for kind, pairs in {"splits": split_pairs(events), f"{events.grouping}s": group_pairs(events)}.items()
    }
    quantiles = _quantiles(events, names)
    data: dict[str, Any] = {
        "samples": [_sample_data(key, counted, names, num_repeated(census)[key]) for key, counted in census.items()],
        "test_events_seen_in_training": num_leaked(census),
        "constant_columns": list(constant_columns(census, names)),
        "quantiles": quantiles,
        "drift": {kind: [_drift_data(*item) for item in items] for kind, items in found.items()},
        "significance": settings.significance,
    }
    plots = (*_drift_plots(found), *_worst_plot(context, features, found[f"{events.grouping}s"]))
    tables = (_samples_table(census), _columns_table(census, quantiles, names))
    return Section(
        NAME,
        TITLE,
        _text(census, found, events.grouping),
        data,
        plots,
        tables,
        _warnings(census, events.spec, found["splits"]),
    )


def split_pairs(events: Events) -> Iterator[tuple[tuple[str, Bools], tuple[str, Bools]]]:
    """Yields the training events of each sample with those of its other splits."""
    for sample in events.samples:
        of_sample = events.of_sample(sample)
        for split in SPLITS[1:]:
            pair = [(f"{sample} {name}", of_sample & events.in_split(name)) for name in ("train", split)]
            yield pair[0], (split, pair[1][1])


def group_pairs(events: Events) -> Iterator[tuple[tuple[str, Bools], tuple[str, Bools]]]:
    """Yields every two generators (truths, where there are any) with their events that train."""
    train = events.in_split("train")
    groups = [(name, rows & train) for name, rows in events.groups().items()]
    yield from combinations(groups, 2)


def _drift(features: Mapping[str, Any], pairs: Any, *, seed: int, significance: float) -> Found:
    comparisons = [compare(features, first, second, seed=seed) for first, second in pairs]
    return drifted([item for item in comparisons if item is not None], significance=significance)


def _text(census: Mapping[Key, Census], found: Mapping[str, Found], grouping: str) -> str:
    total = sum(counted.num_events for counted in census.values())
    samples = len({sample for sample, _ in census})
    text = f"{total:,} events of {samples} samples. "
    if found["splits"]:
        differ = sum(rows.any() or told for _, rows, told in found["splits"])
        text += f"Of {len(found['splits'])} comparisons of training events with other splits, {differ} show a drift. "
    if groups := found[f"{grouping}s"]:
        best = max((comparison for comparison, _, _ in groups), key=lambda item: item.auc)
        text += (
            f"The {grouping}s that differ most in their inputs are {best.first} and {best.second}: a classifier tells "
            f"them apart with an AUC of {best.auc:.3f}."
        )
    return text


def _warnings(census: Mapping[Key, Census], spec: InputSpec, splits: Found) -> tuple[str, ...]:
    names, warnings = column_names(spec), []
    rare = rare_columns(spec)
    for (sample, split), counted in census.items():
        bad = counted.num_nan + counted.num_infinite
        if bad.any():
            columns = ", ".join(name for name, number in zip(names, bad, strict=True) if number)
            warnings.append(f"{int(bad.sum())} inputs of {sample} ({split}) are NaN or infinite: {columns}.")
        if counted.num_empty:
            warnings.append(f"{counted.num_empty} events of {sample} ({split}) have no objects.")
    constant = [name for name in constant_columns(census, names) if name not in rare]
    if constant:
        warnings.append(f"The same value in all training events: {', '.join(constant)}.")
    repeated = {key: number for key, number in num_repeated(census).items() if number}
    if repeated:
        where = ", ".join(f"{number} in {sample} ({split})" for (sample, split), number in repeated.items())
        warnings.append(f"Events with the same inputs as another event: {where}.")
    leaked = num_leaked(census)
    if leaked:
        warnings.append(f"{leaked} test events have the same inputs as an event that trains or validates.")
    for comparison, rows, told in splits:
        if rows.any() or told:
            parts = [name for name, differs in zip(comparison.features, rows, strict=True) if differs]
            parts += [f"a classifier (AUC {comparison.auc:.3f})"] if told else []
            warnings.append(f"Drift between {comparison.first} and {comparison.second}: {', '.join(parts)}.")
    return tuple(warnings)


def _drift_plots(found: Mapping[str, Found]) -> Iterator[Plot]:
    for kind, items in found.items():
        if not items:
            continue
        distances = np.stack([comparison.distance for comparison, _, _ in items], axis=1)
        marks = np.stack([rows for _, rows, _ in items], axis=1)
        columns = [_pair_name(comparison) for comparison, _, _ in items]
        figure = distance_figure(distances, marks, rows=items[0][0].features, columns=columns)
        caption = (
            "Kolmogorov-Smirnov distance of each feature between two groups of events, in the scaled inputs that the "
            "model sees: the value of the leading object and the mean over the event's objects. Bold with a star: the "
            "groups differ, after Holm's correction for the number of tests."
        )
        yield Plot(f"drift_{kind}", f"Distance between {kind}", caption, figure)
    areas = {_pair_name(item): (item.auc, item.auc_error) for items in found.values() for item, _, _ in items}
    kinds = {_pair_name(item): kind for kind, items in found.items() for item, _, _ in items}
    if areas:
        caption = (
            "Cross-validated area under the ROC curve of boosted trees that are trained to tell two groups apart, on "
            f"all features together. 0.5: they can't. Splits should be the same; {list(found)[-1]} need not be."
        )
        yield Plot(
            "drift_classifier", "Can a classifier tell groups apart?", caption, classifier_figure(areas, kinds=kinds)
        )


def _worst_plot(context: Context, features: Mapping[str, NDArray[np.float64]], found: Found) -> Iterator[Plot]:
    """Yields the distributions of the feature in which generators (truths) differ most."""
    distances = [(np.nanmax(item.distance), item) for item, _, _ in found if np.isfinite(item.distance).any()]
    if not distances:
        return
    _, worst = max(distances, key=lambda pair: pair[0])
    name = worst.features[int(np.nanargmax(worst.distance))]
    events = context.inspected.events
    train = events.in_split("train")
    groups = {group: features[name][rows & train] for group, rows in events.groups().items()}
    figure = histogram_figure(groups, axis=f"{name} (scaled)", colours=context.colours, title="training events")
    caption = (
        f"The feature with the largest distance between two {events.grouping}s ({worst.first} and {worst.second})."
    )
    yield Plot("drift_worst_feature", f"Where {events.grouping}s differ most: {name}", caption, figure)


def _pair_name(comparison: Comparison) -> str:
    return f"{comparison.first} / {comparison.second}"


def _samples_table(census: Mapping[Key, Census]) -> Table:
    repeated = num_repeated(census)
    rows: list[tuple[Cell, ...]] = []
    for key, counted in sorted(census.items(), key=lambda item: (item[0][0], SPLITS.index(item[0][1]))):
        bad = int(counted.num_nan.sum()), int(counted.num_infinite.sum())
        padding = f"{100 * counted.padding:.1f} %"
        rows.append((*key, counted.num_events, padding, counted.num_empty, *bad, repeated[key]))
    columns = ("sample", "split", "events", "padding", "without objects", "NaN", "infinite", "repeated")
    return Table("Events of each sample and split (all of them)", columns, tuple(rows))


def _columns_table(census: Mapping[Key, Census], quantiles: Mapping[str, Any], names: tuple[str, ...]) -> Table:
    trained = [counted for (_, split), counted in census.items() if split == "train"]
    low = np.min([counted.low for counted in trained], axis=0)
    high = np.max([counted.high for counted in trained], axis=0)
    rows: list[tuple[Cell, ...]] = []
    for index, name in enumerate(names):
        middle = [float(value) if value is not None else None for value in quantiles["train"][name]]
        rows.append((name, _finite(low[index]), *middle, _finite(high[index])))
    columns = ("column", "lowest", *(f"{100 * quantile:g} %" for quantile in QUANTILES), "highest")
    return Table("Ranges of the scaled inputs that train", columns, tuple(rows))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _quantiles(events: Events, names: tuple[str, ...]) -> dict[str, dict[str, list[float | None]]]:
    """Returns the quantiles of every column in every split, of the events that are looked at."""
    tables, event = object_tables(events.inputs, events.spec), events.inputs.event
    result: dict[str, dict[str, list[float | None]]] = {}
    for split in SPLITS:
        rows = events.in_split(split)
        if not rows.any():
            continue
        columns = [column for table in tables for column in table.features[rows][table.mask[rows]].T]
        columns += list(event[rows].T)
        result[split] = {}
        for name, values in zip(names, columns, strict=True):
            finite = values[np.isfinite(values)]
            result[split][name] = np.quantile(finite, QUANTILES).tolist() if len(finite) else [None] * len(QUANTILES)
    return result


def _sample_data(key: Key, counted: Census, names: tuple[str, ...], repeated: int) -> dict[str, Any]:
    return {
        "sample": key[0],
        "split": key[1],
        "events": counted.num_events,
        "without_objects": counted.num_empty,
        "padding": counted.padding,
        "repeated": repeated,
        "lowest": dict(zip(names, counted.low.tolist(), strict=True)),
        "highest": dict(zip(names, counted.high.tolist(), strict=True)),
        "nan": dict(zip(names, counted.num_nan.tolist(), strict=True)),
        "infinite": dict(zip(names, counted.num_infinite.tolist(), strict=True)),
    }


def _drift_data(comparison: Comparison, rows: NDArray[np.bool_], told: bool) -> dict[str, Any]:
    values = zip(comparison.features, comparison.distance, comparison.p_value, rows, strict=True)
    return {
        "first": comparison.first,
        "second": comparison.second,
        "features": {
            name: {"ks": float(distance), "p_value": float(p_value), "differs": bool(differs)}
            for name, distance, p_value, differs in values
        },
        "classifier": {
            "auc": comparison.auc,
            "error": comparison.auc_error,
            "p_value": comparison.auc_p_value,
            "differs": told,
        },
    }

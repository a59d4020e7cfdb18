"""Reconstructed against original features, in physical units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.features import Feature
from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.inspected import Events
from honeyguide.diagnostics.section import Plot, Section, Table, not_made
from honeyguide.plotting.reconstruction import confusion_figure, pairs_figure, residual_figure
from honeyguide.preprocess.chain import Chain, Scalers, invert_columns
from honeyguide.preprocess.settings import locate_feature

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
LARGEST = 1e300
MOST_SIGNALS = 3  # more lines in one figure can't be told apart: they are merged
TITLE = "Reconstructed against original features"


@dataclass(frozen=True)
class Pairs:
    """One feature of all objects that there are, before and after the model.

    Attributes:
        feature: The feature.
        key: Its name, with ``event.`` before that of an event's feature.
        log: Whether it was scaled by a logarithm.
        event: Row of the event that each object belongs to, (num_pairs,).
        original: Physical values, (num_pairs,).
        reconstructed: Physical values.
    """

    feature: Feature
    key: str
    log: bool
    event: NDArray[np.int64]
    original: Floats
    reconstructed: Floats

    @property
    def discrete(self) -> bool:
        """Whether values are classes rather than numbers."""
        return self.feature.kind in ("binary", "category")

    @property
    def usable(self) -> Bools:
        """Which reconstructed values are numbers, (num_pairs,): the scaling's inverse may leave the range of floats."""
        return np.abs(self.reconstructed) < LARGEST  # False for NaN

    @property
    def residual(self) -> Floats:
        """Reconstructed minus original, (num_pairs,); for angles the smallest turn."""
        difference = self.reconstructed - self.original
        if self.feature.kind != "angle":
            return difference
        return np.asarray(np.remainder(difference + np.pi, 2 * np.pi) - np.pi)


@dataclass(frozen=True)
class Quality:
    """How well one feature of one group comes back.

    Attributes:
        num_objects: Objects (or events) that are compared.
        bias: Median of the residual.
        resolution: Half the width of its central 68.3 %: the standard deviation, where it is normal.
        spread: The same width of the original: a resolution as wide as this says nothing about the single object.
        accuracy: For classes, share of the objects whose class comes back; bias, resolution and spread are NaN then.
        not_usable: Reconstructed values that are no numbers; they count in nothing else.
    """

    num_objects: int
    bias: float
    resolution: float
    spread: float
    accuracy: float
    not_usable: int


def section(context: Context) -> Section:
    """Returns originals, reconstructions and residuals of the test events of all generators and signal points."""
    events, seen = context.inspected.events, context.inspected.trained
    if "objects" not in seen:
        return not_made("reconstruction", TITLE, "this model reconstructs nothing that can be looked at.")
    pairs = make_pairs(events, seen["objects"], seen.get("event"), Scalers.read(context.sources.inputs))
    test = events.in_split("test")
    backgrounds = {name: rows & test for name, rows in events.generators().items()}
    signals = {name: rows & test for name, rows in events.signals().items()}
    groups = {name: rows for name, rows in {**backgrounds, **signals}.items() if rows.any()}
    quality = {
        pair.key: {name: judge(pair, rows) for name, rows in groups.items() if rows[pair.event].any()} for pair in pairs
    }
    plots: list[Plot] = []
    for pair in pairs:
        plots += _plots(pair, backgrounds, signals, context.colours)
    text = (
        "Test events, with the scaling undone; empty slots are left out. A resolution near the spread of the originals "
        "means that the model gives back the average rather than the object."
    )
    tables = tuple(table for discrete in (False, True) for table in _table(pairs, quality, discrete=discrete))
    data = {key: {name: vars(found) for name, found in groups.items()} for key, groups in quality.items()}
    return Section("reconstruction", TITLE, text, data, tuple(plots), tables, tuple(_warnings(quality)))


def make_pairs(events: Events, objects: Floats | Any, event: Floats | Any | None, scalers: Scalers) -> list[Pairs]:
    """Returns every feature of the objects, then of the event, before and after the model.

    Args:
        events: The events.
        objects: Reconstructed objects, scaled, (num_events, num_objects, num_features).
        event: Reconstructed event features, scaled, (num_events, num_event_features); None where there are none.
        scalers: What the scaling was.
    """
    inputs, level = events.inputs, events.spec.level
    row, slot = np.nonzero(inputs.mask)
    found = _unscaled(scalers.objects, inputs.objects[row, slot], np.asarray(objects)[row, slot], row, level)
    if event is None or not scalers.event:
        return found
    return found + _unscaled(scalers.event, inputs.event, np.asarray(event), np.arange(len(events)), "event")


def judge(pair: Pairs, rows: Bools) -> Quality:
    """Returns how well a feature of the chosen events comes back."""
    chosen = rows[pair.event]
    finite = pair.usable[chosen]
    original, lost = pair.original[chosen][finite], int(np.sum(~finite))
    nothing = float("nan")
    if not len(original):
        return Quality(0, nothing, nothing, nothing, nothing, lost)
    if pair.discrete:
        right = np.round(pair.reconstructed[chosen][finite]) == original
        return Quality(len(original), nothing, nothing, nothing, float(np.mean(right)), lost)
    residual = pair.residual[chosen][finite]
    return Quality(len(original), float(np.median(residual)), _width(residual), _width(original), nothing, lost)


def _unscaled(
    chains: Sequence[Chain], original: Any, reconstructed: Any, event: NDArray[np.int64], level: str
) -> list[Pairs]:
    with np.errstate(over="ignore", invalid="ignore"):
        before = invert_columns(chains, original.astype(np.float64))
        after = invert_columns(chains, reconstructed.astype(np.float64))
    prefix = "event." if level == "event" else ""
    return [
        Pairs(
            _feature(chain.feature, level),
            prefix + chain.feature,
            any(stage.name == "log" for stage in chain.stages),
            event,
            before[chain.feature],
            after[chain.feature],
        )
        for chain in chains
    ]


def _feature(name: str, level: str) -> Feature:
    try:
        return locate_feature(name, level)[1]
    except ValueError:  # inputs that no feature table knows
        return Feature(name, name)


def _width(values: Floats) -> float:
    low, high = np.quantile(values, [0.1587, 0.8413])
    return float(high - low) / 2


def _plots(
    pair: Pairs, backgrounds: Mapping[str, Bools], signals: Mapping[str, Bools], colours: Mapping[str, str]
) -> list[Plot]:
    merged = {name: _any(groups) for name, groups in (("background", backgrounds), ("signal", signals)) if groups}
    panels = {
        name: (pair.original[rows], pair.reconstructed[rows]) for name, rows in _usable_rows(pair, merged).items()
    }
    if not panels:
        return []
    name, what = pair.key.replace("event.", "event_"), pair.feature.name.replace("_", " ")
    if pair.discrete:
        caption = "Share of the objects of each original class (rows add up to 1) that come back as each class."
        figure = confusion_figure(panels, pair.feature)
        return [Plot(f"reconstruction_{name}", f"Classes of {what}", caption, figure)]
    shown = signals if len(signals) <= MOST_SIGNALS else {"all signals": merged["signal"]}
    residuals = [
        {group: pair.residual[rows] for group, rows in _usable_rows(pair, groups).items()}
        for groups in (backgrounds, shown)
    ]
    return [
        Plot(
            f"reconstruction_{name}",
            f"Reconstructed against original {what}",
            "Number of objects; on the dashed line the reconstruction is right. A horizontal band is a model that "
            "gives back the average.",
            pairs_figure(panels, pair.feature, log=pair.log),
        ),
        Plot(
            f"residual_{name}",
            f"Residuals of {what}",
            "Reconstructed minus original, each group with unit area; what lies outside of the axis is counted in the "
            "first and last bin. The numbers of each group are in the table.",
            residual_figure(residuals[0], residuals[1], pair.feature, colours),
        ),
    ]


def _any(groups: Mapping[str, Bools]) -> Bools:
    rows: Bools = np.logical_or.reduce(list(groups.values()))
    return rows


def _usable_rows(pair: Pairs, groups: Mapping[str, Bools]) -> dict[str, Bools]:
    """Returns which pairs of each group can be drawn; groups with none are left out."""
    found = {name: rows[pair.event] & pair.usable for name, rows in groups.items()}
    return {name: rows for name, rows in found.items() if rows.any()}


def _table(pairs: Sequence[Pairs], quality: Mapping[str, Mapping[str, Quality]], *, discrete: bool) -> Iterator[Table]:
    """Yields the table of the features that are classes, or of those that are numbers; none where there is none."""
    rows: list[tuple[Any, ...]] = []
    for pair in (pair for pair in pairs if pair.discrete == discrete):
        for name, q in quality[pair.key].items():
            values = (100 * q.accuracy,) if discrete else (q.bias, q.resolution, q.spread)
            unit = () if discrete else (pair.feature.unit,)
            rows.append((pair.key, name, q.num_objects, *map(_round, values), *unit))
    if discrete and rows:
        yield Table("Classes that come back", ("feature", "group", "objects", "right class [%]"), tuple(rows))
    elif rows:
        columns = ("feature", "group", "objects", "bias", "resolution", "spread of originals", "unit")
        yield Table("Numbers that come back", columns, tuple(rows))


def _round(value: float) -> float | None:
    return float(f"{value:.3g}") if np.isfinite(value) else None


def _warnings(quality: Mapping[str, Mapping[str, Quality]]) -> list[str]:
    found = []
    for key, groups in quality.items():
        lost = sum(q.not_usable for q in groups.values())
        if lost:
            found.append(f"{lost} reconstructed values of {key} are beyond all numbers once the scaling is undone.")
    return found

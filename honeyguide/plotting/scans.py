"""Figures of a scan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from honeyguide.plotting.style import colour, figure_style, header, legend_below, save
from honeyguide.scans.importance import TOGETHER, places_of
from honeyguide.scans.space import Choices, Range

if TYPE_CHECKING:
    from honeyguide.scans.importance import Share
    from honeyguide.scans.results import Row, Scan

_BEST = "#bd1f01"
_GIVEN_UP = "0.6"
_COLUMNS = 3
_MAP = "viridis_r"


def draw_scan(scan: Scan, folder: Path) -> None:
    """Writes ``scan_parallel``, ``scan_settings``, where there are shares ``scan_importance``, else ``scan_trials``."""
    save(parallel_figure(scan), folder, "scan_parallel")
    save(settings_figure(scan), folder, "scan_settings")
    if scan.method != "grid":
        save(trials_figure(scan), folder, "scan_trials")
    if scan.shares:
        save(importance_figure(scan.shares, title=_title(scan)), folder, "scan_importance")


def parallel_figure(scan: Scan) -> Figure:
    """Returns parallel coordinates: an axis per setting and one for the objective, a line per point."""
    keys = list(scan.space)
    with figure_style():
        figure = Figure(figsize=(min(3.5 + 2.4 * len(keys), 16.0), 6.2))
        axes = figure.add_subplot()
        low, high = _limits(scan.complete)
        # the lightest colours are none on white
        colours = ScalarMappable(Normalize(low - 0.1 * (high - low), high), colormaps[_MAP])
        for row in reversed(scan.rows):  # the best on top
            places = [*places_of(scan.space, [row.point])[0]]
            if row.status == "complete" and row.objective is not None:
                places.append((row.objective - low) / (high - low))
                axes.plot(places, color=colours.to_rgba(np.array(row.objective)), linewidth=1.5, alpha=0.85)
            else:
                axes.plot(places, color=_GIVEN_UP, linewidth=0.8, alpha=0.6, linestyle="--")
        best = [*places_of(scan.space, [scan.best.point])[0], ((scan.best.objective or low) - low) / (high - low)]
        axes.plot(best, color=_BEST, linewidth=3, label=f"best point: {_number(scan.best.objective or low)}")
        if len(scan.complete) < len(scan.rows):
            axes.plot([], [], color=_GIVEN_UP, linestyle="--", linewidth=1, label="given up or failed")
        for place, key in enumerate(keys):
            _scale(axes, place, *_ticks(scan.space[key]))
        marks = [mark for mark in MaxNLocator(6).tick_values(low, high) if low <= mark <= high]
        _scale(axes, len(keys), [(mark - low) / (high - low) for mark in marks], [_number(mark) for mark in marks])
        axes.set_xticks(range(len(keys) + 1), [*map(_label, keys), f"{scan.objective}\n(validation)"], fontsize=13)
        axes.tick_params(axis="x", which="both", length=0, pad=10)
        axes.yaxis.set_major_locator(NullLocator())
        axes.yaxis.set_minor_locator(NullLocator())
        axes.spines[:].set_visible(False)
        axes.set(xlim=(-0.45, len(keys) + 0.45), ylim=(-0.04, 1.04))
        header(axes, _title(scan))
        legend_below(figure, axes)
        return figure


def settings_figure(scan: Scan) -> Figure:
    """Returns the objective against each setting, a panel each; error bars are the spread over a point's trainings."""
    keys = list(scan.space)
    columns = min(_COLUMNS, len(keys))
    rows = math.ceil(len(keys) / columns)
    with figure_style():
        figure = Figure(figsize=(4.8 * columns + 0.6, 4.6 * rows + 0.7))
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for number, axes in enumerate(panels.flat):
            if number >= len(keys):
                axes.set_visible(False)
                continue
            _panel(axes, scan, keys[number], number)
            if number % columns == 0:
                axes.set_ylabel(f"{scan.objective} (validation)")
        header(panels[0][0])
        panels[0][-1].set_title(_title(scan), loc="right", fontsize=12, color="0.3", y=1.0 if columns > 1 else 1.06)
        legend_below(figure, panels[0][0])
        return figure


def importance_figure(found: Sequence[Share], *, title: str = "") -> Figure:
    """Returns a bar per setting with its share of the variance of the objective over the scanned space."""
    with figure_style():
        figure = Figure(figsize=(8.5, 2.2 + 0.5 * len(found)))
        axes = figure.add_subplot()
        places = np.arange(len(found))
        values, errors = [share.value for share in found], [share.error for share in found]
        # the bars end at 0: no share is negative
        lower = [min(value, error) for value, error in zip(values, errors, strict=True)]
        axes.barh(
            places, values, xerr=[lower, errors], height=0.68,
            color=["0.75" if share.key == TOGETHER else colour(0) for share in found],
            error_kw={"elinewidth": 1.3, "capsize": 3, "ecolor": "0.2"},
        )  # fmt: skip
        names = ["combinations and noise" if share.key == TOGETHER else share.key for share in found]
        axes.set_yticks(places, names, fontsize=13)
        axes.tick_params(axis="y", which="both", length=0)
        axes.set(ylim=(len(found) - 0.4, -0.6), xlim=(0, None))
        axes.set_xlabel("share of the variance of the objective")
        axes.grid(axis="x", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        header(axes, title)
        return figure


def trials_figure(scan: Scan) -> Figure:
    """Returns the objective against the number of the point, with the best so far."""
    with figure_style():
        figure = Figure()
        axes = figure.add_subplot()
        complete = sorted(scan.complete, key=lambda row: row.number)
        numbers, values = [row.number for row in complete], [row.objective or 0.0 for row in complete]
        axes.errorbar(numbers, values, yerr=_errors(complete), fmt="o", color=colour(0), markersize=6, label="complete")
        best = np.minimum if scan.direction == "minimize" else np.maximum
        axes.step(numbers, best.accumulate(values), where="post", color=_BEST, label="best so far")
        _given_up(axes, [(row.number, row) for row in scan.rows], values)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("trial" if scan.method == "optuna" else "point")
        axes.set_ylabel(f"{scan.objective} (validation)")
        header(axes, _title(scan))
        legend_below(figure, axes)
        return figure


def _panel(axes: Axes, scan: Scan, key: str, number: int) -> None:
    values = scan.space[key]
    complete = scan.complete
    heights = [row.objective or 0.0 for row in complete]

    def place(row: Row) -> float:
        found: float = places_of(scan.space, [row.point])[0][number]
        return found

    axes.errorbar(
        [place(row) for row in complete], heights, yerr=_errors(complete), fmt="o", color=colour(0), markersize=6,
        alpha=0.8, label="complete",
    )  # fmt: skip
    axes.plot(place(scan.best), heights[0], "*", color=_BEST, markersize=17, label="best", linestyle="none")
    _given_up(axes, [(place(row), row) for row in scan.rows], heights)
    ticks, labels = _ticks(values)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, labels, fontsize=12, rotation=30 if max(map(len, labels)) > 6 else 0)
    axes.set(xlabel=key, xlim=(-0.05, 1.05))
    axes.grid(axis="y", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)


def _given_up(axes: Axes, places: Sequence[tuple[float, Row]], shown: Sequence[float]) -> None:
    """Marks points that were not trained to their end, those far from all others at the edge."""
    pruned = [(x, row.objective) for x, row in places if row.status == "pruned" and row.objective is not None]
    if not pruned:
        return
    room = 0.15 * max(max(shown) - min(shown), 1e-12)
    heights = np.clip([y for _, y in pruned], min(shown) - room, max(shown) + room)
    cut = any(y != height for (_, y), height in zip(pruned, heights, strict=True))
    label = "given up (best value; some are further out)" if cut else "given up (best value)"
    axes.plot([x for x, _ in pruned], heights, "x", color=_GIVEN_UP, markersize=7, label=label, linestyle="none")


def _errors(rows: Sequence[Row]) -> list[float] | None:
    return None if all(row.spread is None for row in rows) else [row.spread or 0.0 for row in rows]


def _limits(rows: Sequence[Row]) -> tuple[float, float]:
    """Returns the ends of the objective's axis: some width even where all points are the same."""
    values = [row.objective for row in rows if row.objective is not None]
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5 * abs(low) - 1e-9, high + 0.5 * abs(high) + 1e-9)


def _scale(axes: Axes, place: float, ticks: Sequence[float], labels: Sequence[str]) -> None:
    axes.plot([place, place], [0, 1], color="0.25", linewidth=1.2, zorder=0)
    for tick, label in zip(ticks, labels, strict=True):
        axes.plot([place - 0.02, place + 0.02], [tick, tick], color="0.25", linewidth=1.2, zorder=3)
        side = -1 if place == 0 else 1  # no lines are left of the first axis
        axes.annotate(
            label, (place, tick), (8 * side, 0), textcoords="offset points", va="center", fontsize=12, zorder=4,
            ha="right" if side < 0 else "left",
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )  # fmt: skip


def _ticks(values: Choices | Range) -> tuple[list[float], list[str]]:
    """Returns places in 0 to 1 with labels."""
    if isinstance(values, Choices):
        texts = values.texts if len(values.texts) <= 12 else values.texts[:: math.ceil(len(values.texts) / 12)]
    elif values.whole:
        texts = tuple(dict.fromkeys(str(round(float(number))) for number in _spaced(values)))
    else:
        texts = tuple(f"{number:.3g}" for number in _spaced(values))
    places = places_of({"": values}, [{"": text} for text in texts])[:, 0]
    return [float(place) for place in places], [text if len(text) <= 18 else text[:17] + "…" for text in texts]


def _spaced(values: Range) -> Sequence[float]:
    """Returns some round numbers of a range: powers of ten where there are enough of them."""
    if not values.log:
        return [float(number) for number in np.linspace(values.low, values.high, 6)]
    first, last = math.ceil(math.log10(values.low) - 1e-9), math.floor(math.log10(values.high) + 1e-9)
    if last - first >= 2:
        return [10.0**power for power in range(first, last + 1)]
    return [float(number) for number in np.geomspace(values.low, values.high, 5)]


def _number(value: float) -> str:
    return f"{value:.4g}"


def _label(key: str) -> str:
    section, _, rest = key.partition(".")
    return f"{section}\n{rest}"


def _title(scan: Scan) -> str:
    given_up = len(scan.rows) - len(scan.complete)
    text = f"{scan.method}: {len(scan.complete)} points"
    return f"{text}, {given_up} more given up or failed" if given_up else text

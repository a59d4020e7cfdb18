"""Figures of how well signal points are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from honeyguide.plotting.style import (
    COLOURS,
    GREY,
    PANEL,
    colour,
    figure_style,
    header,
    legend_below,
    parameter_label,
    plain_log,
    signal_label,
)

FEW = 3  # with fewer points in a group there is no distribution to draw


@dataclass(frozen=True)
class PointValue:
    """One number of one signal point.

    Attributes:
        label: Names the point within its group, as signal points are named; may be empty.
        value: The number.
        low: Lower end of its interval.
        high: Upper end.
        replicas: Bootstrap replicas of the number, (num_replicas,).
    """

    label: str
    value: float
    low: float
    high: float
    replicas: NDArray[np.float64]


Figures = dict[float, list[PointValue]]


def overview_figure(
    rows: Mapping[str, Mapping[str, PointValue]], *, axis: str, reference: float | None, log: bool = False
) -> Figure:
    """Returns a row per signal point with a marker and its interval for each series.

    Args:
        rows: Signal point to its numbers by series.
        axis: Label of the horizontal axis.
        reference: Where to draw a dotted line.
        log: Logarithmic horizontal axis, where all numbers are above 0.
    """
    series = list(dict.fromkeys(name for values in rows.values() for name in values))
    with figure_style():
        figure = Figure(figsize=(7.4, 1.9 + 0.42 * len(rows)))
        ax = figure.add_subplot()
        for index, name in enumerate(series):
            places = [place for place, values in enumerate(rows.values()) if name in values]
            points = [values[name] for values in rows.values() if name in values]
            shift = 0.16 * (index - (len(series) - 1) / 2)
            _bars(ax, np.array(places) + shift, points, color=colour(index), label=name, horizontal=True)
        if reference is not None:
            ax.axvline(reference, linestyle=":", color="0.4", linewidth=1.2)
        if log and all(point.value > 0 for values in rows.values() for point in values.values()):
            plain_log(ax, x=True)
        ax.set_yticks(range(len(rows)), [signal_label(name) for name in rows], fontsize=12)
        ax.tick_params(axis="y", which="both", length=0)
        ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel=axis)
        ax.grid(axis="x", color=GREY, linewidth=0.8)
        if len(series) > 1:
            figure.legend(loc="outside upper center", ncols=min(len(series), 4), frameon=False)
        else:
            header(ax)
        return figure


def groups_figure(groups: Figures, *, parameter: str, axis: str) -> Figure:
    """Returns violins and boxes of the numbers of signal points, grouped by the value of one of their parameters.

    Groups of fewer than three points show the points alone. Colours stand for the other parameters of the points.

    Args:
        groups: Value of the parameter to the points.
        parameter: Its name.
        axis: Label of the vertical axis.
    """
    labels = list(dict.fromkeys(point.label for points in groups.values() for point in points))
    colours = {label: COLOURS[index % len(COLOURS)] for index, label in enumerate(labels)}
    with figure_style():
        figure = Figure(figsize=PANEL)
        ax = figure.add_subplot()
        for place, points in enumerate(groups.values()):
            if len(points) >= FEW:
                _distribution(ax, place, np.concatenate([point.replicas for point in points]))
        for label in labels:
            places, chosen = [], []
            for place, points in enumerate(groups.values()):
                for number, point in enumerate(points):
                    if point.label == label:
                        places.append(place + 0.6 * ((number + 0.5) / len(points) - 0.5))
                        chosen.append(point)
            _bars(ax, np.array(places), chosen, color=colours[label], label=signal_label(label) or "signal points")
        ax.set_xticks(range(len(groups)), [f"{value:g}" for value in groups])
        ax.tick_params(axis="x", which="both", length=0)
        ax.set(xlim=(-0.6, len(groups) - 0.4), xlabel=parameter_label(parameter), ylabel=axis)
        if labels != [""]:
            legend_below(figure, ax)
        header(ax)
        return figure


def _distribution(ax: Axes, place: int, values: NDArray[np.float64]) -> None:
    if np.ptp(values) > 0:  # a density of equal numbers is none
        parts = ax.violinplot([values], [place], widths=0.85, showextrema=False, points=200)
        for body in parts["bodies"]:  # type: ignore[attr-defined]
            body.set(facecolor=GREY, edgecolor="0.6", alpha=1, zorder=1)
    ax.boxplot(
        [values],
        positions=[place],
        widths=0.18,
        whis=(5, 95),
        showfliers=False,
        manage_ticks=False,
        patch_artist=True,
        boxprops={"facecolor": "white", "edgecolor": "0.35", "zorder": 2},
        medianprops={"color": "0.2", "linewidth": 1.8},
        whiskerprops={"color": "0.35"},
        capprops={"color": "0.35"},
    )


def _bars(
    ax: Axes,
    places: NDArray[np.float64],
    points: Sequence[PointValue],
    *,
    color: str,
    label: str,
    horizontal: bool = False,
) -> None:
    values = np.array([point.value for point in points])
    ends = np.array([[p.value - p.low for p in points], [p.high - p.value for p in points]]).clip(0)
    style = {"fmt": "o", "color": color, "markersize": 6, "elinewidth": 1.6, "label": label, "zorder": 3}
    if horizontal:
        ax.errorbar(values, places, xerr=ends, **style)  # type: ignore[arg-type]
    else:
        ax.errorbar(places, values, yerr=ends, **style)  # type: ignore[arg-type]

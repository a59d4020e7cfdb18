"""Figures of latent spaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from honeyguide.plotting.style import COLOURS, PANEL, figure_style, header, legend_below

Floats = NDArray[np.float64]
_NUMBERED = 40  # numbers of more dimensions would lie on top of one another


def dimensions_figure(
    values: Mapping[str, Floats], *, axis: str, threshold: float | None = None, threshold_label: str = ""
) -> Figure:
    """Returns a figure of a number per latent dimension, sorted by the first series, on a logarithmic axis.

    Args:
        values: Positive numbers (latent,) by the series' name; what is 0 or less stands at the lower end.
        axis: Label of the vertical axis.
        threshold: Where to draw a line.
        threshold_label: What the legend says of it.
    """
    first = next(iter(values.values()))
    order = np.argsort(-first)
    positive = np.concatenate([series[series > 0] for series in values.values()] + [np.array([threshold or 1e-3])])
    floor = max(float(positive.min()) / 3, 1e-12)
    with figure_style():
        figure = Figure(figsize=PANEL)
        ax = figure.add_subplot()
        places = np.arange(len(order))
        for index, (name, series) in enumerate(values.items()):
            heights = np.maximum(series[order], floor)
            ax.vlines(places + 0.16 * index, floor, heights, color=COLOURS[index], linewidth=2)
            ax.plot(places + 0.16 * index, heights, "os"[index % 2], color=COLOURS[index], label=name)
        if threshold is not None:
            ax.axhline(threshold, color="0.35", linestyle=":", linewidth=1.4, label=threshold_label)
        ax.set(yscale="log", xlabel="latent dimension", ylabel=axis, ylim=(floor, float(positive.max()) * 3))
        if len(order) <= _NUMBERED:
            size = 12 if len(order) <= 20 else 8
            ax.set_xticks(places, [str(dimension + 1) for dimension in order], fontsize=size)
        else:
            ax.set_xlabel("latent dimensions, sorted")
        ax.tick_params(axis="x", which="minor", bottom=False, top=False)
        legend_below(figure, ax)
        header(ax)
        return figure


def correlation_figure(correlation: Floats, *, title: str = "") -> Figure:
    """Returns a figure of a correlation matrix (latent, latent), from -1 to 1; NaN are grey."""
    size = len(correlation)
    with figure_style():
        figure = Figure(figsize=(PANEL[0], 6.2))
        ax = figure.add_subplot()
        ax.set_facecolor("0.85")
        extent = (0.5, size + 0.5, size + 0.5, 0.5)
        image = ax.imshow(correlation, cmap="RdBu_r", vmin=-1, vmax=1, extent=extent)
        if size <= 10:
            for (row, column), value in np.ndenumerate(correlation):
                if np.isfinite(value):
                    shade = "w" if abs(value) > 0.65 else "0.15"
                    ax.text(column + 1, row + 1, f"{value:.2f}", ha="center", va="center", size=11, color=shade)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True, nbins=10))
        ax.tick_params(which="minor", length=0)
        ax.set(xlabel="latent dimension", ylabel="latent dimension")
        figure.colorbar(image, ax=ax, label="correlation", shrink=0.9)
        header(ax, title)
        return figure


def points_figure(
    points: Floats,
    groups: Mapping[str, NDArray[np.bool_]],
    *,
    axes: tuple[str, str],
    colours: Mapping[str, str],
    labels: Mapping[str, str] | None = None,
    order: Sequence[int] | NDArray[np.int64] | None = None,
    title: str = "",
) -> Figure:
    """Returns a figure of points in a plane, coloured by group.

    Args:
        points: (num_points, 2).
        groups: Which points are of a group, by its name; points of no group are pale grey.
        axes: Labels of the axes.
        colours: Colour of each group.
        labels: What the legend calls a group, if not by its name.
        order: In which order points are drawn, so that no group hides another.
        title: Text above the axes, on the right.
    """
    order = np.arange(len(points)) if order is None else np.asarray(order)
    shade = np.full(len(points), "", dtype=object)
    for name, rows in groups.items():
        shade[rows] = colours[name]
    shown = order[shade[order] != ""]
    with figure_style():
        figure = Figure(figsize=(PANEL[0], 6.2))
        ax = figure.add_subplot()
        style: dict[str, Any] = {"s": 14, "alpha": 0.7, "linewidths": 0}
        ax.scatter(points[:, 0], points[:, 1], color="0.88", rasterized=True, **style)
        ax.scatter(points[shown, 0], points[shown, 1], c=list(shade[shown]), rasterized=True, **style)
        for name, rows in groups.items():
            label = f"{(labels or {}).get(name, name)} ({int(rows.sum())})"
            ax.scatter([], [], s=60, color=colours[name], label=label)
        ax.set(xlabel=axes[0], ylabel=axes[1])
        legend_below(figure, ax)
        header(ax, title)
        return figure

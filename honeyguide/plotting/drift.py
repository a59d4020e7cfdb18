"""Figures of how groups of events differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from honeyguide.plotting.style import PANEL, colour, figure_style, header, legend_below

Floats = NDArray[np.float64]


def distance_figure(
    distances: Floats, found: NDArray[np.bool_], *, rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Returns a figure of Kolmogorov-Smirnov distances as shades, with their values; significant ones are framed.

    Args:
        distances: From 0 to 1, (num_rows, num_columns); NaN are blank.
        found: Which are significant, of the same shape.
        rows: Names of the features.
        columns: Names of the comparisons.
    """
    with figure_style():
        figure = Figure(figsize=(PANEL[0], 2.2 + 0.38 * len(rows)))
        ax = figure.add_subplot()
        image = ax.imshow(distances, cmap="Blues", vmin=0, vmax=max(0.2, float(np.nanmax(distances))), aspect="auto")
        for (row, column), value in np.ndenumerate(distances):
            if np.isfinite(value):
                dark = value > 0.6 * image.get_clim()[1]
                weight = "bold" if found[row, column] else "normal"
                text = f"{value:.2f}{'*' if found[row, column] else ''}"
                ax.text(
                    column, row, text, ha="center", va="center", size=11, weight=weight, color="w" if dark else "0.15"
                )
        ax.set_xticks(range(len(columns)), columns, rotation=25, ha="right", fontsize=11)
        ax.set_yticks(range(len(rows)), rows, fontsize=11)
        ax.tick_params(which="both", length=0)
        figure.colorbar(image, ax=ax, label="KS distance", shrink=0.9)
        return figure


def classifier_figure(
    areas: Mapping[str, tuple[float, float]], *, kinds: Mapping[str, str], confidence: float = 2.0
) -> Figure:
    """Returns a figure of the AUC of classifiers between two groups, with what is expected of equal groups.

    Args:
        areas: AUC and its standard deviation under equality, by the comparison's name.
        kinds: Kind of each comparison by its name; each kind has a colour.
        confidence: Half width of the grey bars, in standard deviations.
    """
    with figure_style():
        figure = Figure(figsize=(PANEL[0], 2.2 + 0.4 * len(areas)))
        ax = figure.add_subplot()
        seen: list[str] = []
        for row, (name, (area, error)) in enumerate(areas.items()):
            kind = kinds[name]
            if kind not in seen:
                seen.append(kind)
            width = 2 * confidence * error
            ax.barh(
                row,
                width,
                left=0.5 - width / 2,
                height=0.55,
                color="0.82",
                label=rf"if the groups were the same (±{confidence:g}$\sigma$)" if row == 0 else None,
            )
            first = kinds[name] not in [kinds[other] for other in list(areas)[:row]]
            place = seen.index(kind)
            ax.plot(area, row, "os^"[place % 3], label=kind if first else None, color=colour(place), markersize=9)
        ax.axvline(0.5, color="0.35", linestyle=":", linewidth=1.4)
        ax.set_yticks(range(len(areas)), list(areas), fontsize=12)
        ax.tick_params(axis="y", which="both", length=0)
        ax.invert_yaxis()
        ax.set_xlabel("AUC of a classifier between the two groups")
        legend_below(figure, ax)
        header(ax)
        return figure


def histogram_figure(
    groups: Mapping[str, Floats],
    *,
    axis: str,
    colours: Mapping[str, str],
    dashed: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Returns a figure of the distributions of one number in several groups, each of unit area.

    Args:
        groups: Values by the group's name; those that are not finite are left out.
        axis: Label of the horizontal axis, with the unit.
        colours: Colour of each group.
        dashed: Groups that are drawn as dashed lines.
        labels: What the legend calls a group, if not by its name.
        title: Text above the axes, on the right.
    """
    finite = {name: values[np.isfinite(values)] for name, values in groups.items()}
    finite = {name: values for name, values in finite.items() if len(values)}
    everything = np.concatenate(list(finite.values()))
    low, high = np.quantile(everything, [0.001, 0.999])
    if not high > low:
        low, high = low - 0.5, low + 0.5
    edges = np.linspace(low, high, 41)
    with figure_style():
        figure = Figure(figsize=PANEL)
        ax = figure.add_subplot()
        for name, values in finite.items():
            counts, _ = np.histogram(np.clip(values, low, high), edges)
            ax.stairs(
                counts / len(values) / np.diff(edges),
                edges,
                label=(labels or {}).get(name, name),
                color=colours[name],
                linestyle="--" if name in dashed else "-",
                linewidth=2,
            )
        ax.set(xlabel=axis, ylabel="fraction of events per unit", xlim=(low, high))
        ax.set_ylim(bottom=0)
        legend_below(figure, ax)
        header(ax, title)
        return figure

"""Figures of taggers: confusion matrix, and efficiencies of working points against pt and eta."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from honeyguide.evaluation.confusion import ConfusionMatrix
from honeyguide.evaluation.efficiencies import Floats
from honeyguide.evaluation.tagging_points import TaggingPoints
from honeyguide.plotting.style import colour, figure_style, header, legend_below, plain_log

MARKERS = "os^vDPX*"


def confusion_figure(matrix: ConfusionMatrix, *, title: str = "") -> Figure:
    """Returns the confusion matrix in percent of the jets of each truth, with half the width of the intervals.

    Rows of truths with too few jets are grey and have no numbers.
    """
    value = matrix.fractions.value.T
    half = (matrix.fractions.high.T - matrix.fractions.low.T) / 2
    with figure_style():
        figure = Figure(figsize=(2.5 + 1.3 * len(matrix.classes), 2.5 + 0.9 * len(matrix.truths)))
        axes = figure.subplots()
        axes.set_facecolor("0.85")
        image = axes.imshow(100 * value, vmin=0, vmax=100, cmap="Blues", aspect="auto")
        figure.colorbar(image, ax=axes, label="jets of this truth [%]")
        for row, column in np.argwhere(~np.isnan(value)):
            text = f"{100 * value[row, column]:.1f}\n± {100 * half[row, column]:.1f}"
            dark = value[row, column] > 0.55
            axes.text(column, row, text, ha="center", va="center", fontsize=12, color="white" if dark else "black")
        axes.set_xticks(range(len(matrix.classes)), matrix.classes)
        axes.set_yticks(range(len(matrix.truths)), matrix.truths)
        axes.tick_params(which="both", length=0)
        axes.minorticks_off()
        axes.set(xlabel="most probable class", ylabel="truth")
        header(axes, title)
        return figure


def efficiency_figure(result: TaggingPoints, index: int, *, against: Literal["pt", "eta"], title: str = "") -> Figure:
    """Returns the efficiency of every truth at one working point against pt or eta.

    Error bars are the intervals; points of different truths stand beside each other in a bin. An arrow down from the
    upper end stands where no jet passes, nothing where there are too few jets.

    Args:
        result: The working points.
        index: Place of the working point among them.
        against: Horizontal axis.
        title: Text above the axes, before the names of the discriminators and of the working point.
    """
    edges = np.asarray(getattr(result.bins, against))
    table = result.by_pt if against == "pt" else result.by_eta
    shown = [code for code in range(len(result.truths)) if not np.isnan(table.value[index, code]).all()]
    with figure_style():
        figure = Figure(figsize=(8.0, 6.5))
        axes = figure.subplots()
        for place, code in enumerate(shown):
            columns = [array[index, code].ravel() for array in (table.value, table.low, table.high)]
            _draw(axes, edges, columns, (place, len(shown)), result.truths[code])
        axes.set_xlim(edges[0], edges[-1])
        plain_log(axes, x=against == "pt" and edges[0] > 0, y=True)
        eta = r"jet $|\eta|$" if result.bins.absolute_eta else r"jet $\eta$"
        axes.set_xlabel(r"jet $p_\mathrm{T}$ [GeV]" if against == "pt" else eta)
        axes.set_ylabel("efficiency")
        header(axes, ", ".join(filter(None, (title, *result.discriminators, result.points[index].name))))
        legend_below(figure, axes)
        return figure


def _draw(axes: Axes, edges: Floats, columns: Sequence[Floats], places: tuple[int, int], label: str) -> None:
    value, low, high = columns
    place, number = places
    shown, none = value > 0, value == 0  # neither is true of NaN
    x = edges[:-1] + np.diff(edges) * (0.5 + 0.5 * ((place + 0.5) / number - 0.5))  # beside each other, not before
    sides = np.stack([x - edges[:-1], edges[1:] - x])
    if none.any():
        style: dict[str, Any] = {"fmt": "none", "color": colour(place), "elinewidth": 1.2}
        axes.errorbar(x[none], high[none], xerr=sides[:, none], yerr=high[none] / 3, uplims=True, **style)
    if not shown.any():
        return
    errors = np.stack([value - low, high - value])
    axes.errorbar(
        x[shown],
        value[shown],
        yerr=errors[:, shown],
        xerr=sides[:, shown],
        fmt=MARKERS[place % len(MARKERS)],
        color=colour(place),
        markersize=5,
        elinewidth=1.2,
        label=label,
    )

"""Figures of ROC curves and of the significance improvement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from honeyguide.plotting.style import GREY, colour, dashes, figure_style, header, legend

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RocLine:
    """One line of a figure.

    Attributes:
        label: Text of the legend.
        background_efficiency: Ascending, above 0, (num_points,).
        signal_efficiency: At these.
        low: Lower edge of the band.
        high: Upper edge.
        lowest: Background efficiency from which on the line is statistically defined.
        highlight: Drawn in black: the sum of the others.
    """

    label: str
    background_efficiency: Floats
    signal_efficiency: Floats
    low: Floats
    high: Floats
    lowest: float
    highlight: bool = False


def roc_figure(
    lines: Sequence[RocLine], *, axes: Literal["rejection", "efficiency"], title: str = "", needed: float = 10
) -> Figure:
    """Returns a figure of ROC curves with their uncertainty bands.

    ``rejection``: 1 / background efficiency (logarithmic) against signal efficiency; ``efficiency``: signal efficiency
    against background efficiency (logarithmic). The region where too few background events pass is grey, the dotted
    line is a score that knows nothing.
    """
    with figure_style():
        figure = Figure()
        ax = figure.add_subplot()
        lowest = min(line.lowest for line in lines)
        floor = lowest / max(needed, 2) / 1.5
        diagonal = np.geomspace(floor, 1, 200)
        for index, line in enumerate(lines):
            b, style = line.background_efficiency, _style(index, line)
            if axes == "rejection":
                ax.plot(line.signal_efficiency, 1 / b, label=line.label, **style)
                ax.fill_betweenx(1 / b, line.low, line.high, color=style["color"], alpha=0.18, linewidth=0)
            else:
                ax.plot(b, line.signal_efficiency, label=line.label, **style)
                ax.fill_between(b, line.low, line.high, color=style["color"], alpha=0.18, linewidth=0)
        if axes == "rejection":
            ax.plot(diagonal, 1 / diagonal, ":", color="0.4", linewidth=1.2, label="random")
            _frame_rejection(ax, lowest, floor, needed)
        else:
            ax.plot(diagonal, diagonal, ":", color="0.4", linewidth=1.2, label="random")
            _frame_efficiency(ax, lowest, floor, needed)
        header(ax, title)
        return figure


def significance_figure(lines: Sequence[RocLine], *, title: str = "", needed: float = 10) -> Figure:
    """Returns a figure of signal efficiency / sqrt(background efficiency) against the background efficiency.

    Lines are drawn where they are statistically defined alone, a marker is at the maximum of each.
    """
    with figure_style():
        figure = Figure()
        ax = figure.add_subplot()
        lowest = min(line.lowest for line in lines)
        top, room = 1.0, 0.075 * (len(lines) + 2) if len(lines) < 6 else 0  # for the legend, where it is inside
        for index, line in enumerate(lines):
            ok = line.background_efficiency >= line.lowest * (1 - 1e-9)
            if not ok.any():
                continue
            b, style = line.background_efficiency[ok], _style(index, line)
            root = np.sqrt(b)
            value = line.signal_efficiency[ok] / root
            ax.plot(b, value, label=line.label, **style)
            ax.fill_between(b, line.low[ok] / root, line.high[ok] / root, color=style["color"], alpha=0.18, linewidth=0)
            best = int(np.argmax(value))
            ax.plot(b[best], value[best], "o", color=style["color"], markersize=6)
            top = max(top, float(np.max(line.high[ok] / root)))
        floor = lowest / 3
        diagonal = np.geomspace(floor, 1, 200)
        ax.plot(diagonal, np.sqrt(diagonal), ":", color="0.4", linewidth=1.2, label="random")
        _shade(ax, floor, lowest, vertical=True, needed=needed)
        ax.set(xscale="log", xlim=(floor, 1), ylim=(0, top * (1.1 + room)))
        ax.set_xlabel(r"background efficiency $\varepsilon_\mathrm{B}$")
        ax.set_ylabel(r"significance improvement $\varepsilon_\mathrm{S}$ / √$\varepsilon_\mathrm{B}$")
        legend(ax, location="upper right")
        header(ax, title)
        return figure


def _style(index: int, line: RocLine) -> dict[str, Any]:
    if line.highlight:
        return {"color": "black", "linestyle": "-", "linewidth": 2.2}
    return {"color": colour(index), "linestyle": dashes(index)}


def _frame_rejection(ax: Axes, lowest: float, floor: float, needed: float) -> None:
    ax.set(yscale="log", xlim=(0, 1), ylim=(1, 1 / floor))
    _shade(ax, lowest, floor, vertical=False, needed=needed)
    ax.set_xlabel(r"signal efficiency $\varepsilon_\mathrm{S}$")
    ax.set_ylabel(r"background rejection $1/\varepsilon_\mathrm{B}$")
    legend(ax, location="upper right")


def _frame_efficiency(ax: Axes, lowest: float, floor: float, needed: float) -> None:
    ax.set(xscale="log", xlim=(floor, 1), ylim=(0, 1))
    _shade(ax, floor, lowest, vertical=True, needed=needed)
    ax.set_xlabel(r"background efficiency $\varepsilon_\mathrm{B}$")
    ax.set_ylabel(r"signal efficiency $\varepsilon_\mathrm{S}$")
    legend(ax, location="upper left")


def _shade(ax: Axes, start: float, end: float, *, vertical: bool, needed: float) -> None:
    """Greys the region where fewer than ``needed`` background events pass."""
    label = f"fewer than {needed:g} background events"
    if vertical:
        ax.axvspan(start, end, facecolor=GREY, edgecolor="0.7", zorder=0, linewidth=0.5, label=label)
    else:
        ax.axhspan(1 / start, 1 / end, facecolor=GREY, edgecolor="0.7", zorder=0, linewidth=0.5, label=label)

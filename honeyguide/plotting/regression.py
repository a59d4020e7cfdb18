"""Figures of predicted targets: bias, resolution and coverage against pt, and the residual."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from honeyguide.plotting.style import colour, figure_style, header, legend_below, plain_log, save, slug
from honeyguide.plotting.tagging import MARKERS

if TYPE_CHECKING:
    from honeyguide.evaluation.regression import Band, RegressionResult


def draw_regression(result: RegressionResult, folder: Path, *, ratio: bool, suffix: str, title: str) -> None:
    """Writes the figures of one target to ``folder``.

    ``bias_<target>_<suffix>``, ``resolution_...`` and, for each quantile, ``coverage_<percent>_...`` against pt, and
    ``residual_...``, the distributions.

    Args:
        result: What to draw.
        folder: Where to.
        ratio: The residual is that of a ratio, without a unit.
        suffix: Last part of the names of the files.
        title: Text above the axes.
    """
    unit = "" if ratio or not result.unit else f" [{result.unit}]"
    what = f"{result.target}: predicted / true" if ratio else f"{result.target}: predicted - true"
    figures = {
        "bias": against_pt(result, result.bias, f"median of {what}{' - 1' if ratio else ''}{unit}", title, line=0),
        "resolution": against_pt(result, result.resolution, f"half of the central 68 % of {what}{unit}", title),
        "residual": residual_figure(result, f"{what}{' - 1' if ratio else ''}{unit}", title),
    }
    for level, band in result.coverage.items():
        label = f"share of rows with true {result.target} below the {100 * level:g} % quantile"
        figures[f"coverage_{100 * level:g}"] = against_pt(result, band, label, title, line=level)
    for name, figure in figures.items():
        save(figure, folder, slug(name, result.target, suffix))


def against_pt(result: RegressionResult, band: Band, label: str, title: str, *, line: float | None = None) -> Figure:
    """Returns a band against pt with its intervals, a colour for each truth; ``line`` is what would be perfect."""
    with figure_style():
        figure = Figure(figsize=(8.0, 6.5))
        axes = figure.subplots()
        if line is not None:
            axes.axhline(line, color="0.5", linewidth=1, linestyle=":")
        for number, truth in enumerate(result.truths):
            _points(axes, result, band, number, truth)
        axes.set_xlim(result.pt[0], result.pt[-1])
        plain_log(axes, x=result.pt[0] > 0)
        axes.set_xlabel(r"jet $p_\mathrm{T}$ [GeV]")
        axes.set_ylabel(label, fontsize=13)
        header(axes, title)
        legend_below(figure, axes)
        return figure


def _points(axes: Axes, result: RegressionResult, band: Band, number: int, truth: str) -> None:
    value, low, high = (part[number, 1:] for part in (band.value, band.low, band.high))
    shown = ~np.isnan(value)
    if not shown.any():
        return
    share = (number + 1) / (len(result.truths) + 1)
    x = (result.pt[:-1] + share * np.diff(result.pt))[shown]  # beside each other, not before
    sides = np.stack([x - result.pt[:-1][shown], result.pt[1:][shown] - x])
    errors = np.clip(np.stack([value - low, high - value])[:, shown], 0, None)
    axes.errorbar(
        x,
        value[shown],
        yerr=errors,
        xerr=sides,
        fmt=MARKERS[number % len(MARKERS)],
        color="black" if number == 0 else colour(number - 1),
        markersize=5,
        elinewidth=1.2,
        label=truth,
    )


def residual_figure(result: RegressionResult, label: str, title: str) -> Figure:
    """Returns the distribution of the residual of each truth; what is outside of the axis is in no bin."""
    with figure_style():
        figure = Figure(figsize=(8.0, 6.0))
        axes = figure.subplots()
        for number, truth in enumerate(result.truths):
            shade = "black" if number == 0 else colour(number - 1)
            axes.stairs(result.density[number], result.edges, color=shade, label=truth, linewidth=1.6)
        axes.axvline(0, color="0.5", linewidth=1, linestyle=":")
        axes.set(xlabel=label, ylabel="share of rows / bin", xlim=(result.edges[0], result.edges[-1]))
        axes.set_ylim(bottom=0)
        header(axes, title)
        legend_below(figure, axes)
        return figure

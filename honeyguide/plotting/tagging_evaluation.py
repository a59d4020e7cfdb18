"""All figures of an evaluation of taggers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from honeyguide.evaluation.discriminators import sides
from honeyguide.evaluation.result import Entry
from honeyguide.plotting.evaluation import roc_line
from honeyguide.plotting.roc import RocLine
from honeyguide.plotting.style import GREY, colour, dashes, figure_style, header, legend_below, save, slug
from honeyguide.plotting.tagging import confusion_figure

if TYPE_CHECKING:
    from honeyguide.evaluation.distributions import Distributions
    from honeyguide.evaluation.tagging_curves import TaggingCurve
    from honeyguide.evaluation.tagging_result import TaggerEvaluation
    from honeyguide.evaluation.tagging_settings import TaggingSettings, TaggingWindow

Floats = NDArray[np.float64]
LOWEST_MISTAG = 1e-4


def draw_taggers(evaluation: TaggerEvaluation, folder: Path) -> None:
    """Writes all figures of an evaluation of taggers to ``folder``.

    ``roc_<discriminator>_<process>_<window>`` with all trainings; per training ``distribution_<training>_<name>`` of
    each class probability and discriminator, and ``confusion_<training>``, both of the first seed.
    """
    places: dict[tuple[str, str, str], dict[str, list[TaggingCurve]]] = {}
    for curve in evaluation.curves:
        if curve.result is not None:
            places.setdefault(curve.place, {}).setdefault(curve.training, []).append(curve)
    for place, trainings in places.items():
        figure = _roc_of(trainings, evaluation.settings)
        save(figure, folder, f"roc_{slug(*place)}")
    for (training, name), shown in evaluation.distributions.items():
        save(distribution_figure(shown, name=name, title=training), folder, f"distribution_{slug(training, name)}")
    drawn = set()
    for (training, _), matrix in evaluation.confusion.items():
        if training not in drawn:
            save(confusion_figure(matrix, title=training), folder, f"confusion_{slug(training)}")
        drawn.add(training)


def mistag_figure(lines: Sequence[RocLine], *, labels: tuple[str, str], title: str = "", needed: float = 10) -> Figure:
    """Returns a figure of mis-identification (logarithmic) against signal efficiency, with uncertainty bands.

    The axis ends at 1e-4, or where less than one jet would pass. Where too few background jets pass it is grey; the
    dotted line is a tagger that knows nothing.

    Args:
        lines: One per training.
        labels: Names of signal and background.
        title: Text above the axes, on the right.
        needed: Jets that a defined point needs.
    """
    lowest = min(line.lowest for line in lines)
    floor = min(max(LOWEST_MISTAG, lowest / max(needed, 2) / 1.5), 0.5)
    with figure_style():
        figure = Figure(figsize=(8.0, 6.5))
        axes = figure.add_subplot()
        for index, line in enumerate(lines):
            style: dict[str, Any] = {"color": colour(index), "linestyle": dashes(index)}
            axes.plot(line.signal_efficiency, line.background_efficiency, label=line.label, **style)
            axes.fill_betweenx(
                line.background_efficiency, line.low, line.high, color=style["color"], alpha=0.18, linewidth=0
            )
        diagonal = np.geomspace(floor, 1, 200)
        axes.plot(diagonal, diagonal, ":", color="0.4", linewidth=1.2, label="random")
        if lowest > floor:
            text = f"fewer than {needed:g} background jets"
            axes.axhspan(floor, lowest, facecolor=GREY, edgecolor="0.7", zorder=0, linewidth=0.5, label=text)
        axes.set(yscale="log", xlim=(0, 1), ylim=(floor, 1))
        axes.grid(which="major", color="0.9", linewidth=0.8)
        axes.set_xlabel(f"efficiency: {labels[0]}")
        axes.set_ylabel(f"mis-identification: {labels[1]}")
        header(axes, title)
        legend_below(figure, axes)
        return figure


def distribution_figure(shown: Distributions, *, name: str, title: str = "") -> Figure:
    """Returns a figure of a class probability or discriminator: a line per truth, each of unit sum, with error bars.

    What is outside of the axis is in the first and in the last bin.
    """
    edges = shown.edges
    centres = np.sqrt(edges[1:] * edges[:-1]) if shown.log else (edges[1:] + edges[:-1]) / 2
    with figure_style():
        figure = Figure(figsize=(8.0, 6.5))
        axes = figure.add_subplot()
        for index, (truth, values) in enumerate(shown.fractions.items()):
            axes.stairs(values, edges, label=truth, color=colour(index), linestyle=dashes(index), linewidth=1.8)
            seen = values > 0
            bars = shown.errors[truth][seen]
            axes.errorbar(centres[seen], values[seen], bars, fmt="none", ecolor=colour(index), elinewidth=1)
        heights = np.concatenate(list(shown.fractions.values()))
        heights = heights[heights > 0]
        axes.set(yscale="log", xlim=(edges[0], edges[-1]), ylim=(heights.min() / 2, heights.max() * 1.5))
        if shown.log:
            axes.set_xscale("log")
        axes.set_xlabel(score_label(name))
        axes.set_ylabel("fraction of jets / bin")
        header(axes, title)
        legend_below(figure, axes)
        return figure


def score_label(name: str) -> str:
    """Returns the label of an axis that shows a class probability (``prob_b``) or a discriminator."""
    return f"P({name.removeprefix('prob_')})" if name.startswith("prob_") else name


def window_text(window: TaggingWindow | None) -> str:
    """Returns the limits of a window in words; empty where there are none."""
    if window is None:
        return ""
    parts = []
    for symbol, ends, unit in ((r"$p_\mathrm{T}$", window.pt, " GeV"), (r"$|\eta|$", window.eta, "")):
        if ends is not None:
            low = f"{ends[0]:g} ≤ " if ends[0] else ""
            parts.append(f"{low}{symbol} < {ends[1]:g}{unit}")
    return ", ".join(parts)


def _roc_of(trainings: Mapping[str, list[TaggingCurve]], settings: TaggingSettings) -> Figure:
    """Returns the ROC curves of one discriminator, process and window, of all trainings."""
    lines = [roc_line(_entries(seeds), label, highlight=False) for label, seeds in trainings.items()]
    (discriminator, process, window) = next(iter(trainings.values()))[0].place
    title = ", ".join(filter(None, (discriminator, process, window_text(settings.windows.get(window)))))
    return mistag_figure(lines, labels=sides(discriminator, settings), title=title, needed=settings.min_jets)


def _entries(seeds: Sequence[TaggingCurve]) -> list[Entry]:
    return [
        Entry(curve.training, curve.seed, curve.discriminator, curve.process, curve.result)
        for curve in seeds
        if curve.result is not None
    ]

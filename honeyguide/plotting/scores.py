"""Figures of score distributions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from honeyguide.plotting.style import PANEL, colour, dashes, figure_style, header, legend, signal_label

Floats = NDArray[np.float64]


def score_figure(
    edges: Floats,
    fractions: Mapping[str, Floats],
    errors: Mapping[str, Floats],
    *,
    score: str,
    log: bool = False,
    title: str = "",
    colours: Mapping[str, str] | None = None,
) -> Figure:
    """Returns a figure of the distributions of one score, each of unit sum, with statistical error bars.

    Args:
        edges: Bin edges (num_bins + 1,).
        fractions: Per group (num_bins,); names that begin with ``background`` are filled lines, others dashed.
        errors: Standard deviations of the fractions; drawn for the backgrounds alone where there are many groups.
        score: Name of the score.
        log: Logarithmic horizontal axis.
        title: Text above the axes, on the right.
        colours: Colour of each group; those that are not given have the style's, in their order.
    """
    centres = np.sqrt(edges[1:] * edges[:-1]) if log else (edges[1:] + edges[:-1]) / 2
    with figure_style():
        figure = Figure()
        ax = figure.add_subplot()
        crowded = len(fractions) > 8  # the bars of many signals would hide one another
        width = 1.0 if crowded else 1.8
        for index, (name, values) in enumerate(fractions.items()):
            background = name.startswith("background")
            style: dict[str, Any] = {
                "color": (colours or {}).get(name, colour(index)),
                "linestyle": "-" if background else "--" if index < 10 else dashes(index),
            }
            ax.stairs(values, edges, label=signal_label(name), linewidth=2.4 if background else width, **style)
            if crowded and not background:
                continue
            seen = values > 0
            ax.errorbar(
                centres[seen], values[seen], errors[name][seen], fmt="none", ecolor=style["color"], elinewidth=1
            )
        heights = np.concatenate(list(fractions.values()))
        seen_heights = heights[heights > 0]
        low, high = float(seen_heights.min()), float(seen_heights.max())
        room = (high / low) ** (0.1 + 0.075 * len(fractions)) if len(fractions) < 7 else 2
        ax.set(yscale="log", xlim=(edges[0], edges[-1]), ylim=(low / 2, high * max(room, 2)))
        if log:
            ax.set_xscale("log")
        ax.set_xlabel(f"anomaly score: {score}")
        ax.set_ylabel("fraction of events / bin")
        legend(ax, location="upper right", outside_from=7)
        header(ax, title)
        return figure


def score_grid(
    edges: Floats,
    fractions: Mapping[str, Floats],
    *,
    reference: str,
    score: str,
    log: bool,
    colours: Mapping[str, str],
) -> Figure:
    """Returns a panel for each distribution of one score, each before the reference in grey.

    Args:
        edges: Bin edges (num_bins + 1,).
        fractions: Per group (num_bins,).
        reference: The group that stands in all panels.
        score: Name of the score.
        log: Logarithmic horizontal axis.
        colours: Colour of each group; those that are not given are black.
    """
    names = [name for name in fractions if name != reference]
    rows = -(-len(names) // 2)
    heights = np.concatenate(list(fractions.values()))
    low, high = float(heights[heights > 0].min()), float(heights.max())
    with figure_style():
        figure = Figure(figsize=(PANEL[0], 1.2 + 1.9 * rows))
        panels = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False).ravel()
        for ax, name in zip(panels, names, strict=False):
            ax.stairs(fractions[reference], edges, fill=True, color="0.8")
            ax.stairs(fractions[name], edges, color=colours.get(name, "black"), linewidth=1.8)
            ax.set(yscale="log", xlim=(edges[0], edges[-1]), ylim=(low / 2, 2 * high))
            if log:
                ax.set_xscale("log")
            ax.set_title(signal_label(name), fontsize=13, loc="left", pad=3)
        for ax in panels[len(names) :]:
            ax.set_axis_off()
        figure.supxlabel(f"anomaly score: {score}", fontsize=17)
        figure.supylabel("fraction of events / bin", fontsize=17)
        return figure

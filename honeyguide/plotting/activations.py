"""Figures of activation maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from honeyguide.plotting.style import figure_style, signal_label

MAP = "RdBu_r"
SATURATED = 0.95  # the scale of a layer: one unit that is far above all others would leave the rest white


@dataclass(frozen=True)
class Panel:
    """One layer.

    Attributes:
        name: Of the layer.
        mean: Mean output, (num_groups, num_units).
        dead: Units that give the same for every event, (num_units,).
    """

    name: str
    mean: NDArray[np.float64]
    dead: NDArray[np.bool_]


def activation_figure(panels: Sequence[Panel], groups: Sequence[str]) -> Figure:
    """Returns an image (group, unit) per layer, one below the other; crosses below mark dead units."""
    height = 0.75 + 0.21 * len(groups)
    with figure_style():
        total = 1.1 + height * len(panels)
        figure = Figure(figsize=(6.8, total))
        axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for ax, panel in zip(axes, panels, strict=True):
            _draw(ax, panel, groups)
        axes[-1].set_xlabel("unit")
        scale = ScalarMappable(Normalize(-1, 1), MAP)
        bar = figure.colorbar(
            scale, ax=list(axes), location="top", aspect=40, fraction=0.05, pad=0.35 / total, ticks=[-1, 0, 1]
        )
        bar.set_label("mean output / scale of the layer", fontsize=12)
        bar.ax.tick_params(labelsize=11)
        return figure


def _draw(ax: Axes, panel: Panel, groups: Sequence[str]) -> None:
    scale = float(np.quantile(np.abs(panel.mean), SATURATED)) or float(np.abs(panel.mean).max()) or 1.0
    ax.imshow(panel.mean / scale, vmin=-1, vmax=1, cmap=MAP, aspect="auto", interpolation="nearest")
    ax.set_yticks(range(len(groups)), [signal_label(name) for name in groups], fontsize=10)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.minorticks_off()
    ax.tick_params(length=0, labelsize=10)
    dead = np.flatnonzero(panel.dead)
    title = f"{panel.name}: {len(panel.dead)} units, scale {scale:.3g}"
    if len(dead):
        title += f", {len(dead)} dead"
        ax.plot(dead, np.full(len(dead), len(groups) - 0.5), "x", color="black", markersize=4, clip_on=False)
    ax.set_title(title, fontsize=12, loc="left", pad=3)

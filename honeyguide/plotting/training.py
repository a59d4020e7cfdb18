"""Figures of how a training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from honeyguide.plotting.style import PANEL, colour, figure_style, header, legend_below, plain_log

Values = Sequence[float | None]


def epochs_figure(
    lines: Mapping[str, Values], *, axis: str, best_epoch: int, log: bool | None = None, title: str = ""
) -> Figure:
    """Returns a figure of some numbers against the epoch, with a line at the best one.

    Args:
        lines: One number per epoch by the line's name; None and NaN are gaps. Lines whose name begins with
            ``validation`` are dashed.
        axis: Label of the vertical axis, with the unit.
        best_epoch: The epoch of the best weights, from 0.
        log: Logarithmic vertical axis; where not given, if all numbers are positive and span more than a factor 20.
        title: Text above the axes, on the right.
    """
    arrays = {name: np.array([np.nan if v is None else v for v in values], float) for name, values in lines.items()}
    with figure_style():
        figure = Figure(figsize=PANEL)
        ax = figure.add_subplot()
        for index, (name, values) in enumerate(arrays.items()):
            dashed = name.startswith("validation")
            marker = "o" if len(values) < 3 else None
            ax.plot(
                np.arange(1, len(values) + 1),
                values,
                label=name,
                color=colour(index),
                linestyle="--" if dashed else "-",
                marker=marker,
            )
        ax.axvline(best_epoch + 1, color="0.35", linestyle=":", linewidth=1.4, label=f"best epoch ({best_epoch + 1})")
        if _wide(arrays) if log is None else log:
            plain_log(ax, y=True)
        ax.set(xlabel="epoch", ylabel=axis, xlim=(0, max(map(len, arrays.values())) + 1))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        legend_below(figure, ax)
        header(ax, title)
        return figure


def _wide(arrays: Mapping[str, NDArray[np.float64]]) -> bool:
    """Returns whether numbers are positive and span more than a factor 20."""
    values = np.concatenate(list(arrays.values())) if arrays else np.zeros(0)
    values = values[np.isfinite(values)]
    return bool(len(values) and values.min() > 0 and values.max() > 20 * values.min())

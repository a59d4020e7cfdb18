"""Figures of what tasks take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from honeyguide.plotting.style import colour, figure_style, header


def time_figure(stages: Mapping[str, tuple[float, float]]) -> Figure:
    """Returns bars of wall-clock and CPU seconds of each task, in the unit that fits the longest."""
    return _bars(stages, ("wall clock", "CPU"), "time", (("h", 3600), ("min", 60), ("s", 1)))


def memory_figure(stages: Mapping[str, tuple[float, float | None]]) -> Figure:
    """Returns bars of the resident memory, and of the GPU's where one was used, of each task, in bytes."""
    series = 2 if any(gpu is not None for _, gpu in stages.values()) else 1
    rows = {task: memory[:series] for task, memory in stages.items()}
    units = (("GiB", 2**30), ("MiB", 2**20))
    return _bars(rows, ("memory", "GPU memory")[:series], "largest memory", units)


def _bars(
    rows: Mapping[str, Sequence[float | None]], labels: Sequence[str], axis: str, units: Sequence[tuple[str, int]]
) -> Figure:
    longest = max(value or 0 for values in rows.values() for value in values)
    unit, size = _unit(longest, units)
    with figure_style():
        figure = Figure(figsize=(7.4, 1.6 + 0.75 * len(rows)))
        ax = figure.add_subplot()
        height = 0.8 / len(labels)
        for index, label in enumerate(labels):
            values = [row[index] for row in rows.values()]
            at = np.arange(len(rows)) + (index - (len(labels) - 1) / 2) * height
            lengths = [(value or 0) / size for value in values]
            ax.barh(at, lengths, 0.9 * height, color=colour(index), label=label)
            for place, length, value in zip(at, lengths, values, strict=True):
                if value is not None:
                    own, scale = _unit(value, units)
                    ax.text(length, place, f" {value / scale:.3g} {own}", va="center", fontsize=12)
        ax.set_yticks(range(len(rows)), list(rows), fontsize=12)
        ax.minorticks_off()
        ax.tick_params(axis="y", length=0)
        ax.tick_params(axis="x", top=False)
        ax.set(xlim=(0, 1.2 * longest / size or 1), ylim=(len(rows) - 0.5, -0.5), xlabel=f"{axis} [{unit}]")
        if len(labels) > 1:
            figure.legend(loc="outside upper right", ncols=len(labels), frameon=False)
        else:
            header(ax)
        return figure


def _unit(value: float, units: Sequence[tuple[str, int]]) -> tuple[str, int]:
    """Returns the largest unit, of descending ones, that the value is twice as large as; the last in any case."""
    return next((unit for unit in units if value >= 2 * unit[1]), units[-1])

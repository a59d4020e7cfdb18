"""Figures of what tasks take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from honeyguide.plotting.style import colour, figure_style, header


def time_figure(stages: Mapping[str, tuple[float, float]]) -> Figure:
    """Returns bars of wall-clock and CPU seconds of each task, in the unit that fits the longest."""
    longest = max(max(times) for times in stages.values())
    unit, seconds = next((u, s) for u, s in (("h", 3600), ("min", 60), ("s", 1)) if longest >= 2 * s or s == 1)
    rows = {task: [value / seconds for value in times] for task, times in stages.items()}
    return _bars(rows, ("wall clock", "CPU"), f"time [{unit}]")


def memory_figure(stages: Mapping[str, tuple[float, float | None]]) -> Figure:
    """Returns bars of the resident memory, and of the GPU's where one was used, of each task."""
    largest = max(max(value or 0 for value in memory) for memory in stages.values())
    unit, size = ("GiB", 2**30) if largest >= 2 * 2**30 else ("MiB", 2**20)
    gpu = any(memory[1] is not None for memory in stages.values())
    rows = {
        task: [value / size if value is not None else np.nan for value in memory[: 1 + gpu]]
        for task, memory in stages.items()
    }
    return _bars(rows, ("memory", "GPU memory")[: 1 + gpu], f"largest memory [{unit}]")


def _bars(rows: Mapping[str, Sequence[float]], labels: Sequence[str], axis: str) -> Figure:
    with figure_style():
        figure = Figure(figsize=(8.0, 1.6 + 0.75 * len(rows)))
        ax = figure.add_subplot()
        values = np.array(list(rows.values()))
        places = np.arange(len(rows))
        height = 0.8 / len(labels)
        for index, label in enumerate(labels):
            at = places + (index - (len(labels) - 1) / 2) * height
            ax.barh(at, values[:, index], 0.9 * height, color=colour(index), label=label)
            for place, value in zip(at, values[:, index], strict=True):
                if np.isfinite(value):
                    ax.text(value, place, f" {value:.3g}", va="center", fontsize=12)
        ax.set_yticks(places, list(rows), fontsize=12)
        ax.tick_params(axis="y", which="both", length=0)
        ax.minorticks_off()
        ax.set(xlim=(0, 1.15 * np.nanmax(values) or 1), ylim=(len(rows) - 0.5, -0.5), xlabel=axis)
        if len(labels) > 1:
            figure.legend(loc="outside upper right", ncols=len(labels), frameon=False)
        else:
            header(ax)
        return figure

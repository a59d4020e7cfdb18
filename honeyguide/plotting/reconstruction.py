"""Figures of reconstructed against original features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from honeyguide.data.features import Feature
from honeyguide.plotting.style import PANEL, figure_style, header, legend_below, plain_log, signal_label

Floats = NDArray[np.float64]
PAIR_BINS = 50
RESIDUAL_BINS = 40


def pairs_figure(panels: Mapping[str, tuple[Floats, Floats]], feature: Feature, *, log: bool) -> Figure:
    """Returns a map of reconstructed against original values for each panel, all on the same axes.

    Args:
        panels: Name to (original, reconstructed), finite.
        feature: Gives label and unit.
        log: Logarithmic axes, where all originals are above 0.
    """
    original = np.concatenate([before for before, _ in panels.values()])
    low, high = (float(end) for end in np.quantile(original, [0.002, 0.998]))
    log = log and low > 0
    if high <= low:
        low, high = (low / 2, low * 2) if log else (low - 0.5, low + 0.5)
    edges = np.geomspace(low, high, PAIR_BINS + 1) if log else np.linspace(low, high, PAIR_BINS + 1)
    with figure_style():
        figure = Figure(figsize=(3.0 * len(panels) + 1.0, 3.9))
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        counts = [np.histogram2d(a, np.clip(b, low, high), bins=[edges, edges])[0] for a, b in panels.values()]
        norm = LogNorm(1, max(2.0, *(float(count.max()) for count in counts)))
        for ax, name, count in zip(axes, panels, counts, strict=True):
            drawn: Any = np.where(count > 0, count, np.nan).T
            image = ax.pcolormesh(edges, edges, drawn, norm=norm, cmap="viridis", rasterized=True)
            ax.plot([low, high], [low, high], "--", color="#bd1f01", linewidth=1.5)
            ax.set(xlim=(low, high), ylim=(low, high))
            plain_log(ax, x=log, y=log)
            ax.set_title(name, fontsize=14)
            ax.tick_params(labelsize=12)
        figure.colorbar(image, ax=list(axes), label="entries / bin", pad=0.02)
        figure.supxlabel(_label("original", feature), fontsize=15)
        axes[0].set_ylabel(_label("reconstructed", feature), fontsize=15)
        return figure


def residual_figure(
    backgrounds: Mapping[str, Floats], signals: Mapping[str, Floats], feature: Feature, colours: Mapping[str, str]
) -> Figure:
    """Returns the distributions of reconstructed minus original values, each with unit area.

    Args:
        backgrounds: Name of the generator to its finite residuals; where there are any, they set the axis.
        signals: The same of the signals, drawn dashed.
        feature: Gives label and unit.
        colours: Colour of every group; black if not given.
    """
    residuals = {**backgrounds, **signals}
    ends = np.array([np.quantile(values, [0.005, 0.995]) for values in (backgrounds or signals).values()])
    low, high = 1.5 * float(ends[:, 0].min()), 1.5 * float(ends[:, 1].max())
    if high <= low:
        low, high = low - 0.5, low + 0.5
    edges = np.linspace(low, high, RESIDUAL_BINS + 1)
    with figure_style():
        figure = Figure(figsize=PANEL)
        ax = figure.add_subplot()
        for name, values in residuals.items():
            counts = np.histogram(np.clip(values, low, high), edges)[0]
            density = counts / (counts.sum() * np.diff(edges))
            signal = name in signals
            ax.stairs(
                density,
                edges,
                label=signal_label(name),
                color=colours.get(name, "black"),
                linestyle="--" if signal else "-",
                linewidth=1.6 if signal else 2.4,
            )
        ax.axvline(0, color="0.5", linewidth=1, linestyle=":")
        ax.set_xlim(low, high)
        ax.set_ylim(bottom=0)
        ax.set_xlabel(_label("reconstructed − original", feature))  # noqa: RUF001 - a minus sign
        ax.set_ylabel("normalised density")
        legend_below(figure, ax)
        header(ax)
        return figure


def confusion_figure(panels: Mapping[str, tuple[Floats, Floats]], feature: Feature) -> Figure:
    """Returns, for each panel, the share of every original class that comes back as each class.

    Args:
        panels: Name to (original, reconstructed) codes; what is between two classes goes to the nearer one.
        feature: Gives label and names of the classes.
    """
    names = [name.replace("_", " ") for name in feature.categories] or ["0", "1"]
    size = len(names)
    with figure_style():
        figure = Figure(figsize=((4.6 if size > 2 else 3.6) * len(panels) + 1.6, 5.6 if size > 2 else 4.2))
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for ax, (name, (before, after)) in zip(axes, panels.items(), strict=True):
            nearest = np.clip(np.round(after), 0, size - 1)
            counts = np.histogram2d(before, nearest, bins=[np.arange(size + 1) - 0.5] * 2)[0]
            share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
            ax.imshow(share, vmin=0, vmax=1, cmap="Blues", aspect="auto")
            _write_shares(ax, share, counts.sum(1) > 0)
            ax.set_title(name, fontsize=14)
            ax.set_xticks(range(size), names, rotation=90 if size > 2 else 0, fontsize=11)
            ax.set_yticks(range(size), names, fontsize=11)
            ax.minorticks_off()
            ax.tick_params(length=0)
            ax.set_xlabel("reconstructed")
        axes[0].set_ylabel(f"original {feature.label}")
        return figure


def _write_shares(ax: Axes, share: Floats, there: NDArray[np.bool_]) -> None:
    for (row, column), value in np.ndenumerate(share):
        if there[row]:
            text = f"{value:.2f}"
            ax.text(column, row, text, ha="center", va="center", fontsize=10, color="white" if value > 0.6 else "black")


def _label(what: str, feature: Feature) -> str:
    return f"{what} {feature.axis_label}"

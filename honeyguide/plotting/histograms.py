"""Figures of the input features: all samples on one axis, with their ratio to a reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from honeyguide.errors import ConfigError, nearest_name
from honeyguide.plotting.style import colour, dashes, figure_style, header, legend, save, signal_label, slug

if TYPE_CHECKING:
    from honeyguide.evaluation.histogram_rows import Key
    from honeyguide.evaluation.histograms import HistogramSet
    from honeyguide.evaluation.settings import HistogramSettings

Floats = NDArray[np.float64]


def plot_histograms(path: Path, folder: Path, *, settings: HistogramSettings) -> None:
    """Writes one figure (PNG, PDF) per feature to ``folder``.

    Args:
        path: The file ``histograms.h5``.
        folder: Where to write; it exists.
        settings: Weighted or not, normalised or not, scale, reference of the ratio.

    Raises:
        ConfigError: The reference is no sample or truth of the file.
    """
    from honeyguide.evaluation.histograms import read_histograms

    histograms = read_histograms(path)
    for key in histograms.edges:
        save(feature_figure(histograms, key, settings=settings), folder, slug(*key))


def feature_figure(histograms: HistogramSet, key: Key, *, settings: HistogramSettings) -> Figure:
    """Returns the figure of one feature: all samples or truths above, their ratio to the reference below.

    Background samples are solid lines, signals dashed. With ``settings.normalise`` every sample has unit area
    (under- and overflow count, so the drawn area is what is inside the axis). Error bars are statistical. Where there
    is under- or overflow, it is drawn outside of the dotted lines, as high as if it were in one bin.
    """
    reference = _reference(histograms, settings)
    edges = histograms.edges[key]
    drawn = {name: _heights(histograms, name, key, settings) for name in histograms.samples}
    with figure_style():
        figure = Figure(figsize=(8.0, 7.0))
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        for index, (name, (height, error)) in enumerate(drawn.items()):
            style = _style(index, histograms.samples[name])
            _draw(top, edges, height, error, style, _label(name, histograms.samples[name]))
            _draw_ratio(bottom, edges, drawn[reference], (height, error), style, same=name == reference)
        flows = {name: _flow(histograms, name, key, settings) for name in drawn}
        _draw_flows(top, bottom, edges, histograms, flows)
        _frame(top, bottom, [*(height for height, _ in drawn.values()), *flows.values()], settings, len(drawn))
        top.set_ylabel(_ylabel(settings))
        if names := histograms.categories[key]:
            bottom.set_xticks(range(len(names)), [name.replace("_", "\n") for name in names], fontsize=12)
            bottom.minorticks_off()
        elif edges[0] % 1 == 0.5 and np.all(np.diff(edges) == 1):
            bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
            bottom.minorticks_off()
        bottom.set_xlabel(histograms.axis_labels[key])
        bottom.set_ylabel("ratio")
        header(top, f"ratio to {reference}")
        return figure


def _reference(histograms: HistogramSet, settings: HistogramSettings) -> str:
    if settings.reference is None:
        backgrounds = [name for name, info in histograms.samples.items() if info["label"] == "background"]
        return (backgrounds or list(histograms.samples))[0]
    if settings.reference not in histograms.samples:
        raise ConfigError(
            f"there is no sample or truth '{settings.reference}'",
            where="histograms.reference",
            allowed=", ".join(histograms.samples),
            nearest=nearest_name(settings.reference, histograms.samples),
        )
    return settings.reference


def _heights(histograms: HistogramSet, name: str, key: Key, settings: HistogramSettings) -> tuple[Floats, Floats]:
    """Returns what is drawn in each bin, and its standard deviation."""
    histogram = histograms.histograms[name][key]
    total, variance = (histogram.sumw, histogram.sumw2) if settings.weighted else (histogram.counts, histogram.counts)
    width = np.diff(histograms.edges[key])
    scale = width * total.sum() if settings.normalise and total.sum() else width if settings.normalise else 1.0
    return total[1:-1] / scale, np.sqrt(variance[1:-1]) / np.abs(scale)


def _flow(histograms: HistogramSet, name: str, key: Key, settings: HistogramSettings) -> Floats:
    """Returns under- and overflow as they are drawn: as high as if they were in one bin, shape (2,)."""
    histogram, edges = histograms.histograms[name][key], histograms.edges[key]
    total = histogram.sumw if settings.weighted else histogram.counts
    scale = float(np.median(np.diff(edges))) * (total.sum() or 1.0) if settings.normalise else 1.0
    return np.asarray(total[[0, -1]] / scale)


def _label(name: str, info: dict[str, Any]) -> str:
    """Returns the label of a sample with its signal point or generator; of a truth its name."""
    if info["signal"]:
        return f"{name} ({signal_label(info['signal'])})"
    return f"{name} ({info['generator']})" if info["generator"] else name


def _draw_flows(top: Axes, bottom: Axes, edges: Floats, histograms: HistogramSet, flows: dict[str, Floats]) -> None:
    """Draws under- and overflow in a bin of its own, where there is any."""
    width = max(float(np.median(np.diff(edges))), 0.03 * float(edges[-1] - edges[0]))
    ends, low, high = ((edges[0] - width, edges[0]), (edges[-1], edges[-1] + width)), edges[0], edges[-1]
    for side, (start, stop) in enumerate(ends):
        if not any(flow[side] > 0 for flow in flows.values()):
            continue
        low, high = min(low, start), max(high, stop)
        for index, (name, flow) in enumerate(flows.items()):
            style = _style(index, histograms.samples[name])
            top.stairs([flow[side]], [start, stop], linewidth=1.8, **style)
        for axes in (top, bottom):
            axes.axvline(edges[-side], color="0.5", linestyle=":", linewidth=1)
        text = "overflow" if side else "underflow"
        bottom.text((start + stop) / 2, 1.25, text, rotation=90, fontsize=9, color="0.4", ha="center", va="center")
    top.set_xlim(low, high)


def _style(index: int, info: dict[str, Any]) -> dict[str, Any]:
    line = dashes(index) if info["label"] == "background" else "--"
    return {"color": colour(index), "linestyle": line}


def _draw(ax: Axes, edges: Floats, height: Floats, error: Floats, style: dict[str, Any], label: str) -> None:
    ax.stairs(height, edges, label=label, linewidth=1.8, **style)
    seen = error > 0
    centres = (edges[1:] + edges[:-1]) / 2
    ax.errorbar(centres[seen], height[seen], error[seen], fmt="none", ecolor=style["color"], elinewidth=1)


def _draw_ratio(
    ax: Axes,
    edges: Floats,
    reference: tuple[Floats, Floats],
    sample: tuple[Floats, Floats],
    style: dict[str, Any],
    *,
    same: bool,
) -> None:
    base, base_error = reference
    ok = base > 0
    safe = np.where(ok, base, 1)
    if same:
        band = np.where(ok, base_error / safe, 0)
        ax.stairs(1 + band, edges, baseline=1 - band, fill=True, color="0.85", linewidth=0)
        ax.axhline(1, color=style["color"], linewidth=1)
        return
    ratio, error = sample[0] / safe, sample[1] / safe
    shown = ok & (sample[0] > 0)
    centres = (edges[1:] + edges[:-1]) / 2
    ax.errorbar(centres[shown], ratio[shown], error[shown], fmt="o", markersize=3, color=style["color"], elinewidth=1)


def _frame(top: Axes, bottom: Axes, drawn: Sequence[Floats], settings: HistogramSettings, num_lines: int) -> None:
    heights = np.concatenate(drawn)
    positive = heights[heights > 0]
    free = 0.08 + 0.06 * (num_lines if num_lines < 9 else 0)  # part of the height that the legend takes
    if len(positive):
        low, high = float(positive.min()), float(positive.max())
        if settings.log and high > 20 * low:  # less has no decade to show
            low = max(low, high * 1e-6) / 2
            top.set(yscale="log", ylim=(low, high * (high / low) ** (free / (1 - free))))
        else:
            top.set_ylim(0, high / (1 - free))
    legend(top, location="upper right", outside_from=9)
    bottom.set_ylim(0, 2.5)


def _ylabel(settings: HistogramSettings) -> str:
    if settings.normalise:
        return "normalised density"
    return "sum of weights / bin" if settings.weighted else "entries / bin"

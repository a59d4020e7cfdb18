"""Figures of attention: matrices per block and head, and lines in the plane of eta and phi."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from honeyguide.plotting.style import colour, dashes, figure_style, header, legend_below, save, slug

if TYPE_CHECKING:
    from honeyguide.evaluation.attention import JetAttention, MeanAttention
    from honeyguide.evaluation.attention_settings import AttentionSettings

Floats = NDArray[np.float32]
SMALLEST = 1e-3  # weights below have the colour of this one


def draw_attention(
    jets: Sequence[JetAttention], means: Sequence[MeanAttention], folder: Path, *, settings: AttentionSettings
) -> None:
    """Writes all figures of attention to ``folder``.

    ``matrices_<truth>_<event id>`` and ``plane_<truth>_<event id>`` of each jet, ``mean_matrices_<truth>`` and, of the
    class token with all truths, ``mean_class_attention``.
    """
    for jet in jets:
        name, title = slug(jet.truth, str(jet.event_id)), f"{jet.truth}, jet {jet.event_id}"
        shown = jet.attention[:, :, : settings.objects, : settings.objects]
        save(matrix_figure(shown, title=title), folder, f"matrices_{name}")
        save(plane_figure(jet, num_lines=settings.lines, title=title), folder, f"plane_{name}")
    for mean in means:
        title = f"{mean.truth}, mean over {mean.num_jets:,} jets"
        save(matrix_figure(mean.attention, title=title), folder, f"mean_matrices_{slug(mean.truth)}")
    if means:
        save(class_figure(means), folder, "mean_class_attention")


def matrix_figure(attention: Floats, *, title: str = "") -> Figure:
    """Returns a figure with a matrix per block (row) and head (column).

    Args:
        attention: (block, head, object, object), objects in the order of falling pt; NaN is blank.
        title: Text above, on the right.
    """
    num_blocks, num_heads, size, _ = attention.shape
    with figure_style():
        figure = Figure(figsize=(1.35 * num_heads + 1.6, 1.35 * num_blocks + 1.2))
        panels = figure.subplots(num_blocks, num_heads, sharex=True, sharey=True, squeeze=False)
        scale = LogNorm(SMALLEST, 1)
        for block, row in enumerate(panels):
            for head, axes in enumerate(row):
                picture = axes.imshow(np.maximum(attention[block, head], SMALLEST), norm=scale, cmap="viridis")
                axes.tick_params(which="both", length=0, labelsize=8)
                axes.set_xticks([0, size - 1], ["1", str(size)])
                axes.set_yticks([0, size - 1], ["1", str(size)])
                if not block:
                    axes.set_title(f"head {head + 1}", fontsize=10)
            row[0].set_ylabel(f"block {block + 1}", fontsize=10, loc="center")
        figure.supxlabel("object that is read (rank in $p_\\mathrm{T}$)", fontsize=12)
        figure.supylabel("object that reads (rank in $p_\\mathrm{T}$)", fontsize=12)
        figure.suptitle(title, fontsize=12, color="0.3", x=0.99, ha="right")
        figure.colorbar(picture, ax=list(panels.flat), label="attention weight", shrink=0.9, pad=0.01, extend="min")
        return figure


def plane_figure(jet: JetAttention, *, num_lines: int, title: str = "") -> Figure:
    """Returns a figure with a panel per head of the first and of the last block (rows), in the plane of eta and phi.

    Markers are as large as the object's pt; lines join those that read of each other: those with the largest weights,
    of the two the larger one. In each panel they are the wider and darker the larger the weight is, from the smallest
    that is drawn to the largest.

    Args:
        jet: The jet.
        num_lines: Lines in a panel.
        title: Text above, on the right.
    """
    blocks = sorted({0, len(jet.attention) - 1})
    num_heads = jet.attention.shape[1]
    with figure_style():
        figure = Figure(figsize=(2.3 * num_heads + 0.8, 2.3 * len(blocks) + 1.3))
        panels = figure.subplots(len(blocks), num_heads, sharex=True, sharey=True, squeeze=False)
        for block, row in zip(blocks, panels, strict=True):
            for head, axes in enumerate(row):
                _draw_plane(axes, jet, jet.attention[block, head], num_lines)
                axes.tick_params(labelsize=9)
                if block == blocks[0]:
                    axes.set_title(f"head {head + 1}", fontsize=11)
            row[0].set_ylabel(f"block {block + 1}", fontsize=11, loc="center")
        figure.supxlabel(r"$\Delta\eta$", fontsize=13)
        figure.supylabel(r"$\Delta\phi$", fontsize=13)
        figure.suptitle(title, fontsize=12, color="0.3", x=0.99, ha="right")
        return figure


def class_figure(means: Sequence[MeanAttention]) -> Figure:
    """Returns a figure of how much the class token reads of each rank in pt, in each block: a line per truth.

    Heads are averaged; what stands left of the first rank is the token itself.
    """
    num_blocks = means[0].class_attention.shape[0]
    with figure_style():
        figure = Figure(figsize=(6.2 * num_blocks, 5.2))
        panels = figure.subplots(1, num_blocks, sharey=True, squeeze=False)[0]
        for block, axes in enumerate(panels):
            for index, mean in enumerate(means):
                values = mean.class_attention[block].mean(0)
                line = {"color": colour(index), "linestyle": dashes(index)}
                label = f"{mean.truth}, {mean.num_jets:,} jets"
                axes.plot(np.arange(len(values)), values, marker="o", markersize=3, label=label, **line)
            axes.set(yscale="log", xlim=(-0.5, len(values) - 0.5))
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlabel(r"rank in $p_\mathrm{T}$ (0: the class token)")
            header(axes, f"class-attention block {block + 1}")
        panels[0].set_ylabel("mean attention weight")
        legend_below(figure, panels[0])
        return figure


def _draw_plane(axes: Axes, jet: JetAttention, weights: Floats, num_lines: int) -> None:
    both = np.maximum(weights, weights.T)
    first, second = np.triu_indices(len(both), k=1)
    chosen = np.argsort(-both[first, second])[:num_lines]
    first, second = first[chosen], second[chosen]
    values = both[first, second]
    points = np.stack([jet.deta, jet.dphi], axis=1)
    share = (values - values.min(initial=1.0)) / max(float(np.ptp(values)) if len(values) else 0.0, 1e-12)
    lines = LineCollection(
        list(np.stack([points[first], points[second]], axis=1)),
        linewidths=0.3 + 2.2 * share,
        colors=[(0.2, 0.35, 0.65, 0.15 + 0.7 * float(s)) for s in share],
        zorder=1,
    )
    axes.add_collection(lines)
    sizes = 4 + 150 * jet.pt / max(float(jet.pt.max(initial=0.0)), 1e-12)
    axes.scatter(jet.deta, jet.dphi, s=sizes, color=colour(5), edgecolor="white", linewidth=0.4, zorder=2, alpha=0.9)
    reach = 1.1 * max(float(np.abs(points).max(initial=0.0)), 0.1)
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")

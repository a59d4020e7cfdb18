"""Figure of the pt and eta spectra of all truths before and after reweighting."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from honeyguide.data.reweighting import Reweighting, Spectra
from honeyguide.plotting.style import colour, dashes, figure_style, header, legend_below, plain_log


def reweighting_figure(reweighting: Reweighting, *, how: Literal["weights", "sampling"] = "weights") -> Figure:
    """Returns the spectra in pt (left) and eta (right) before (top) and after reweighting (bottom).

    Every truth has unit area in the bins, so that after reweighting all lie on the edge of the reference's grey area
    where they have jets, one line in all colours. Error bars are statistical. The titles say which fraction of the
    jets' weights is outside of the bins.

    Args:
        reweighting: What is drawn.
        how: After weighting the jets, or after sampling them (on average).
    """
    after = reweighting.after if how == "weights" else reweighting.sampled
    with figure_style():
        figure = Figure(figsize=(12.0, 9.0))
        axes = figure.subplots(2, 2, sharex="col", sharey="col")
        for row, (spectra, name) in enumerate([(reweighting.before, "before"), (after, f"after {_WORDS[how]}")]):
            for column, variable in enumerate(("pt", "eta")):
                _draw(axes[row, column], spectra, variable, reweighting.settings.reference, interlaced=row == 1)
            axes[row, 1].set_title(name, loc="left", fontsize=14)
            axes[row, 1].set_title(_outside(spectra), loc="right", fontsize=11, color="0.3")
        header(axes[0, 0])
        axes[1, 0].set_title(f"after {_WORDS[how]}", loc="left", fontsize=14)
        absolute = reweighting.before.bins.absolute_eta
        axes[1, 0].set_xlabel(r"jet $p_\mathrm{T}$ [GeV]")
        axes[1, 1].set_xlabel(r"jet $|\eta|$" if absolute else r"jet $\eta$")
        legend_below(figure, axes[0, 0])
        return figure


_WORDS = {"weights": "weighting", "sampling": "sampling"}


def _draw(ax: Axes, spectra: Spectra, variable: str, reference: str, *, interlaced: bool) -> None:
    edges = np.asarray(getattr(spectra.bins, variable))
    other = 2 if variable == "pt" else 1  # the axis of the other variable, summed over
    sums, squares = spectra.inside.sum(other), spectra.inside2.sum(other)
    width, centres = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    drawn = [code for code in range(len(spectra.truths)) if sums[code].any()]
    positive = []
    for place, code in enumerate(drawn):
        name = spectra.truths[code]
        scale = width * sums[code].sum()
        height, error = sums[code] / scale, np.sqrt(squares[code]) / scale
        positive.append(height[height > 0])
        if name == reference:
            ax.stairs(height, edges, fill=True, color="0.85", label=f"{name} (reference)")
        gaps = (5 * place, (5, 5 * (len(drawn) - 1)))  # where lines coincide, each shows in the gaps of the others
        line = gaps if interlaced and len(drawn) > 1 else dashes(code)
        style: dict[str, Any] = {"color": colour(code), "linewidth": 1.8, "linestyle": line}
        ax.stairs(height, edges, label=None if name == reference else name, **style)
        ax.errorbar(centres, height, error, fmt="none", ecolor=colour(code), elinewidth=1)
    if variable == "pt" and edges[0] > 0:
        ax.set_yscale("log")
        heights = np.concatenate(positive)
        ax.set_ylim(min(ax.get_ylim()[0], heights.min() / 2), max(ax.get_ylim()[1], heights.max() * 2))
    else:
        ax.set_ylim(0, max(ax.get_ylim()[1], 1.1 * max(map(np.max, positive))))
    ax.set_ylabel("normalised density [1/GeV]" if variable == "pt" else "normalised density")
    ax.set_xlim(edges[0], edges[-1])
    plain_log(ax, x=variable == "pt" and edges[0] > 0)


def _outside(spectra: Spectra) -> str:
    total = spectra.sumw.sum()
    fraction = spectra.outside.sum() / total if total else 0.0
    return f"outside of the bins: {100 * fraction:.2g} %" + (", in the nearest bin" if spectra.clip else "")

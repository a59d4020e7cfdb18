"""Figures of the enrichment study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from honeyguide.plotting.style import colour, figure_style, header, save, signal_label, slug

if TYPE_CHECKING:
    from honeyguide.evaluation.enrichment import Row

_MARKERS = "osD^vPX*<>"


def draw_enrichment(rows: Sequence[Row], folder: Path) -> None:
    """Writes ``enrichment_latent`` (generators against reconstruction) and, per score, ``enrichment_auc_<score>``."""
    variants = list(dict.fromkeys(row.variant for row in rows))
    save(latent_figure(rows, variants), folder, "enrichment_latent")
    for name in dict.fromkeys(row.score for row in rows if row.score):
        areas = [row for row in rows if row.score == name]
        save(auc_figure(areas, variants, score=name), folder, f"enrichment_auc_{slug(name)}")


def latent_figure(rows: Sequence[Row], variants: Sequence[str]) -> Figure:
    """Returns how well generators are told apart against the reconstruction loss, a point per variant."""
    with figure_style():
        figure, axes = plt.subplots(figsize=(9.5, 6))
        for number, variant in enumerate(variants):
            by_quantity = {row.quantity: row for row in rows if row.variant == variant and not row.score}
            x, y = by_quantity["reconstruction"], by_quantity["generator AUC"]
            axes.errorbar(
                x.mean, y.mean, xerr=x.error, yerr=y.error, label=variant, **_style(number), markersize=9, capsize=3
            )
        axes.axhline(0.5, color="0.5", linestyle=":", linewidth=1.2)
        axes.annotate("told apart by chance alone", (0.99, 0.5), xycoords=("axes fraction", "data"), ha="right",
                      va="bottom", fontsize=12, color="0.35")  # fmt: skip
        axes.set_ylim(bottom=0.48)
        axes.set_xlabel("Reconstruction loss of the background")
        axes.set_ylabel("AUC between generators, by their latents")
        _legend(axes)
        header(axes, _seeds(rows))
    return figure


def auc_figure(rows: Sequence[Row], variants: Sequence[str], *, score: str) -> Figure:
    """Returns the AUC of every signal point, a point per variant."""
    signals = list(dict.fromkeys(row.signal for row in rows))
    with figure_style():
        figure, axes = plt.subplots(figsize=(11, 1.6 + 0.75 * len(signals)))
        offsets = np.linspace(-0.32, 0.32, len(variants)) if len(variants) > 1 else [0.0]
        for number, variant in enumerate(variants):
            own = {row.signal: row for row in rows if row.variant == variant}
            values = [own[signal] for signal in signals]
            places = np.arange(len(signals))[::-1] - offsets[number]
            errors = [row.error or 0.0 for row in values]
            means = [row.mean for row in values]
            axes.errorbar(means, places, xerr=errors, label=variant, **_style(number), markersize=6)
        first = {row.signal: row for row in rows if row.variant == variants[0]}
        for place, signal in zip(np.arange(len(signals))[::-1], signals, strict=True):
            row = first[signal]
            axes.fill_betweenx(
                [place - 0.45, place + 0.45], row.mean - row.test_error, row.mean + row.test_error,
                color="0.88", zorder=0, linewidth=0, label="other test events" if signal == signals[0] else None,
            )  # fmt: skip
        axes.set_yticks(np.arange(len(signals))[::-1], [signal_label(signal) for signal in signals], fontsize=13)
        axes.set_ylim(-0.6, len(signals) - 0.4)
        axes.tick_params(axis="y", which="minor", left=False, right=False)
        axes.set_xlabel(f"AUC, score: {score}")
        _legend(axes)
        header(axes, _seeds(rows))
    return figure


def _style(number: int) -> dict[str, Any]:
    return {"fmt": _MARKERS[number % len(_MARKERS)], "color": colour(number), "linewidth": 1.6}


def _legend(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)


def _seeds(rows: Sequence[Row]) -> str:
    number = rows[0].num_seeds
    return "one seed" if number == 1 else f"mean of {number} seeds and its error"

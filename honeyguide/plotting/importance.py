"""Figures of the permutation importance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from honeyguide.plotting.style import colour, figure_style, header, save, slug

if TYPE_CHECKING:
    from honeyguide.evaluation.importance import Drop, Importance

KINDS = {"feature": 0, "four-momentum": 1, "all features": 2, "objects": 3}
MEANING = {
    "feature": "one feature",
    "four-momentum": "all that the four-momentum says",
    "all features": "all features, numbers of objects kept",
    "objects": "the objects with their number",
}


def draw_importance(found: Importance, folder: Path, *, shown: int) -> None:
    """Writes ``importance_<measure>`` with the groups whose loss costs most, at most ``shown`` of them."""
    for name, (value, error) in found.areas.items():
        drops = found.of(name)
        note = f", {shown} of {len(drops)}" if len(drops) > shown else ""
        title = f"{name}: AUC {value:.3f} ± {error:.3f}{note}"
        save(importance_figure(drops[:shown], title=title), folder, f"importance_{slug(name)}")


def importance_figure(drops: Sequence[Drop], *, title: str = "") -> Figure:
    """Returns a figure with a bar per group, the longest on top; error bars have repeats and sample in them."""
    with figure_style():
        figure = Figure(figsize=(8.5, 1.9 + 0.32 * len(drops)))
        axes = figure.add_subplot()
        places = np.arange(len(drops))
        axes.barh(
            places,
            [drop.value for drop in drops],
            xerr=[drop.error for drop in drops],
            color=[colour(KINDS[drop.kind]) for drop in drops],
            error_kw={"elinewidth": 1.2, "capsize": 2, "ecolor": "0.2"},
            height=0.72,
        )
        axes.set_yticks(places, [drop.group for drop in drops], fontsize=11)
        axes.tick_params(axis="y", which="both", length=0)
        axes.set_ylim(len(drops) - 0.4, -0.6)
        axes.axvline(0, color="0.3", linewidth=1)
        axes.grid(axis="x", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlabel("drop in AUC when permuted")
        header(axes, title)
        kinds = [kind for kind in KINDS if any(drop.kind == kind for drop in drops)]
        handles = [Patch(color=colour(KINDS[kind]), label=MEANING[kind]) for kind in kinds]
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
        return figure

"""All figures of the working points of a tagger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from honeyguide.plotting.style import DASHES, figure_style, header, save, slug
from honeyguide.plotting.tagging import efficiency_figure

if TYPE_CHECKING:
    from honeyguide.evaluation.tagging_points import TaggingPoints
    from honeyguide.evaluation.tagging_result import Plane

Floats = NDArray[np.float64]
PLANE_BINS = 40
POINT_COLOURS = ("black", "#bd1f01", "#832db6", "#e76300")


def draw_points(
    results: Sequence[TaggingPoints], plane: Plane | None, folder: Path, *, suffix: str, title: str
) -> None:
    """Writes the figures of some working points to ``folder``.

    Per discriminator (or pair) and working point that is defined ``efficiency_<name>_<point>_<pt or eta>_<suffix>``;
    ``plane_<names>_<suffix>`` where two discriminators have working points together.
    """
    for result, (index, point) in ((r, item) for r in results for item in enumerate(r.points)):
        for against in ("pt", "eta") if point.reason is None else ():
            figure = efficiency_figure(result, index, against=against, title=title)
            save(figure, folder, f"efficiency_{slug(*result.discriminators, point.name, against, suffix)}")
    if plane is not None:
        save(plane_figure(plane, title=title), folder, f"plane_{slug(*plane.points.discriminators, suffix)}")


def plane_figure(plane: Plane, *, title: str = "") -> Figure:
    """Returns the plane of two discriminators, with a panel for the signal and each background.

    The colour is the fraction of the panel's jets in a bin; a jet passes a working point if it is above and right of
    its corner. Infinite values are in the last bins.
    """
    panels = (plane.pair[0].signal, plane.pair[0].background, plane.pair[1].background)
    fractions = [_fractions(plane, codes) for codes in panels]
    seen = np.concatenate([f[f > 0] for f in fractions])
    with figure_style():
        figure = Figure(figsize=(14.0, 5.6))
        axes = figure.subplots(1, len(panels), sharex=True, sharey=True)
        for ax, codes, fraction in zip(axes, panels, fractions, strict=True):
            image = _panel(ax, fraction, LogNorm(seen.min(), seen.max()))
            _corners(ax, plane)
            text = f"truth: {', '.join(plane.jets.truths[code] for code in codes)}"
            ax.set_title(text, fontsize=12, loc="right", color="0.3")
            ax.set_xlabel(plane.pair[0].name)
        axes[0].set_ylabel(plane.pair[1].name)
        header(axes[0], axes[0].get_title(loc="right"))
        figure.colorbar(image, ax=axes, label="fraction of jets / bin", pad=0.01)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=max(len(labels), 1), title=title)
        return figure


def _panel(ax: Axes, fraction: Floats, norm: LogNorm) -> AxesImage:
    image = ax.imshow(
        np.where(fraction > 0, fraction, np.nan).T,
        origin="lower",
        extent=(0, 1, 0, 1),
        aspect="auto",
        cmap="Blues",
        norm=norm,
    )
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return image


def _corners(ax: Axes, plane: Plane) -> None:
    for index, point in enumerate(plane.points.points):
        if point.reason is None:
            x, y = point.thresholds
            colour, line = POINT_COLOURS[index % len(POINT_COLOURS)], DASHES[index % len(DASHES)]
            ax.plot([x, x, 1], [1, y, y], color=colour, linestyle=line, linewidth=2, label=point.name)


def _fractions(plane: Plane, codes: Sequence[int]) -> Floats:
    chosen = np.isin(plane.jets.truth, codes)
    x, y = (np.clip(values[chosen], 0, 1) for values in plane.values)
    counts, _, _ = np.histogram2d(x, y, PLANE_BINS, range=((0, 1), (0, 1)), weights=plane.jets.weight[chosen])
    return np.asarray(counts / counts.sum())

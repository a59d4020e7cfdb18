"""The look of all figures, and how they are saved."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import mplhep
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

STYLE = {
    **mplhep.style.ROOT,
    "figure.figsize": (8.0, 6.0),
    "font.size": 15,
    "axes.labelsize": 17,
    "xtick.labelsize": 14,
    "ytick.labelsize": 14,
    "legend.fontsize": 12,
    "legend.handlelength": 1.8,
    "lines.linewidth": 1.8,
    "figure.constrained_layout.use": True,
    "figure.subplot.left": 0.125,
}
STYLE = {key: value for key, value in STYLE.items() if key in mpl.rcParams}

COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#832db6",
    "#2e8b57",
    "#e76300",
    "#a96b59",
    "#717581",
    "#b9ac70",
    "#5ec4c8",
)
"""Distinguishable with colour-vision deficiencies, after Petroff, arXiv:2107.02270."""
PANEL = (6.8, 5.4)
"""Size of one of many figures on a page, in inches: small, so that the letters are large."""
DASHES = ("-", "--", ":", "-.")
GREY = "0.88"


@contextmanager
def figure_style() -> Iterator[None]:
    """Sets the style for the figures that are made and saved in the block, and no longer."""
    with mpl.rc_context(STYLE):
        yield


def save(figure: Figure, folder: Path, name: str) -> None:
    """Writes a figure as ``name.png`` and ``name.pdf``, without the time: the same figure has the same bytes."""
    with figure_style():
        figure.savefig(folder / f"{name}.png", dpi=120, metadata={"Software": None})
        figure.set_layout_engine("none")  # the layout stands, and costs as much as the drawing
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None, "Producer": None, "Creator": None})


def colour(index: int) -> str:
    """Returns a line colour; they repeat after ten."""
    return COLOURS[index % len(COLOURS)]


def dashes(index: int) -> str:
    """Returns the line style that goes with :func:`colour`, so that no two lines look the same."""
    return DASHES[(index // len(COLOURS)) % len(DASHES)]


def header(axes: Axes, right: str = "") -> None:
    """Writes "honeyguide" above the axes on the left, and a text on the right."""
    axes.set_title(r"$\bf{honeyguide}$ simulation", loc="left", fontsize=14)
    axes.set_title(right, loc="right", fontsize=12, color="0.3")


def legend(axes: Axes, *, location: Literal["upper left", "upper right"], outside_from: int = 8) -> None:
    """Draws the legend inside the axes, or right of them where it has ``outside_from`` lines or more."""
    labels = axes.get_legend_handles_labels()[1]
    if len(labels) < outside_from:
        axes.legend(loc=location, frameon=True, facecolor="white", edgecolor="none", framealpha=0.75)
        return
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False)
    if isinstance(axes.figure, Figure):
        axes.figure.set_size_inches(12.0, axes.figure.get_figheight())


def legend_below(figure: Figure, axes: Axes) -> None:
    """Draws the legend of the axes under them, where it hides no data and the figure stays as wide as it was."""
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        longest = max(len(re.sub(r"\\mathrm|[${}_]", "", label)) for label in labels)
        columns = max(int(figure.get_figwidth() * 11) // (longest + 8), 1)  # some 11 letters per inch, and the line
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)), frameon=False)


def plain_log(axes: Axes, *, x: bool = False, y: bool = False) -> None:
    """Makes axes logarithmic with ticks at 1, 2 and 5 times powers of ten, as plain numbers that do not collide."""
    for wanted, axis, scale in ((x, axes.xaxis, axes.set_xscale), (y, axes.yaxis, axes.set_yscale)):
        if wanted:
            scale("log")
            low, high = sorted(axis.get_view_interval())
            decades = np.log10(high / low)
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1,)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())


def compact_png(png: bytes) -> bytes:
    """Returns a PNG of the same picture with at most 128 colours, about a quarter of the size."""
    with Image.open(io.BytesIO(png)) as image, io.BytesIO() as small:
        colours = image.convert("RGB").quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        colours.save(small, "png", optimize=True)
        return small.getvalue()


def signal_label(name: str) -> str:
    """Returns the label of a signal point: ``mass=3500,r_inv=0.3`` with symbols and units; other names as they are."""
    if "=" not in name:
        return name
    parts = []
    for item in name.split(","):
        key, _, value = item.partition("=")
        symbol, unit = _parameter(key)
        parts.append(f"{symbol} = {value} {unit}".rstrip())
    return ", ".join(parts)


def parameter_label(name: str) -> str:
    """Returns the label of an axis that shows a parameter of signal points: its symbol, and its unit in brackets."""
    symbol, unit = _parameter(name)
    return f"{symbol} [{unit}]" if unit else symbol


def _parameter(name: str) -> tuple[str, str]:
    known = {
        "mass": ("$m$", "GeV"),
        "mass_x": ("$m_X$", "GeV"),
        "mass_y": ("$m_Y$", "GeV"),
        "r_inv": (r"$r_\mathrm{inv}$", ""),
    }
    return known.get(name, (name.replace("_", " "), ""))


def slug(*words: str) -> str:
    """Returns a file name made of the words: letters, digits and ``_ . = , + -`` stay, all else is ``-``."""
    return "_".join(re.sub(r"[^A-Za-z0-9_.=,+-]+", "-", word).strip("-") or "x" for word in words)

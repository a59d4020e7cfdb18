"""What a section of the page is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | float | int | None


@dataclass(frozen=True)
class Plot:
    """One figure.

    Attributes:
        name: Stem of its files in ``plots/``; no two plots of a page have the same.
        title: One line above the figure, and what stands for it where it can't be seen.
        caption: What is shown, and how to read it.
        figure: The figure.
    """

    name: str
    title: str
    caption: str
    figure: Figure


@dataclass(frozen=True)
class Table:
    """One table; None is an empty cell."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes:
        name: Key in ``diagnostics.json`` and anchor in the page.
        title: Heading.
        text: What was found, in a sentence or two.
        data: The numbers behind it, plain JSON types; numbers that are not finite become null in the file.
        plots: Figures.
        tables: Tables.
        warnings: What is wrong, one sentence each; they come first on the page.
        files: Content of further files beside the page, by name.
    """

    name: str
    title: str
    text: str
    data: dict[str, Any]
    plots: tuple[Plot, ...] = ()
    tables: tuple[Table, ...] = ()
    warnings: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)


def not_made(name: str, title: str, why: str) -> Section:
    """Returns the section that says why there is nothing to see for these inputs."""
    return Section(name, title, f"Not made: {why}", {"not_made": why})

"""Distributions of every score, per generator and signal point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.section import Plot, Section, Table, not_made
from honeyguide.evaluation.distributions import score_distributions
from honeyguide.evaluation.events import read_events
from honeyguide.evaluation.roc import Floats
from honeyguide.evaluation.settings import RocSettings
from honeyguide.plotting.scores import score_figure

BACKGROUND = "background: "
NUM_BINS = 40
TITLE = "Anomaly scores"


@dataclass(frozen=True)
class Summary:
    """One score of one group of events; everything weighted.

    Attributes:
        num_events: Events of the group.
        median: Half of the weight is below.
        low: 15.9 % of the weight is below.
        high: 84.1 % of the weight is below.
        above: Share of the weight above the score that a hundredth of the background exceeds, all generators counting
            the same.
    """

    num_events: int
    median: float
    low: float
    high: float
    above: float


def section(context: Context) -> Section:
    """Returns the distributions of all scores of the test events."""
    if not context.sources.scores:
        return not_made("scores", TITLE, "there are no scores of this training.")
    events = read_events(context.sources.scores, RocSettings())
    colours = {f"{BACKGROUND}{name}": context.colours[name] for name in events.generator_names}
    colours |= {name: context.colours[name] for name in events.signal_names if name in context.colours}
    plots, tables, data = [], [], {}
    for score in events.scores:
        groups = events.by_group(score)
        shown = score_distributions(groups, num_bins=NUM_BINS)
        found = summarise(groups)
        data[score] = {name: asdict(item) for name, item in found.items()}
        tables.append(_table(score, found))
        figure = score_figure(shown.edges, shown.fractions, shown.errors, score=score, log=shown.log, colours=colours)
        caption = (
            "Weighted, each group of unit sum; bars are statistical errors. What lies outside of the axis is counted "
            "in the first and last bin."
        )
        plots.append(Plot(f"scores_{score}", f"Score: {score.replace('_', ' ')}", caption, figure))
    text = (
        "Larger scores are more signal-like. Generators that differ here would be told apart by a cut on the score, "
        "which then depends on the simulation; signals should lie to the right of all of them."
    )
    return Section("scores", TITLE, text, data, tuple(plots), tuple(tables))


def summarise(groups: Mapping[str, tuple[Floats, Floats]]) -> dict[str, Summary]:
    """Returns what is said of each group in a table.

    Args:
        groups: Name to (scores, weights); backgrounds begin with :data:`BACKGROUND`.
    """
    backgrounds = [
        (scores, weights / weights.sum()) for name, (scores, weights) in groups.items() if name.startswith(BACKGROUND)
    ]
    cut = float("nan")
    if backgrounds:
        cut = _quantiles(np.concatenate([s for s, _ in backgrounds]), np.concatenate([w for _, w in backgrounds]), 0.99)
    result = {}
    for name, (scores, weights) in groups.items():
        low, median, high = (_quantiles(scores, weights, share) for share in (0.1587, 0.5, 0.8413))
        above = float(weights[scores > cut].sum() / weights.sum())
        result[name] = Summary(len(scores), median, low, high, above)
    return result


def _quantiles(values: Floats, weights: Floats, share: float) -> float:
    """Returns the smallest value that has at least this share of the weight at or below it."""
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(sums, share * sums[-1] * (1 - 1e-12))])


def _table(score: str, found: Mapping[str, Summary]) -> Table:
    columns = ("group", "events", "median", "68 % from", "to", "above 1 % background cut [%]")
    rows: list[tuple[Any, ...]] = [
        (name, s.num_events, *(float(f"{v:.4g}") for v in (s.median, s.low, s.high, 100 * s.above)))
        for name, s in found.items()
    ]
    return Table(score, columns, tuple(rows))

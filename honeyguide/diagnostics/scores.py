"""Distributions of every score, per generator and signal point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from honeyguide.diagnostics import classes
from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.section import Plot, Section, Table, not_made
from honeyguide.evaluation.distributions import score_distributions
from honeyguide.evaluation.events import read_events
from honeyguide.evaluation.roc import Floats
from honeyguide.evaluation.settings import RocSettings
from honeyguide.plotting.scores import score_figure, score_grid

BACKGROUND = "background: "
ALL, MERGED = "all backgrounds", "all signals"
NUM_BINS = 40
MOST_SIGNALS = 5  # more lines in one figure can't be told apart: each point then has a panel of its own
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
    """Returns the distributions of all scores of the test events; of a classifier, what it takes them for."""
    if context.model.classes:
        return classes.section(context)
    if not context.model.is_detector:
        return not_made("scores", TITLE, "this model predicts targets: RegressionTask shows how well.")
    if not context.sources.scores:
        return not_made("scores", TITLE, "there are no scores of this training.")
    events = read_events(context.sources.scores, RocSettings())
    colours = {MERGED: "black"} | {f"{BACKGROUND}{name}": context.colours[name] for name in events.generator_names}
    colours |= {name: context.colours[name] for name in events.signal_names if name in context.colours}
    plots, found = [], {}
    for score in events.scores:
        groups = events.by_group(score)
        found[score] = summarise(groups)
        plots += _plots(score, groups, colours)
    text = (
        "Larger scores are more signal-like. Generators that differ here would be told apart by a cut on the score, "
        "which then depends on the simulation; signals should lie to the right of all of them."
    )
    data = {score: {name: asdict(item) for name, item in groups.items()} for score, groups in found.items()}
    return Section("scores", TITLE, text, data, tuple(plots), (_table(found),))


def merge(groups: Mapping[str, tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Returns scores and weights of all groups together, each with a sum of weights of 1."""
    return (
        np.concatenate([scores for scores, _ in groups.values()]),
        np.concatenate([weights / weights.sum() for _, weights in groups.values()]),
    )


def summarise(groups: Mapping[str, tuple[Floats, Floats]]) -> dict[str, Summary]:
    """Returns what is said of each group in a table.

    Args:
        groups: Name to (scores, weights); backgrounds begin with :data:`BACKGROUND`.
    """
    backgrounds = {name: group for name, group in groups.items() if name.startswith(BACKGROUND)}
    cut = _quantile(*merge(backgrounds), 0.99) if backgrounds else float("nan")
    result = {}
    for name, (scores, weights) in groups.items():
        low, median, high = (_quantile(scores, weights, share) for share in (0.1587, 0.5, 0.8413))
        above = float(weights[scores > cut].sum() / weights.sum())
        result[name] = Summary(len(scores), median, low, high, above)
    return result


def _quantile(values: Floats, weights: Floats, share: float) -> float:
    """Returns the smallest value that has at least this share of the weight at or below it."""
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(sums, share * sums[-1] * (1 - 1e-12))])


def _plots(score: str, groups: Mapping[str, tuple[Floats, Floats]], colours: Mapping[str, str]) -> list[Plot]:
    backgrounds = {name: group for name, group in groups.items() if name.startswith(BACKGROUND)}
    signals = {name: group for name, group in groups.items() if name not in backgrounds}
    many = len(signals) > MOST_SIGNALS
    shown = {**backgrounds, MERGED: merge(signals)} if many else groups
    what = score.replace("_", " ")
    caption = "Weighted, each group of unit sum; bars are statistical errors. What lies outside of the axis is counted "
    caption += "in the first and last bin."
    drawn = score_distributions(shown, num_bins=NUM_BINS)
    figure = score_figure(drawn.edges, drawn.fractions, drawn.errors, score=score, log=drawn.log, colours=colours)
    plots = [Plot(f"scores_{score}", f"Score: {what}", caption, figure)]
    if many and backgrounds:
        drawn = score_distributions({ALL: merge(backgrounds), **signals}, num_bins=NUM_BINS)
        figure = score_grid(drawn.edges, drawn.fractions, reference=ALL, score=score, log=drawn.log, colours=colours)
        caption = "Every signal point before the background of all generators (grey), each of unit sum."
        plots.append(Plot(f"scores_{score}_points", f"Score of each signal point: {what}", caption, figure))
    return plots


def _table(found: Mapping[str, Mapping[str, Summary]]) -> Table:
    columns = ("score", "group", "events", "median", "68 % from", "to", "above 1 % background cut [%]")
    rows: list[tuple[Any, ...]] = [
        (score, name, s.num_events, *(float(f"{v:.4g}") for v in (s.median, s.low, s.high, 100 * s.above)))
        for score, groups in found.items()
        for name, s in groups.items()
    ]
    return Table("Scores of each group", columns, tuple(rows))

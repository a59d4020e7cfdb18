"""Weighted distributions of a score, per generator and signal point, on one binning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from honeyguide.evaluation.roc import Floats


@dataclass(frozen=True)
class Distributions:
    """Histograms of one score.

    Attributes:
        edges: Bin edges, (num_bins + 1,). The first and the last bin hold what lies below and above, too.
        fractions: Per group the fraction of its weight in each bin, (num_bins,); the sum is 1.
        errors: Per group the standard deviations of the fractions.
        log: Whether the edges are in equal steps of the logarithm.
    """

    edges: Floats
    fractions: dict[str, Floats]
    errors: dict[str, Floats]
    log: bool


def score_distributions(
    groups: Mapping[str, tuple[Floats, Floats]], *, num_bins: int, ends: tuple[float, float] | None = None
) -> Distributions:
    """Returns histograms of a score for all groups, on axes that hold the central 99.8 % of every group.

    The axis is logarithmic where all scores are above 0 and span more than two decades. What is outside of it is in
    the first and in the last bin.

    Args:
        groups: Name to (scores, weights); weights of any scale.
        num_bins: Number of bins.
        ends: Of a linear axis, in place of those that the scores give.
    """
    low, high = _ends(groups) if ends is None else ends
    log = ends is None and low > 0 and high > 100 * low
    if high <= low:
        low, high = low - 0.5, low + 0.5
    edges = np.geomspace(low, high, num_bins + 1) if log else np.linspace(low, high, num_bins + 1)
    fractions: dict[str, Floats] = {}
    errors: dict[str, Floats] = {}
    for name, (scores, weights) in groups.items():
        index = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, num_bins - 1)
        w = weights / weights.sum()
        fractions[name] = np.bincount(index, w, num_bins).astype(float)
        errors[name] = np.sqrt(np.bincount(index, w**2, num_bins))
    return Distributions(edges, fractions, errors, log)


def _ends(groups: Mapping[str, tuple[Floats, Floats]]) -> tuple[float, float]:
    finite = [scores[np.isfinite(scores)] for scores, _ in groups.values()]
    quantiles = np.array([np.quantile(scores, [0.001, 0.999]) for scores in finite if len(scores)])
    return (float(quantiles[:, 0].min()), float(quantiles[:, 1].max())) if len(quantiles) else (0.0, 1.0)

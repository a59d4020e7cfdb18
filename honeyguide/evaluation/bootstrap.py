"""Poisson bootstrap of everything that is read off a ROC curve."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from honeyguide.evaluation.auc import Estimate, auc
from honeyguide.evaluation.roc import Floats, TwoClasses, roc_curve


@dataclass(frozen=True)
class Replicas:
    """What each replica gives.

    Attributes:
        auc: Shape (num_replicas,).
        signal_efficiency: Shape (num_replicas, num_targets).
        significance: Maximum of the significance improvement, (num_replicas,); NaN where no point is defined.
    """

    auc: Floats
    signal_efficiency: Floats
    significance: Floats


def bootstrap(
    classes: TwoClasses, targets: tuple[float, ...], *, num_replicas: int, seed: int, lowest_efficiency: float | None
) -> Replicas:
    """Returns AUC, signal efficiencies and maximum significance improvement of Poisson-bootstrap replicas.

    In each replica the weight of every event is multiplied by an independent Poisson(1) number: the bootstrap of a
    sample whose size is itself random, as that of selected events is. The threshold is found anew in each replica,
    so the spread holds the statistics of signal and background.

    Args:
        classes: The events.
        targets: Background efficiencies.
        num_replicas: Number of replicas.
        seed: Of numpy's default generator.
        lowest_efficiency: Background efficiency from which on the significance improvement is defined; None: nowhere.
    """
    rng = np.random.default_rng(seed)
    areas = np.full(num_replicas, np.nan)
    efficiencies = np.full((num_replicas, len(targets)), np.nan)
    significance = np.full(num_replicas, np.nan)
    for i in range(num_replicas):
        w = classes.signal_weight * rng.poisson(1.0, len(classes.signal_weight))
        v = classes.background_weight * rng.poisson(1.0, len(classes.background_weight))
        if not (w.any() and v.any()):  # tiny samples: this replica lost a whole class
            continue
        replica = replace(classes, signal_weight=w / w.sum(), background_weight=v / v.sum())
        curve = roc_curve(replica)
        areas[i] = auc(replica)
        efficiencies[i] = curve.signal_efficiency[curve.point_at(np.asarray(targets, float))]
        if lowest_efficiency is not None:
            ok = curve.background_efficiency >= lowest_efficiency
            significance[i] = np.max(curve.signal_efficiency[ok] / np.sqrt(curve.background_efficiency[ok]))
    return Replicas(areas, efficiencies, significance)


def interval(value: float, replicas: Floats, confidence_level: float) -> Estimate:
    """Returns the value with the standard deviation and the central percentiles of its replicas."""
    alive = replicas[~np.isnan(replicas)]
    if len(alive) < 2:
        return Estimate(value, float("nan"), float("nan"), float("nan"))
    tail = (1 - confidence_level) / 2
    low, high = np.quantile(alive, [tail, 1 - tail])
    return Estimate(value, float(np.std(alive, ddof=1)), float(low), float(high))

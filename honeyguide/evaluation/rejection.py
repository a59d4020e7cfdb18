"""Background rejection at fixed signal efficiencies, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from honeyguide.evaluation.roc import TwoClasses, roc_curve
from honeyguide.evaluation.working_points import working_points


@dataclass(frozen=True)
class Rejection:
    """One over the background efficiency at a signal efficiency.

    Attributes:
        signal_efficiency: The target; the threshold is the highest at which it is reached.
        value: The rejection; infinite where no background passes.
        low: Lower end of the interval: statistics of the background, and of the signal through the threshold.
        high: Upper end; infinite where the background efficiency is compatible with 0.
        reason: Why there is none; None where there is one. The numbers above mean nothing where there is none.
    """

    signal_efficiency: float
    value: float
    low: float
    high: float
    reason: str | None


def rejections(
    classes: TwoClasses, signal_efficiencies: Sequence[float], *, confidence_level: float, min_jets: float
) -> list[Rejection]:
    """Returns the rejection at each of the signal efficiencies.

    It is the working point of the mirrored problem: the background is found among the signal by its low scores, and the
    signal that fails is what is mistaken for it. So thresholds and intervals are those of
    :func:`~honeyguide.evaluation.working_points.working_points`.

    Args:
        classes: The scores.
        signal_efficiencies: Between 0 and 1.
        confidence_level: Of the interval.
        min_jets: Effective signal jets that have to fail for a defined point.
    """
    last = len(classes.values) - 1
    mirrored = TwoClasses(
        values=-classes.values[::-1],
        signal_group=last - classes.background_group,
        background_group=last - classes.signal_group,
        signal_weight=classes.background_weight,
        background_weight=classes.signal_weight,
    )
    targets = tuple(1 - efficiency for efficiency in signal_efficiencies)
    points = working_points(
        roc_curve(mirrored), targets, confidence_level=confidence_level, min_background_events=min_jets
    )
    found = []
    for efficiency, point in zip(signal_efficiencies, points, strict=True):
        value, low, high = (_inverse(1 - x) for x in (point.signal_efficiency, point.low, point.high))
        reason = None if point.reason is None else "too few signal jets"
        found.append(Rejection(efficiency, value, low, high, reason))
    return found


def _inverse(efficiency: float) -> float:
    return float(np.inf) if efficiency < 1e-12 else 1 / efficiency

"""All numbers of one ROC curve, and their JSON form."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from honeyguide.evaluation.auc import Estimate, delong
from honeyguide.evaluation.bootstrap import bootstrap, interval
from honeyguide.evaluation.distributions import Distributions
from honeyguide.evaluation.roc import Floats, RocCurve, TwoClasses, roc_curve, thin
from honeyguide.evaluation.settings import RocSettings
from honeyguide.evaluation.working_points import (
    SignificanceImprovement,
    WorkingPoint,
    defined,
    signal_band,
    significance_improvement,
    working_points,
)


@dataclass(frozen=True)
class RocResult:
    """One ROC curve and what is read off it.

    Attributes:
        num_signal: Signal events with a weight above 0.
        num_background: Background events with a weight above 0.
        effective_signal: Effective number of signal events, (sum w)^2 / sum w^2.
        effective_background: The same of the background.
        auc: Area under the curve.
        working_points: Signal efficiencies at fixed background efficiencies.
        significance: Maximum significance improvement, None where the background carries no point.
        min_background_events: Effective background events that a defined point needs.
        curve: The curve, thinned for storage.
        low: Lower end of the interval of the signal efficiency at each point of ``curve``.
        high: Upper end.
    """

    num_signal: int
    num_background: int
    effective_signal: float
    effective_background: float
    auc: Estimate
    working_points: tuple[WorkingPoint, ...]
    significance: SignificanceImprovement | None
    min_background_events: float
    curve: RocCurve
    low: Floats
    high: Floats

    def to_json(self) -> dict[str, Any]:
        """Returns the numbers (not the curve) as JSON types; what is not defined is null, with the reason."""
        empty = f"nowhere do {self.min_background_events:g} effective background events pass"
        return {
            "num_signal": self.num_signal,
            "num_background": self.num_background,
            "effective_signal": number(self.effective_signal),
            "effective_background": number(self.effective_background),
            "auc": _numbers(asdict(self.auc)),
            "signal_efficiencies": [_point(point) for point in self.working_points],
            "max_significance_improvement": _numbers(asdict(self.significance))
            if self.significance
            else {"value": None, "reason": empty},
        }


@dataclass(frozen=True)
class Spread:
    """Mean and spread of a number over the seeds of a training.

    Attributes:
        mean: Over the seeds; None where a seed has no such number.
        spread: Standard deviation over the seeds (n - 1); None for one seed.
        minimum: Smallest.
        maximum: Largest.
        reason: Why a number is None.
    """

    mean: float | None
    spread: float | None
    minimum: float | None
    maximum: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Entry:
    """The ROC curve of one training, seed, score and signal.

    Attributes:
        training: Label of the training.
        seed: The seed; its index where the seeds were given without their names.
        score: Name of the score.
        signal: Name of the signal point, or ``all signals``.
        result: Curve and numbers.
    """

    training: str
    seed: int
    score: str
    signal: str
    result: RocResult


@dataclass(frozen=True)
class Evaluation:
    """Everything that figures show.

    Attributes:
        entries: All curves.
        distributions: (training, score) to the score distributions of the first seed.
        settings: What they were made with.
    """

    entries: tuple[Entry, ...]
    distributions: Mapping[tuple[str, str], Distributions]
    settings: RocSettings

    def select(self, *, training: str | None = None, score: str, signal: str | None = None) -> list[Entry]:
        """Returns the entries of a score, of one training and signal where they are given, all seeds."""
        return [
            entry
            for entry in self.entries
            if entry.score == score and training in (None, entry.training) and signal in (None, entry.signal)
        ]

    def names(self, what: str) -> list[str]:
        """Returns the different values of ``training``, ``score`` or ``signal``, in their order."""
        return list(dict.fromkeys(getattr(entry, what) for entry in self.entries))


def roc_result(classes: TwoClasses, settings: RocSettings) -> RocResult:
    """Returns the ROC curve of two classes with all its numbers and their uncertainties."""
    curve = roc_curve(classes)
    need, level = settings.min_background_events, settings.confidence_level
    result = RocResult(
        num_signal=len(classes.signal_weight),
        num_background=len(classes.background_weight),
        effective_signal=1 / float(curve.signal_sumw2[-1]),
        effective_background=1 / float(curve.background_sumw2[-1]),
        auc=delong(classes, level),
        working_points=working_points(
            curve, settings.background_efficiencies, confidence_level=level, min_background_events=need
        ),
        significance=significance_improvement(curve, confidence_level=level, min_background_events=need),
        min_background_events=need,
        **_thinned(curve, settings),
    )
    return _bootstrapped(result, classes, curve, settings) if settings.method == "bootstrap" else result


def spread(values: Sequence[float | None]) -> Spread:
    """Returns mean, standard deviation, smallest and largest of a number over seeds."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return Spread(None, None, None, None, f"not defined in {len(values) - len(known)} of {len(values)} seeds")
    if len(known) == 1:
        return Spread(known[0], None, known[0], known[0], "one seed has no spread")
    return Spread(float(np.mean(known)), float(np.std(known, ddof=1)), min(known), max(known))


def number(value: float) -> float | str | None:
    """Returns a float as JSON can hold it: null for NaN, ``"inf"`` and ``"-inf"`` for the infinities."""
    if math.isnan(value):
        return None
    return float(value) if math.isfinite(value) else ("inf" if value > 0 else "-inf")


def _thinned(curve: RocCurve, settings: RocSettings) -> dict[str, Any]:
    small = thin(curve, settings.max_curve_points, settings.background_efficiencies)
    low, high, _, _ = signal_band(curve, small.background_efficiency, settings.confidence_level)
    # points of equal background efficiency share a band, which is that of the topmost
    return {"curve": small, "low": np.minimum(low, small.signal_efficiency), "high": high}


def _bootstrapped(result: RocResult, classes: TwoClasses, curve: RocCurve, settings: RocSettings) -> RocResult:
    level, targets = settings.confidence_level, settings.background_efficiencies
    ok = defined(curve, settings.min_background_events)
    lowest = float(curve.background_efficiency[ok].min()) if ok.any() else None
    replicas = bootstrap(
        classes, targets, num_replicas=settings.num_replicas, seed=settings.bootstrap_seed, lowest_efficiency=lowest
    )
    points = []
    for point, column in zip(result.working_points, replicas.signal_efficiency.T, strict=True):
        estimate = interval(point.signal_efficiency, column, level)
        points.append(replace(point, low=estimate.low, high=estimate.high))
    significance = result.significance
    if significance is not None:
        estimate = interval(significance.value, replicas.significance, level)
        significance = replace(significance, error=estimate.error, low=estimate.low, high=estimate.high)
    area = interval(result.auc.value, replicas.auc, level)
    return replace(result, auc=area, working_points=tuple(points), significance=significance)


def _point(point: WorkingPoint) -> dict[str, Any]:
    head = {"target_background_efficiency": point.target}
    values = {key: value for key, value in asdict(point).items() if key not in ("target", "reason")}
    if point.reason is not None:
        keep = {key: number(values[key]) for key in ("background_efficiency", "background_count")}
        return head | {"signal_efficiency": None, "reason": point.reason} | keep
    return head | _numbers(values)


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    return {key: number(value) for key, value in values.items()}

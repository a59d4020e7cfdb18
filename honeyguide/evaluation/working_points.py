"""Signal efficiency at fixed background efficiency, and significance improvement, with uncertainties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from honeyguide.evaluation.intervals import efficiency_interval, efficiency_variance
from honeyguide.evaluation.roc import Floats, RocCurve


@dataclass(frozen=True)
class WorkingPoint:
    """The signal efficiency at one background efficiency.

    Attributes:
        target: The background efficiency that was asked for.
        reason: Why the point is not defined; None where it is. The numbers below mean nothing where it is not.
        threshold: Exact: an event passes if score >= threshold; the lowest that does not exceed the target.
        background_efficiency: What it is at this threshold.
        background_count: Effective number of background events that pass.
        signal_efficiency: At this threshold.
        low: Lower end of the interval of the signal efficiency: statistics of the signal and of the threshold.
        high: Upper end.
        signal_low: Lower end from the statistics of the signal alone (what holds for this very threshold).
        signal_high: Upper end.
    """

    target: float
    reason: str | None
    threshold: float
    background_efficiency: float
    background_count: float
    signal_efficiency: float
    low: float
    high: float
    signal_low: float
    signal_high: float


@dataclass(frozen=True)
class SignificanceImprovement:
    """The maximum of the significance improvement, signal efficiency / sqrt(background efficiency).

    Attributes:
        value: The maximum over the thresholds where the curve is defined. It is chosen on these events, so it is
            biased upwards by a fraction of its error.
        error: Standard deviation at this threshold, from the statistics of signal and background.
        low: Lower end of the interval.
        high: Upper end.
        threshold: Where it is.
        signal_efficiency: At this threshold.
        background_efficiency: At this threshold.
        defined_from: Lowest background efficiency at which the curve is defined.
    """

    value: float
    error: float
    low: float
    high: float
    threshold: float
    signal_efficiency: float
    background_efficiency: float
    defined_from: float


def defined(curve: RocCurve, min_background_events: float) -> NDArray[np.bool_]:
    """Returns for each point whether enough effective background events pass, shape (num_points,)."""
    return curve.background_count >= min_background_events * (1 - 1e-9)


def signal_band(
    curve: RocCurve, background_efficiency: Floats, confidence_level: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Returns (low, high, signal_low, signal_high) of the signal efficiency at the given background efficiencies.

    Two sources are independent and combined in quadrature on each side: the finite signal (Clopper-Pearson with
    effective counts, ``signal_low``, ``signal_high``), and the threshold, which the finite background fixes only as
    well as its own efficiency is known: the Clopper-Pearson interval of the background efficiency, carried over to
    the signal efficiency by the curve itself (as Woodruff, JASA 47 (1952) 635, does for quantiles).
    """
    index = curve.point_at(background_efficiency)
    s = curve.signal_efficiency[index]
    b = curve.background_efficiency[index]
    low, high = efficiency_interval(s, curve.signal_sumw2[index], curve.signal_sumw2[-1], confidence_level)
    b_low, b_high = efficiency_interval(b, curve.background_sumw2[index], curve.background_sumw2[-1], confidence_level)
    down = s - curve.signal_efficiency[curve.point_at(b_low)]
    up = curve.signal_efficiency[curve.point_at(b_high)] - s
    return (
        np.clip(s - np.hypot(s - low, down), 0, 1),
        np.clip(s + np.hypot(high - s, up), 0, 1),
        low,
        high,
    )


def working_points(
    curve: RocCurve, targets: tuple[float, ...], *, confidence_level: float, min_background_events: float
) -> tuple[WorkingPoint, ...]:
    """Returns the signal efficiency at each target background efficiency, see :func:`signal_band` for the intervals.

    A point is not defined where fewer than ``min_background_events`` effective background events pass, or where ties
    or heavy events leave no threshold between half the target and the target.
    """
    goals = np.asarray(targets, float)
    index = curve.point_at(goals)
    low, high, signal_low, signal_high = signal_band(curve, goals, confidence_level)
    points = []
    for i, (target, at) in enumerate(zip(targets, index, strict=True)):
        actual, count = float(curve.background_efficiency[at]), float(curve.background_count[at])
        points.append(
            WorkingPoint(
                target=target,
                reason=_reason(curve, target, actual, count, min_background_events),
                threshold=float(curve.threshold[at]),
                background_efficiency=actual,
                background_count=count,
                signal_efficiency=float(curve.signal_efficiency[at]),
                low=float(low[i]),
                high=float(high[i]),
                signal_low=float(signal_low[i]),
                signal_high=float(signal_high[i]),
            )
        )
    return tuple(points)


def significance_curve(curve: RocCurve, min_background_events: float) -> Floats:
    """Returns signal efficiency / sqrt(background efficiency) at each point; NaN where it is not defined."""
    ok = defined(curve, min_background_events)
    root = np.sqrt(np.where(ok, curve.background_efficiency, 1))
    return np.where(ok, curve.signal_efficiency / root, np.nan)


def significance_improvement(
    curve: RocCurve, *, confidence_level: float, min_background_events: float
) -> SignificanceImprovement | None:
    """Returns the maximum significance improvement with its uncertainty, None where no point is defined.

    The relative error is sqrt((sigma_S / e_S)^2 + (sigma_B / e_B)^2 / 4) at the threshold of the maximum.
    """
    values = significance_curve(curve, min_background_events)
    if np.all(np.isnan(values)):
        return None
    at = int(np.nanargmax(values))
    s, b, value = curve.signal_efficiency[at], curve.background_efficiency[at], float(values[at])
    variance_s = float(efficiency_variance(s, curve.signal_sumw2[at], curve.signal_sumw2[-1]))
    variance_b = float(efficiency_variance(b, curve.background_sumw2[at], curve.background_sumw2[-1]))
    error = float(np.sqrt(variance_s / b + s**2 * variance_b / (4 * b**3)))
    half = float(ndtri((1 + confidence_level) / 2)) * error
    return SignificanceImprovement(
        value=value,
        error=error,
        low=max(value - half, 0.0),
        high=value + half,
        threshold=float(curve.threshold[at]),
        signal_efficiency=float(s),
        background_efficiency=float(b),
        defined_from=float(curve.background_efficiency[~np.isnan(values)].min()),
    )


def _reason(curve: RocCurve, target: float, actual: float, count: float, needed: float) -> str | None:
    if count < needed * (1 - 1e-9):
        total = 1 / float(curve.background_sumw2[-1])
        if total * target >= 2 * needed and actual < target / 2:
            return f"ties or heavy events: the next threshold below {target:g} has background efficiency {actual:.3g}"
        return f"{count:.3g} effective background events pass, {needed:g} are needed"
    if actual < target / 2:
        return f"ties or heavy events: the next threshold below {target:g} has background efficiency {actual:.3g}"
    return None

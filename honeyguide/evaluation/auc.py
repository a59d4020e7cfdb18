"""Area under the ROC curve and its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from honeyguide.evaluation.roc import TwoClasses

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    Attributes:
        value: The estimate.
        error: Standard deviation; NaN where the data do not carry one.
        low: Lower end of the confidence interval.
        high: Upper end.
    """

    value: float
    error: float
    low: float
    high: float


def auc(classes: TwoClasses) -> float:
    """Returns P(signal score > background score) + P(equal) / 2, the weighted Mann-Whitney statistic; in O(n log n)."""
    size = len(classes.values)
    signal = np.bincount(classes.signal_group, classes.signal_weight, size)
    return float(np.sum(signal * _midrank(classes.background_group, classes.background_weight, size)))


def delong(classes: TwoClasses, confidence_level: float) -> Estimate:
    """Returns the AUC with DeLong's error and a confidence interval.

    DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988) 837, computed from ranks as in Sun & Xu, IEEE Signal Process.
    Lett. 21 (2014) 1389, and generalised to weights w_i (sum 1) of the signal and v_j of the background. With the
    placements P_i = sum_j v_j [b_j < s_i] + [b_j = s_i] / 2 and Q_j = sum_i w_i [s_i > b_j] + [s_i = b_j] / 2,

        A = sum_i w_i P_i,   Var(A) = c_s sum_i w_i^2 (P_i - A)^2 + c_b sum_j v_j^2 (Q_j - A)^2,

    c = 1 / (1 - sum w^2): with equal weights n / (n - 1), and exactly DeLong's. A weight is a property of one event:
    an event of weight 2 has a larger error than two events. The interval is symmetric in logit(A), so it stays
    inside [0, 1]. At A = 1 (or 0) the variance is 0 and the interval ends at alpha^(1/m), m the smaller effective
    number of events: P(all pairs are in order) <= P(m independent pairs are) = A^m.
    """
    value, *parts = contributions(classes)
    error = float(np.sqrt(sum(float(part @ part) for part in parts)))
    if not np.isfinite(error):
        return Estimate(value, error, 0.0, 1.0)
    if value * (1 - value) < 1e-12:
        fewest = min(1 / np.sum(classes.signal_weight**2), 1 / np.sum(classes.background_weight**2))
        bound = float(((1 - confidence_level) / 2) ** (1 / fewest))
        return Estimate(value, error, *((bound, 1.0) if value > 0.5 else (0.0, 1 - bound)))
    half = ndtri((1 + confidence_level) / 2) * error / (value * (1 - value))
    return Estimate(value, error, float(expit(logit(value) - half)), float(expit(logit(value) + half)))


def contributions(classes: TwoClasses) -> tuple[float, Floats, Floats]:
    """Returns the AUC, and what each event adds to its error, signal first: the variance is the sum of their squares.

    That of the difference of two scores' AUCs on the same events is the sum of the squares of the differences: DeLong's
    variance with the covariance. NaN where one event carries all the weight.
    """
    size = len(classes.values)
    placements = _midrank(classes.background_group, classes.background_weight, size)[classes.signal_group]
    counter = 1 - _midrank(classes.signal_group, classes.signal_weight, size)[classes.background_group]
    value = float(np.clip(classes.signal_weight @ placements, 0, 1))
    signal = _unbiased(classes.signal_weight, placements - value)
    return value, signal, _unbiased(classes.background_weight, counter - value)


def _midrank(group: NDArray[np.int64], weight: Floats, size: int) -> Floats:
    """Returns, for each distinct score, the weight below it plus half the weight at it."""
    at = np.bincount(group, weight, size)
    return np.cumsum(at) - at / 2


def _unbiased(weight: Floats, deviation: Floats) -> Floats:
    sumw2 = float(np.sum(weight**2))
    if sumw2 > 1 - 1e-9:  # one event carries everything: no variance from one number
        return np.full(len(weight), np.nan)
    return np.asarray(weight * deviation / np.sqrt(1 - sumw2))

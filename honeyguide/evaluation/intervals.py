"""Confidence intervals of efficiencies, for counts and for weighted events."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv

Floats = NDArray[np.float64]


def clopper_pearson(passed: ArrayLike, total: ArrayLike, confidence_level: float) -> tuple[Floats, Floats]:
    """Returns the central Clopper-Pearson interval (low, high) of the efficiency ``passed / total``.

    Biometrika 26 (1934) 404; the coverage is never below the confidence level. Counts may be real numbers (effective
    counts), for which the same Beta quantiles are an interpolation.

    Args:
        passed: Number that passed, any shape.
        total: Number of trials, same shape.
        confidence_level: Between 0 and 1.
    """
    k, n = np.broadcast_arrays(np.asarray(passed, float), np.asarray(total, float))
    alpha = (1 - confidence_level) / 2
    # a = 0 or b = 0 is no Beta distribution: the limits there are 0 and 1
    low = np.where(k > 0, betaincinv(np.where(k > 0, k, 1), n - k + 1, alpha), 0.0)
    high = np.where(k < n, betaincinv(k + 1, np.where(k < n, n - k, 1), 1 - alpha), 1.0)
    return low, high


def efficiency_variance(efficiency: ArrayLike, sumw2_passed: ArrayLike, sumw2: ArrayLike) -> Floats:
    """Returns the variance of a weighted efficiency, ((1 - e)^2 S_pass + e^2 S_fail).

    Args:
        efficiency: Sum of the weights that pass over the sum of all weights.
        sumw2_passed: Sum of the squared weights that pass over the square of the sum of all weights.
        sumw2: The same of all events; 1 / sumw2 is the effective number of events.
    """
    e, passed = np.asarray(efficiency, float), np.asarray(sumw2_passed, float)
    return np.asarray((1 - e) ** 2 * passed + e**2 * np.clip(np.asarray(sumw2, float) - passed, 0, None))


def efficiency_interval(
    efficiency: ArrayLike, sumw2_passed: ArrayLike, sumw2: ArrayLike, confidence_level: float
) -> tuple[Floats, Floats]:
    """Returns the interval (low, high) of a weighted efficiency: Clopper-Pearson with effective counts.

    The effective number of trials is that of a binomial with the variance of :func:`efficiency_variance`,
    n = e (1 - e) / variance, which accounts for weights that differ between the events that pass and that fail; at
    e = 0 and 1 it is (sum w)^2 / sum w^2. With equal weights this is the exact Clopper-Pearson interval.
    """
    e = np.clip(np.asarray(efficiency, float), 0, 1)
    variance = efficiency_variance(e, sumw2_passed, sumw2)
    inner = (e * (1 - e) > 1e-14) & (variance > 0)
    trials = np.where(inner, e * (1 - e) / np.where(inner, variance, 1), 1 / np.asarray(sumw2, float))
    low, high = clopper_pearson(e * trials, trials, confidence_level)
    return np.minimum(low, e), np.maximum(high, e)

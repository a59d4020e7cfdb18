"""Scalers that are fitted on quantiles or likelihoods, from a sample of bounded size drawn by hash."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.preprocess.scalers import LARGEST_EXPONENT, Linear, Sampled, Values

Keys = NDArray[np.uint64]
QUANTILES = 1000
_EDGE = 1e-7 - np.spacing(1.0)  # probability at which scikit-learn, too, ends the normal quantile function


class KeySample:
    """The ``size`` values with the smallest keys of a stream: the same whatever its order and blocks.

    Keys are hashes, so that this is a uniform sample without replacement; all values where there are fewer.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: list[NDArray[np.float64]] = []
        self._keys: list[Keys] = []
        self._held = 0
        self._limit = np.uint64(2**64 - 1)

    def add(self, values: Values, keys: Keys) -> None:
        """Takes a block of values, shape (num_values,), with their keys."""
        chosen = keys <= self._limit
        self._values.append(np.asarray(values, dtype=np.float64)[chosen])
        self._keys.append(keys[chosen])
        self._held += len(self._keys[-1])
        if self._held > 2 * self._size:
            self._prune()

    def sorted_values(self) -> NDArray[np.float64]:
        """Returns the sample in ascending order, shape (at most size,)."""
        if self._held > self._size:
            self._prune()
        return np.sort(np.concatenate(self._values)) if self._values else np.empty(0)

    def _prune(self) -> None:
        values, keys = np.concatenate(self._values), np.concatenate(self._keys)
        smallest = np.argpartition(keys, self._size - 1)[: self._size]
        self._values, self._keys = [values[smallest]], [keys[smallest]]
        self._held = self._size
        self._limit = self._keys[0].max()


class Robust(Linear, Sampled):
    """(value - median) / (95 % quantile - 5 % quantile)."""

    name = "robust"

    def fit_sorted(self, sample: NDArray[np.float64]) -> None:
        """Sets median and range."""
        low, median, high = np.quantile(sample, [0.05, 0.5, 0.95])
        self._set(median, high - low)


class Percentile(Linear, Sampled):
    """(value - median) / the larger of the distances from it to the 16 % and the 84 % quantile: weaver's "auto"."""

    name = "percentile"

    def fit_sorted(self, sample: NDArray[np.float64]) -> None:
        """Sets median and distance."""
        low, median, high = np.quantile(sample, [0.16, 0.5, 0.84])
        self._set(median, max(high - median, median - low))


class Power(Linear, Sampled):
    """Yeo and Johnson's power transformation (Biometrika 87, 954, 2000) of maximum likelihood, then standard."""

    name = "power"

    def __init__(self) -> None:
        super().__init__()
        self.exponent = 1.0

    def fit_sorted(self, sample: NDArray[np.float64]) -> None:
        """Sets the exponent, and mean and standard deviation after it,."""
        from scipy.stats import yeojohnson_normmax  # scipy.stats costs a second to import, and few fits need it

        if sample[0] != sample[-1]:
            self.exponent = float(yeojohnson_normmax(sample))
        bent = self._bend(sample)
        self._set(bent.mean(), bent.std())

    def transform(self, values: Values) -> Values:
        """Returns the bent and standardised values."""
        return super().transform(self._bend(np.asarray(values, dtype=np.float64)))

    def inverse(self, scaled: Values) -> Values:
        """Returns the values; what lies beyond the range of the transformation becomes its very end."""
        bent = super().inverse(scaled)
        positive = bent >= 0
        exponent = np.where(positive, self.exponent, 2.0 - self.exponent)
        size = np.abs(bent)
        inner = np.maximum(exponent * size, np.finfo(float).eps - 1.0)
        grown = np.where(exponent == 0, size, np.log1p(inner) / np.where(exponent == 0, 1.0, exponent))
        values: Values = np.expm1(np.minimum(grown, LARGEST_EXPONENT))
        return np.copysign(values, bent, out=values)

    def log_jacobian(self, values: Values) -> Values:
        """Returns sign(value) (exponent - 1) log(1 + |value|) - log(scale)."""
        values = np.asarray(values, dtype=np.float64)
        sign = np.where(values >= 0, 1.0, -1.0)
        jacobian: Values = sign * (self.exponent - 1.0) * np.log1p(np.abs(values)) - np.log(self.scale)
        return jacobian

    def state(self) -> dict[str, Any]:
        """Returns exponent, shift and scale."""
        return {"exponent": self.exponent, **super().state()}

    def _bend(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        # ((1 + |x|)^p - 1) / p with p = exponent for x >= 0 and 2 - exponent below; log(1 + |x|) where p = 0
        exponent = np.where(values >= 0, self.exponent, 2.0 - self.exponent)
        grown = np.log1p(np.abs(values))
        bent = np.where(exponent == 0, grown, np.expm1(exponent * grown) / np.where(exponent == 0, 1.0, exponent))
        return np.copysign(bent, values)


class Quantile(Sampled):
    """The normal quantile of the fitted distribution function, which is linear between (at most) 1000 quantiles.

    Values that occur often get the middle of their step. Beyond the fitted range the map goes on with the slope
    1 / range, so that outliers stay apart and can be inverted; scikit-learn cuts them off there.
    """

    name = "quantile"

    def __init__(self) -> None:
        self.knots: list[float] = [0.0]
        self.probabilities: list[float] = [0.5]

    def fit_sorted(self, sample: NDArray[np.float64]) -> None:
        """Sets the quantiles."""
        probabilities = np.linspace(0.0, 1.0, min(QUANTILES, len(sample)))
        knots = np.maximum.accumulate(np.quantile(sample, probabilities))
        distinct, first, counts = np.unique(knots, return_index=True, return_counts=True)
        self.knots = distinct.tolist()
        self.probabilities = ((probabilities[first] + probabilities[first + counts - 1]) / 2).tolist()

    def transform(self, values: Values) -> Values:
        """Returns normally distributed values."""
        from scipy.special import ndtri

        values = np.asarray(values, dtype=np.float64)
        scaled: Values = ndtri(np.clip(np.interp(values, self.knots, self.probabilities), _EDGE, 1 - _EDGE))
        beyond = values - np.clip(values, self.knots[0], self.knots[-1])
        scaled += beyond / self._range
        return scaled

    def inverse(self, scaled: Values) -> Values:
        """Returns the values."""
        from scipy.special import ndtr, ndtri

        scaled = np.asarray(scaled, dtype=np.float64)
        low, high = ndtri(np.clip([self.probabilities[0], self.probabilities[-1]], _EDGE, 1 - _EDGE))
        values: Values = np.interp(ndtr(scaled), self.probabilities, self.knots)
        values = np.where(scaled <= low, self.knots[0], np.where(scaled >= high, self.knots[-1], values))
        beyond = scaled - np.clip(scaled, low, high)
        values = values + beyond * self._range
        return values

    def log_jacobian(self, values: Values) -> Values:
        """Returns the log of the fitted density over the normal density; that of the slope beyond the range."""
        from scipy.special import ndtri

        values = np.asarray(values, dtype=np.float64)
        outside = np.full(values.shape, -np.log(self._range))
        if len(self.knots) == 1:
            return outside
        segment = np.clip(np.searchsorted(self.knots, values, side="right") - 1, 0, len(self.knots) - 2)
        density = np.diff(self.probabilities) / np.diff(self.knots)
        normal = ndtri(np.clip(np.interp(values, self.knots, self.probabilities), _EDGE, 1 - _EDGE))
        jacobian = np.log(density[segment]) + 0.5 * normal**2 + 0.5 * np.log(2 * np.pi)
        beyond = (values < self.knots[0]) | (values > self.knots[-1])
        return np.where(beyond, outside, jacobian)

    def state(self) -> dict[str, Any]:
        """Returns the quantiles and their probabilities."""
        return {"knots": self.knots, "probabilities": self.probabilities}

    @property
    def _range(self) -> float:
        return (self.knots[-1] - self.knots[0]) or 1.0

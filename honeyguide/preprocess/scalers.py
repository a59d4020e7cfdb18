"""Scalers: fitted in a stream, invertible, with the logarithm of their Jacobian, kept as JSON.

All are unweighted: they set the numerical range that a network sees, and generator weights span fourteen orders of
magnitude. Numbers are float64 throughout. A feature that is constant in the fit keeps its scale (scale 1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
LARGEST_EXPONENT = 700.0
"""The exponential of this is near the largest float64."""


class Scaler(ABC):
    """One invertible map of one feature.

    Those that learn from data are :class:`Streamed` or :class:`Sampled` as well.
    """

    name: ClassVar[str]

    @property
    def num_outputs(self) -> int:
        """Number of columns that one value becomes."""
        return 1

    @abstractmethod
    def transform(self, values: Values) -> Values:
        """Returns the scaled values: (num_values,), or (num_values, num_outputs) where one value becomes several."""

    @abstractmethod
    def inverse(self, scaled: Values) -> Values:
        """Returns the values (num_values,) that were scaled."""

    @abstractmethod
    def log_jacobian(self, values: Values) -> Values:
        """Returns log|d scaled / d value| at each value, shape (num_values,)."""

    def state(self) -> dict[str, Any]:
        """Returns what the fit has found, as JSON types; floats survive the round trip to the bit."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over the fit that :meth:`state` described."""
        for key, value in state.items():
            setattr(self, key, value)


class Streamed(Scaler):
    """A scaler that is fitted block by block: any number of ``partial_fit``, then ``finish``."""

    @abstractmethod
    def partial_fit(self, values: Values) -> None:
        """Takes a block of finite values, shape (num_values,), into account; it is not empty."""

    @abstractmethod
    def finish(self) -> None:
        """Ends the fit; there was at least one value."""


class Sampled(Scaler):
    """A scaler that is fitted on a sample of the values."""

    @abstractmethod
    def fit_sorted(self, sample: NDArray[np.float64]) -> None:
        """Fits to a sample in ascending order, shape (num_values,), of at least one finite value."""


class Linear(Scaler):
    """Base of the scalers of the form (value - shift) / scale."""

    def __init__(self) -> None:
        self.shift = 0.0
        self.scale = 1.0

    def transform(self, values: Values) -> Values:
        """Returns (values - shift) / scale."""
        scaled: Values = (_float64(values) - self.shift) / self.scale
        return scaled

    def inverse(self, scaled: Values) -> Values:
        """Returns scaled * scale + shift."""
        values: Values = _float64(scaled) * self.scale + self.shift
        return values

    def log_jacobian(self, values: Values) -> Values:
        """Returns -log(scale) for every value."""
        return np.full(np.shape(values), -np.log(self.scale))

    def state(self) -> dict[str, Any]:
        """Returns shift and scale."""
        return {"shift": self.shift, "scale": self.scale}

    def _set(self, shift: float, scale: float) -> None:
        """Scales below the rounding error of the shift are those of a constant feature."""
        self.shift = float(shift)
        self.scale = float(scale) if scale > 16 * np.finfo(float).eps * abs(shift) else 1.0


class Standard(Linear, Streamed):
    """(value - mean) / standard deviation; blocks are merged exactly (Chan, Golub and LeVeque, 1983)."""

    name = "standard"

    def __init__(self) -> None:
        super().__init__()
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0

    def partial_fit(self, values: Values) -> None:
        """Merges the mean and the squared deviations of a block."""
        values = _float64(values)
        count, mean = len(values), float(values.mean())
        squares = float(np.square(values - mean).sum())
        total, distance = self._count + count, mean - self._mean
        self._mean += distance * count / total
        self._squares += squares + distance**2 * self._count * count / total
        self._count = total

    def finish(self) -> None:
        """Sets mean and standard deviation (of the population, as scikit-learn does)."""
        self._set(self._mean, (self._squares / self._count) ** 0.5)


class _Extremes(Linear, Streamed):
    def __init__(self) -> None:
        super().__init__()
        self._low = np.inf
        self._high = -np.inf

    def partial_fit(self, values: Values) -> None:
        """Widens the range to a block."""
        self._low = min(self._low, float(values.min()))
        self._high = max(self._high, float(values.max()))


class MinMax(_Extremes):
    """(value - minimum) / (maximum - minimum); values beyond the fitted range leave [0, 1]."""

    name = "minmax"

    def finish(self) -> None:
        """Sets minimum and range."""
        self._set(self._low, self._high - self._low)


class MaxAbs(_Extremes):
    """Value / largest absolute value."""

    name = "maxabs"

    def finish(self) -> None:
        """Sets the largest absolute value."""
        self._set(0.0, max(abs(self._low), abs(self._high)))


class L2(Linear, Streamed):
    """Value / Euclidean norm of the feature over all fitted values (BEAD's meaning: the norm of the column)."""

    name = "l2"

    def __init__(self) -> None:
        super().__init__()
        self._squares = 0.0

    def partial_fit(self, values: Values) -> None:
        """Adds the squares of a block."""
        self._squares += float(np.square(_float64(values)).sum())

    def finish(self) -> None:
        """Sets the norm."""
        self._set(0.0, self._squares**0.5)


class Affine(Scaler):
    """(value - center) * scale, given and not fitted, clipped to [low, high]."""

    name = "affine"

    def __init__(self, center: float = 0.0, scale: float = 1.0, clip: tuple[float, float] | None = None) -> None:
        self.center = center
        self.scale = scale
        self.clip = clip

    def transform(self, values: Values) -> Values:
        """Returns the scaled and clipped values."""
        scaled: Values = (_float64(values) - self.center) * self.scale
        return scaled if self.clip is None else np.clip(scaled, *self.clip)

    def inverse(self, scaled: Values) -> Values:
        """Returns scaled / scale + center; of what was clipped the value where the clipping begins."""
        scaled = _float64(scaled)
        values: Values = (scaled if self.clip is None else np.clip(scaled, *self.clip)) / self.scale + self.center
        return values

    def log_jacobian(self, values: Values) -> Values:
        """Returns log|scale|, and -inf where values are clipped."""
        scaled = (_float64(values) - self.center) * self.scale
        low, high = self.clip or (-np.inf, np.inf)
        return np.where((scaled < low) | (scaled > high), -np.inf, np.log(abs(self.scale)))

    def state(self) -> dict[str, Any]:
        """Returns center, scale and clip."""
        return {"center": self.center, "scale": self.scale, "clip": None if self.clip is None else list(self.clip)}


class Log(Scaler):
    """sign(value) * log(1 + |value|): log1p for what is positive, continued as an odd function to what is not."""

    name = "log"

    def transform(self, values: Values) -> Values:
        """Returns the signed log1p."""
        values = _float64(values)
        scaled: Values = np.log1p(np.abs(values))
        return np.copysign(scaled, values, out=scaled)

    def inverse(self, scaled: Values) -> Values:
        """Returns the signed expm1; what a model makes up beyond the range of float64 becomes its end."""
        scaled = _float64(scaled)
        values: Values = np.expm1(np.minimum(np.abs(scaled), LARGEST_EXPONENT))
        return np.copysign(values, scaled, out=values)

    def log_jacobian(self, values: Values) -> Values:
        """Returns -log(1 + |value|)."""
        jacobian: Values = -np.log1p(np.abs(_float64(values)))
        return jacobian


class SinCos(Scaler):
    """(sin, cos) of an angle in radians: no jump at pi.

    The values keep their precision (float32 in, float32 out), since sine and cosine are bounded.
    """

    name = "sincos"

    @property
    def num_outputs(self) -> int:
        """Two: sine and cosine."""
        return 2

    def transform(self, values: Values) -> Values:
        """Returns sine and cosine, shape (num_values, 2)."""
        return np.stack([np.sin(values), np.cos(values)], axis=-1)

    def inverse(self, scaled: Values) -> Values:
        """Returns the angle in (-pi, pi] from shape (num_values, 2), whatever the radius."""
        angle: Values = np.arctan2(scaled[..., 0], scaled[..., 1])
        return angle

    def log_jacobian(self, values: Values) -> Values:
        """Returns 0: the map onto the unit circle keeps lengths."""
        return np.zeros(np.shape(values))


class OneHot(Scaler):
    """One column per category, 1 where the code is that category."""

    name = "onehot"

    def __init__(self, num_categories: int = 0) -> None:
        self.num_categories = num_categories

    @property
    def num_outputs(self) -> int:
        """Number of categories."""
        return self.num_categories

    def transform(self, values: Values) -> Values:
        """Returns shape (num_values, num_categories), float32."""
        columns: Values = (np.asarray(values)[..., None] == np.arange(self.num_categories)).astype(np.float32)
        return columns

    def inverse(self, scaled: Values) -> Values:
        """Returns the code of the largest column."""
        codes: Values = np.argmax(scaled, axis=-1).astype(np.float64)
        return codes

    def log_jacobian(self, values: Values) -> Values:
        """Returns 0: categories have no density."""
        return np.zeros(np.shape(values))

    def state(self) -> dict[str, Any]:
        """Returns the number of categories."""
        return {"num_categories": self.num_categories}


def _float64(values: Values) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)

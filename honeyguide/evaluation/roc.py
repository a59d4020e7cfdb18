"""ROC curves of weighted events, with exact thresholds."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from honeyguide.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TwoClasses:
    """Scores of signal and background on one scale: every distinct score is a *group*, so that ties are exact.

    Attributes:
        values: Distinct scores, ascending, shape (num_groups,).
        signal_group: Group of each signal event.
        background_group: Group of each background event.
        signal_weight: Weights of the signal events, sum 1.
        background_weight: Weights of the background events, sum 1.
    """

    values: Floats
    signal_group: Ints
    background_group: Ints
    signal_weight: Floats
    background_weight: Floats


@dataclass(frozen=True)
class RocCurve:
    """A ROC curve: one point per distinct score, from "nothing passes" to "everything passes".

    An event passes if its score >= threshold. At point 0 nothing passes, whatever the scores are (its threshold is
    written as +inf, as scikit-learn does; events with a score of +inf pass at point 1, whose threshold is +inf, too).

    Attributes:
        threshold: Shape (num_points,), not ascending.
        signal_efficiency: Weighted fraction of the signal that passes.
        background_efficiency: Weighted fraction of the background that passes.
        signal_sumw2: Sum of the squared weights that pass over the square of the sum of all weights.
        background_sumw2: The same of the background.
    """

    threshold: Floats
    signal_efficiency: Floats
    background_efficiency: Floats
    signal_sumw2: Floats
    background_sumw2: Floats

    def __len__(self) -> int:
        return len(self.threshold)

    @property
    def background_count(self) -> Floats:
        """Effective number of background events that pass at each point, (sum w)^2 / sum w^2; 0 where none passes."""
        safe = np.where(self.background_sumw2 > 0, self.background_sumw2, 1)
        return np.where(self.background_sumw2 > 0, self.background_efficiency**2 / safe, 0.0)

    def point_at(self, background_efficiency: ArrayLike) -> Ints:
        """Returns the index of the lowest threshold whose background efficiency does not exceed the given ones."""
        target = np.asarray(background_efficiency, float) * (1 + 1e-9)  # a sum of weights carries rounding
        return np.asarray(np.searchsorted(self.background_efficiency, target, side="right") - 1)

    def take(self, index: Ints) -> RocCurve:
        """Returns the curve with the given points alone."""
        return RocCurve(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


def two_classes(
    signal: ArrayLike,
    background: ArrayLike,
    signal_weight: ArrayLike | None = None,
    background_weight: ArrayLike | None = None,
) -> TwoClasses:
    """Returns the scores of the two classes as groups of equal score; infinite scores are ordered like any other.

    Events of weight 0 are left out. Negative weights are an error: with them efficiencies are not monotonic in the
    threshold, and neither quantiles nor intervals are defined.

    Raises:
        DataError: A class is empty or carries no weight; scores are NaN; weights are negative or not finite.
    """
    s, w = _checked(signal, signal_weight, "signal")
    b, v = _checked(background, background_weight, "background")
    values, group = np.unique(np.concatenate([s, b]), return_inverse=True)
    return TwoClasses(values, group[: len(s)], group[len(s) :], w, v)


def roc_curve(classes: TwoClasses) -> RocCurve:
    """Returns the ROC curve of the two classes, exact: one point per distinct score."""
    size = len(classes.values)

    def passing(group: Ints, weight: Floats) -> Floats:
        sums = np.bincount(group, weight, size)[::-1]
        return np.concatenate([[0.0], np.cumsum(sums)])

    signal = passing(classes.signal_group, classes.signal_weight)
    background = passing(classes.background_group, classes.background_weight)
    return RocCurve(
        threshold=np.concatenate([[np.inf], classes.values[::-1]]),
        signal_efficiency=signal / signal[-1],
        background_efficiency=background / background[-1],
        signal_sumw2=passing(classes.signal_group, classes.signal_weight**2),
        background_sumw2=passing(classes.background_group, classes.background_weight**2),
    )


def thin(curve: RocCurve, max_points: int, keep_efficiencies: ArrayLike = ()) -> RocCurve:
    """Returns the curve with at most about ``max_points`` points, for storage and figures.

    First without loss: points on a vertical or horizontal line between their neighbours go. If more than
    ``max_points`` corners are left, points are taken in equal steps of the signal efficiency, of the background
    efficiency, and of its logarithm; the ends and the points at ``keep_efficiencies`` stay in any case.
    """
    s, b = curve.signal_efficiency, curve.background_efficiency
    flat = np.zeros(len(curve), bool)
    flat[1:-1] = ((s[2:] == s[1:-1]) & (s[1:-1] == s[:-2])) | ((b[2:] == b[1:-1]) & (b[1:-1] == b[:-2]))
    wanted = curve.point_at(np.asarray(keep_efficiencies, float).reshape(-1))
    corners = np.union1d(np.flatnonzero(~flat), wanted)
    if len(corners) <= max_points:
        return curve.take(corners)
    third = max_points // 3
    first = b[b > 0][0]
    steps = np.concatenate([np.linspace(0, 1, third), np.geomspace(first, 1, third)])
    index = np.union1d(curve.point_at(steps), np.searchsorted(s, np.linspace(0, 1, third)).clip(max=len(s) - 1))
    return curve.take(np.union1d(np.union1d(index, wanted), [0, len(curve) - 1]))


def _checked(scores: ArrayLike, weights: ArrayLike | None, name: str) -> tuple[Floats, Floats]:
    s = np.asarray(scores, np.float64)
    w = np.ones(s.shape) if weights is None else np.asarray(weights, np.float64)
    if s.ndim != 1 or w.shape != s.shape:
        raise DataError(f"scores and weights of the {name} must be 1-D and of equal length", got=(s.shape, w.shape))
    if not len(s):
        raise DataError(f"a ROC curve needs {name} events, there are none", hint="is this sample in the dataset?")
    if count := int(np.isnan(s).sum()):
        raise DataError(f"{count} of {len(s)} scores of the {name} are NaN", hint="did the training diverge?")
    if count := int((~np.isfinite(w)).sum()):
        raise DataError(f"{count} of {len(w)} event weights of the {name} are not finite")
    if count := int((w < 0).sum()):
        raise DataError(
            f"{count} of {len(w)} event weights of the {name} are negative: efficiencies would not be monotonic",
            hint="evaluate without weights (weighted: false), or with positively resampled events",
        )
    if not w.any():
        raise DataError(f"all {len(w)} event weights of the {name} are 0")
    keep = w > 0
    w = w[keep] / w.max()  # weights may be as small or large as generators like: no overflow in their squares
    return s[keep], w / w.sum()

"""Areas under ROC curves of several scores of the same jets, and the errors of their differences."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from honeyguide.evaluation.auc import contributions
from honeyguide.evaluation.discriminators import Discriminator
from honeyguide.evaluation.efficiencies import Bools, Floats, Jets
from honeyguide.evaluation.roc import two_classes

MACRO = "macro"


@dataclass(frozen=True)
class Area:
    """An area under a ROC curve, or a mean of several.

    Attributes:
        value: The area.
        parts: What each jet adds to its error, shape (num_jets,), 0 for a jet that is in neither class.
    """

    value: float
    parts: Floats

    @property
    def error(self) -> float:
        """DeLong's standard deviation of the area."""
        return float(np.sqrt(np.sum(self.parts**2)))


@dataclass(frozen=True)
class Difference:
    """Of two areas of the same jets, the first minus the second.

    Attributes:
        value: The difference.
        error: Its standard deviation; the jets being the same, it is smaller than that of two samples.
        p_value: Probability of a difference as large, either way, if there were none; 1 for two equal scores.
    """

    value: float
    error: float
    p_value: float


def area(values: Floats, jets: Jets, *, signal: Bools, background: Bools) -> Area:
    """Returns the area under the ROC curve of a score with what each jet adds to its error, after DeLong.

    Args:
        values: The score of each jet, larger for more signal-like, shape (num_jets,).
        jets: The jets, for their weights.
        signal: Which jets are the signal.
        background: Which jets are the background.

    Raises:
        DataError: A class is empty or carries no weight; a score is NaN.
    """
    counts = jets.weight > 0
    chosen = [signal & counts, background & counts]
    classes = two_classes(*(values[mask] for mask in chosen), *(jets.weight[mask] for mask in chosen))
    value, *found = contributions(classes)
    parts = np.zeros(len(jets))
    for mask, part in zip(chosen, found, strict=True):
        parts[mask] += part
    return Area(value, parts)


def mean(areas: Sequence[Area]) -> Area:
    """Returns the mean of some areas."""
    return Area(float(np.mean([a.value for a in areas])), np.mean([a.parts for a in areas], axis=0))


def difference(first: Area, second: Area) -> Difference:
    """Returns the difference of two areas of the same jets."""
    value, error = first.value - second.value, float(np.sqrt(np.sum((first.parts - second.parts) ** 2)))
    if error == 0:
        return Difference(value, error, 1.0 if value == 0 else 0.0)
    return Difference(value, error, math.erfc(abs(value) / error / math.sqrt(2)))


def all_areas(
    probabilities: Floats,
    jets: Jets,
    classes: Sequence[str],
    *,
    discriminators: Mapping[str, Discriminator],
    members: Mapping[str, Sequence[str]],
) -> dict[str, Area]:
    """Returns the area of each discriminator, and as ``macro`` the mean over the classes of each against all others.

    A discriminator, or a class, of which there are no jets is left out.

    Args:
        probabilities: Of each class, shape (num_jets, num_classes).
        jets: The jets.
        classes: Names of the columns of the probabilities.
        discriminators: By name.
        members: Class to its truths; a class that is not named is its own truth.
    """
    known = jets.truth >= 0
    found = {}
    for name, one in discriminators.items():
        signal, background = one.is_signal(jets.truth), one.is_background(jets.truth)
        if _both(signal, background, jets):
            found[name] = area(one.values(probabilities), jets, signal=signal, background=background)
    codes = {name: members.get(name) or (name,) for name in classes}
    everyone = {truth for truths in codes.values() for truth in truths}
    in_a_class = known & np.isin(jets.truth, [c for c, truth in enumerate(jets.truths) if truth in everyone])
    each = []
    for column, name in enumerate(classes):
        signal = np.isin(jets.truth, [c for c, truth in enumerate(jets.truths) if truth in codes[name]])
        if _both(signal, in_a_class & ~signal, jets):
            each.append(area(probabilities[:, column], jets, signal=signal, background=in_a_class & ~signal))
    return found | ({MACRO: mean(each)} if each else {})


def _both(signal: Bools, background: Bools, jets: Jets) -> bool:
    return bool((signal & (jets.weight > 0)).any() and (background & (jets.weight > 0)).any())

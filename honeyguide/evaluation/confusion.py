"""Confusion matrix of a tagger: which class jets of each truth are taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from honeyguide.errors import DataError
from honeyguide.evaluation.discriminators import checked_probabilities
from honeyguide.evaluation.efficiencies import Efficiencies, Floats, Ints, Jets, truth_efficiencies


@dataclass(frozen=True)
class ConfusionMatrix:
    """Fractions of the jets of each truth that are taken for each class.

    Attributes:
        truths: Names of the rows.
        classes: Names of the columns.
        sumw: Sums of weights, shape (num_truths, num_classes).
        fractions: Every row has sum 1, with intervals; selections are the classes, cells (num_truths,). NaN for truths
            with too few jets.
    """

    truths: tuple[str, ...]
    classes: tuple[str, ...]
    sumw: Floats
    fractions: Efficiencies

    def to_json(self) -> dict[str, Any]:
        """Returns everything as JSON types, fractions by truth and class; null with the reason where not defined."""
        return {
            "truths": list(self.truths),
            "classes": list(self.classes),
            "sums_of_weights": self.sumw.tolist(),
            "fractions": {
                truth: {name: self.fractions.to_json(column, row) for column, name in enumerate(self.classes)}
                for row, truth in enumerate(self.truths)
            },
        }


def confusion_matrix(
    probabilities: ArrayLike, jets: Jets, classes: Sequence[str], *, confidence_level: float, min_jets: float
) -> ConfusionMatrix:
    """Returns the confusion matrix, normalised by row, of taking each jet for its most probable class.

    Args:
        probabilities: Of each class, shape (num_jets, num_classes). Of equally probable classes the first is taken.
        jets: The jets; those without truth count nowhere. Truths may be others than the classes.
        classes: The names of the columns of the probabilities.
        confidence_level: Of the intervals.
        min_jets: Effective jets that a defined row needs.

    Raises:
        DataError: Another number of jets or classes; probabilities are negative or not finite.
    """
    p = checked_probabilities(probabilities, len(classes))
    if len(p) != len(jets):
        raise DataError("probabilities and jets differ in number", got=(len(p), len(jets)))
    chosen: Ints = p.argmax(1)
    passed = np.arange(len(classes))[:, None] == chosen
    known = jets.truth >= 0
    cell = np.ravel_multi_index((jets.truth[known], chosen[known]), (len(jets.truths), len(classes)))
    sumw = np.bincount(cell, jets.weight[known], len(jets.truths) * len(classes))
    return ConfusionMatrix(
        truths=jets.truths,
        classes=tuple(classes),
        sumw=np.asarray(sumw, np.float64).reshape(len(jets.truths), len(classes)),
        fractions=truth_efficiencies(passed, jets, confidence_level=confidence_level, min_jets=min_jets),
    )

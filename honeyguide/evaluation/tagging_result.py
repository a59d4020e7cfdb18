"""What comes of the evaluation of taggers, for figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from honeyguide.evaluation.confusion import ConfusionMatrix
from honeyguide.evaluation.discriminators import Discriminator
from honeyguide.evaluation.distributions import Distributions
from honeyguide.evaluation.efficiencies import Floats, Jets
from honeyguide.evaluation.tagging_curves import TaggingCurve
from honeyguide.evaluation.tagging_points import TaggingPoints
from honeyguide.evaluation.tagging_settings import TaggingSettings


@dataclass(frozen=True)
class TaggerEvaluation:
    """Everything that figures show.

    Attributes:
        curves: All ROC curves.
        distributions: (training, name) to the distributions of a class probability or discriminator per truth with
            enough jets, of the first seed.
        confusion: (training, seed) to the confusion matrix.
        counts: Training to jets per process and truth, per seed.
        settings: What they were made with.
    """

    curves: tuple[TaggingCurve, ...]
    distributions: Mapping[tuple[str, str], Distributions]
    confusion: Mapping[tuple[str, int], ConfusionMatrix]
    counts: Mapping[str, Sequence[Any]]
    settings: TaggingSettings


@dataclass(frozen=True)
class Plane:
    """The jets in the plane of two discriminators, and the working points in it.

    Attributes:
        values: Of the two discriminators, each of shape (num_jets,).
        jets: The jets.
        pair: The two discriminators.
        points: The working points.
    """

    values: tuple[Floats, Floats]
    jets: Jets
    pair: tuple[Discriminator, Discriminator]
    points: TaggingPoints

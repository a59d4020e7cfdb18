"""Weights of the events in the training loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.model_inputs import ModelInputs
from honeyguide.errors import DataError

Weighting = Literal["none", "physics", "balance_generators"]


@dataclass(frozen=True)
class EventWeights:
    """How the stored weight and the generator of an event become its weight in the loss; the mean over all events is 1.

    Attributes:
        scale: Factor on the stored weights; None for not using them.
        per_generator: One weight per generator code; None for not using it.
    """

    scale: float | None = None
    per_generator: NDArray[np.float64] | None = None

    def of(self, weight: NDArray[np.float64], generator: NDArray[np.int16]) -> NDArray[np.float64]:
        """Returns the weights of some events, shape (num_events,)."""
        if self.scale is not None:
            return weight * self.scale
        if self.per_generator is not None:
            return self.per_generator[generator]
        return np.ones(len(weight))


def make_event_weights(kind: Weighting, sources: Sequence[ModelInputs]) -> EventWeights:
    """Returns the weights for training on the events of ``sources`` together.

    Args:
        kind: ``none``: every event counts the same, so generators are mixed as they come. ``physics``: the stored
            weights, which need not be on the same scale for different generators. ``balance_generators``: every
            generator counts the same in total, its events among each other too.
        sources: The events.

    Raises:
        DataError: The stored weights are not finite, or their sum is not positive.
    """
    num_events = sum(len(source) for source in sources)
    if kind == "none" or not num_events:
        return EventWeights()
    if kind == "physics":
        total = sum(float(np.sum(source.weight)) for source in sources)
        if not (np.isfinite(total) and total > 0):
            raise DataError(
                "the event weights can't be used for training",
                got=f"their sum is {total}",
                allowed="finite weights with a positive sum",
                hint="set training.event_weights to none or balance_generators",
            )
        return EventWeights(scale=num_events / total)
    size = 1 + max(int(source.generator.max()) for source in sources if len(source))
    counts = np.sum([np.bincount(source.generator, minlength=size) for source in sources], axis=0)
    present = counts > 0
    per_generator = np.zeros(size)
    per_generator[present] = num_events / (present.sum() * counts[present])
    return EventWeights(per_generator=per_generator)

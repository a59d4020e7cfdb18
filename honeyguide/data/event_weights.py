"""Weights of the events in the training loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.model_inputs import ModelInputs
from honeyguide.data.reweighting import Reweighting, fill_spectra, make_reweighting
from honeyguide.data.row_reweighting import RowSampling, blocks_of, jet_block
from honeyguide.errors import DataError

Weighting = Literal["none", "physics", "balance_generators"]


@dataclass(frozen=True)
class EventWeights:
    """How what is known of an event becomes its weight in the loss; the mean over all events is 1.

    Attributes:
        scale: Factor on the stored weights; None for not using them.
        per_generator: One weight per generator code; None for not using it.
        reweighting: What the weight of a row is multiplied by, by its truth, pt and eta; None for 1.
        norm: A factor on all.
        sampling: Which events take part in an epoch; None for all.
    """

    scale: float | None = None
    per_generator: NDArray[np.float64] | None = None
    reweighting: Reweighting | None = None
    norm: float = 1.0
    sampling: RowSampling | None = None

    def of(self, source: ModelInputs, rows: slice) -> NDArray[np.float64]:
        """Returns the weights of some events of a source, shape (num_events,)."""
        weight = self._unreweighted(source, rows)
        if self.reweighting is not None:
            weight = weight * self.reweighting.weights(jet_block(source, rows))
        return weight * self.norm

    def _unreweighted(self, source: ModelInputs, rows: slice) -> NDArray[np.float64]:
        if self.scale is not None:
            return source.weight[rows] * self.scale
        if self.per_generator is not None:
            return self.per_generator[source.generator[rows]]
        return np.ones(len(source.event_id[rows]))


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


def refit_reweighting(
    reweighting: Reweighting, sources: Sequence[ModelInputs], weights: EventWeights | None = None
) -> Reweighting:
    """Returns the reweighting with the same settings, made of the spectra of these rows with these weights.

    Raises:
        DataError: A weight is negative, or spectra can't be compared.
    """
    weights = weights or EventWeights()
    blocks = (jet_block(source, rows, weights.of(source, rows)) for source in sources for rows in blocks_of(source))
    spectra = fill_spectra(blocks, reweighting.before.truths, reweighting.settings)
    return make_reweighting(spectra, reweighting.settings)


def reweighted(weights: EventWeights, reweighting: Reweighting, sources: Sequence[ModelInputs]) -> EventWeights:
    """Returns the weights with the factors of a reweighting; their mean over the rows of ``sources`` is 1.

    Raises:
        DataError: All rows of the sources get weight 0.
    """
    both = replace(weights, reweighting=reweighting)
    num_events = sum(len(source) for source in sources)
    total = sum(float(both.of(source, rows).sum()) for source in sources for rows in blocks_of(source))
    if num_events and not total > 0:
        raise DataError("no row is left to train on: the reweighting gives all of them weight 0")
    return replace(both, norm=num_events / total if num_events else 1.0)


def sampled(weights: EventWeights, sampling: RowSampling, sources: Sequence[ModelInputs]) -> EventWeights:
    """Returns the weights for rows that are sampled: as they are, but for a factor.

    With it their mean over the rows that are sampled is 1 on average.

    Raises:
        DataError: No row of the sources is ever sampled.
    """
    kept = total = 0.0
    for source in sources:
        for rows in blocks_of(source):
            probability = sampling.reweighting.probabilities(jet_block(source, rows))
            kept += float(probability.sum())
            total += float((probability * weights.of(source, rows)).sum())
    if not total > 0:
        raise DataError("no row is left to train on: the reweighting keeps none of them")
    return replace(weights, norm=weights.norm * kept / total, sampling=sampling)

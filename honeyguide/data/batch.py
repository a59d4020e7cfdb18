"""A batch of events as a model sees it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Tensors of one batch; all on one device.

    Attributes:
        objects: Scaled features, (batch, object, feature); 0 where there is no object.
        mask: True where there is an object, (batch, object).
        event: Scaled event features, (batch, event_feature); the last axis may be 0 long.
        weight: Event weights (batch,).
        label: 0 background, 1 signal (batch,).
        generator: Generator codes (batch,); names in ``InputSpec.generators``.
        event_id: Unique event ids (batch,).
    """

    objects: Float[Tensor, "batch object feature"]
    mask: Bool[Tensor, "batch object"]
    event: Float[Tensor, "batch event_feature"]
    weight: Float[Tensor, " batch"]
    label: Int[Tensor, " batch"]
    generator: Int[Tensor, " batch"]
    event_id: Int[Tensor, " batch"]

    def __len__(self) -> int:
        return len(self.event_id)

    def rows(self, low: int, high: int) -> Batch:
        """Returns the events from ``low`` up to ``high``, without a copy."""
        return Batch(**{f.name: getattr(self, f.name)[low:high] for f in fields(self)})

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Returns the batch on another device."""
        return Batch(**{f.name: getattr(self, f.name).to(device, non_blocking=non_blocking) for f in fields(self)})


def part_of(num_events: int, part: tuple[int, int]) -> tuple[int, int]:
    """Returns the first and the last event (exclusive) of a part of ``num_events``.

    Args:
        num_events: How many there are in all.
        part: Number of the part, from 0, and number of parts; their sizes differ by one event at most.
    """
    number, count = part
    return number * num_events // count, (number + 1) * num_events // count

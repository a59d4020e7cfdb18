"""A batch of events as a model sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Objects:
    """One set of objects of each row; see ``InputSpec.sets``.

    Attributes:
        features: Scaled features, (batch, object, feature); 0 where there is no object.
        mask: True where there is an object, (batch, object).
        vectors: Four-momenta px, py, pz, E [GeV], (batch, object, 4), not scaled; 0 where there is no object, None
            where the set has none.
    """

    features: Float[Tensor, "batch object feature"]
    mask: Bool[Tensor, "batch object"]
    vectors: Float[Tensor, "batch object 4"] | None = None

    def tensors(self) -> dict[str, Tensor]:
        """Returns all tensors by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}

    def map(self, function: Callable[[Tensor], Tensor]) -> Objects:
        """Returns the set with ``function`` of each of its tensors."""
        return Objects(**{name: function(tensor) for name, tensor in self.tensors().items()})


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
        truth: Truth codes (batch,), names in ``InputSpec.truths``, -1 for none; None where rows have no truth.
        targets: Scaled values that a model learns to predict, (batch, target), see ``InputSpec.targets``; None without.
        sets: Sets of objects by name, in the order of ``InputSpec.sets``.
    """

    objects: Float[Tensor, "batch object feature"]
    mask: Bool[Tensor, "batch object"]
    event: Float[Tensor, "batch event_feature"]
    weight: Float[Tensor, " batch"]
    label: Int[Tensor, " batch"]
    generator: Int[Tensor, " batch"]
    event_id: Int[Tensor, " batch"]
    truth: Int[Tensor, " batch"] | None = None
    targets: Float[Tensor, "batch target"] | None = None
    sets: Mapping[str, Objects] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.event_id)

    def rows(self, low: int, high: int) -> Batch:
        """Returns the events from ``low`` up to ``high``, without a copy."""
        return self.map(lambda tensor: tensor[low:high])

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Returns the batch on another device."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Returns the batch with ``function`` of each of its tensors."""
        return Batch.from_tensors({name: function(tensor) for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Returns all tensors by name; those of a set are ``<set>/features``, ``<set>/mask`` and so on."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "sets"}
        flat = {name: tensor for name, tensor in own.items() if tensor is not None}
        for name, item in self.sets.items():
            flat |= {f"{name}/{part}": tensor for part, tensor in item.tensors().items()}
        return flat

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Batch:
        """Returns the batch of which :meth:`tensors` made these."""
        own: dict[str, Any] = {name: tensor for name, tensor in tensors.items() if "/" not in name}
        sets: dict[str, dict[str, Tensor]] = {}
        for name in (name for name in tensors if "/" in name):
            item, part = name.split("/")
            sets.setdefault(item, {})[part] = tensors[name]
        return cls(**own, sets={name: Objects(**parts) for name, parts in sets.items()})

    @classmethod
    def join(cls, batches: Sequence[Batch]) -> Batch:
        """Returns the events of all batches, one batch after the other."""
        parts = [batch.tensors() for batch in batches]
        return cls.from_tensors({name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def part_of(num_events: int, part: tuple[int, int]) -> tuple[int, int]:
    """Returns the first and the last event (exclusive) of a part of ``num_events``.

    Args:
        num_events: How many there are in all.
        part: Number of the part, from 0, and number of parts; their sizes differ by one event at most.
    """
    number, count = part
    return number * num_events // count, (number + 1) * num_events // count

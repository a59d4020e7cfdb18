"""Means of the loss terms over an epoch, summed on the device so that no step waits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from honeyguide.training.ranks import Ranks

_NEVER = 2**62  # later than any batch


@dataclass(frozen=True)
class NonFinite:
    """The first value that was NaN or infinite.

    Attributes:
        name: The term.
        batch: Number of the batch in the epoch, from 0.
        is_own: Whether it was in this process's part of the batch.
    """

    name: str
    batch: int
    is_own: bool


class TermMeans:
    """Sums named scalars over batches; only reading waits for the device and for the other processes.

    Args:
        names: The scalars, in the order in which a fault is to be blamed.
        device: Where the scalars are.
        ranks: The processes, of which each adds the means of its own events; this one alone if not given.
    """

    def __init__(self, names: Sequence[str], device: torch.device, ranks: Ranks | None = None) -> None:
        self._names = tuple(names)
        self._ranks = ranks or Ranks()
        self._sums = torch.zeros(len(names), dtype=torch.float64, device=device)
        self._first_bad = torch.full((len(names),), -1, dtype=torch.int64, device=device)
        self._num_events = 0
        self._num_batches = 0

    @torch.no_grad()
    def add(self, values: Mapping[str, Tensor], num_events: int) -> None:
        """Adds the batch means ``values`` of a batch of ``num_events``."""
        stacked = torch.stack([values[name].detach() for name in self._names])
        bad = (self._first_bad < 0) & ~torch.isfinite(stacked)
        self._first_bad = torch.where(bad, self._num_batches, self._first_bad)
        self._sums.add_(stacked.double(), alpha=num_events)
        self._num_events += num_events
        self._num_batches += 1

    def read(self) -> dict[str, float]:
        """Returns the mean of each scalar over all events of all processes so far."""
        *sums, num_events = self._ranks.sum(torch.cat([self._sums, self._sums.new_tensor([self._num_events])])).tolist()
        return {name: value / max(num_events, 1) for name, value in zip(self._names, sums, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Returns this process's sums and counters so far, on the CPU: they may go to a process with another GPU."""
        return {
            "sums": self._sums.cpu(),
            "first_bad": self._first_bad.cpu(),
            "num_events": self._num_events,
            "num_batches": self._num_batches,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts back what :meth:`state_dict` has returned."""
        self._sums.copy_(state["sums"])
        self._first_bad.copy_(state["first_bad"])
        self._num_events, self._num_batches = state["num_events"], state["num_batches"]

    def first_non_finite(self) -> NonFinite | None:
        """Returns where the first NaN or infinity of all processes was, or None."""
        own = torch.where(self._first_bad < 0, _NEVER, self._first_bad)
        batch, position = min((batch, position) for position, batch in enumerate(self._ranks.smallest(own).tolist()))
        if batch == _NEVER:
            return None
        return NonFinite(self._names[position], batch, is_own=bool(own[position] == batch))

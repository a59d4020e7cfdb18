"""Matching of generated objects to jets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Axes:
    """Momenta of jets, or of objects to match to them, flat: event, pt in GeV, eta and phi of each."""

    event: NDArray[np.int64]
    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.pt)


def nearest_jets(jets: Axes, objects: Axes, *, radius: float) -> NDArray[np.int64]:
    """Returns for each object the index of the jet of its event with the nearest axis, -1 with none within ``radius``.

    Args:
        jets: Jets, sorted by event.
        objects: Objects, sorted by event.
        radius: Largest distance in eta and phi.
    """
    found = np.full(len(objects), -1, dtype=np.int64)
    if len(jets) == 0 or len(objects) == 0:
        return found
    jets_of_event = np.bincount(jets.event, minlength=int(objects.event[-1]) + 1)
    first = np.cumsum(jets_of_event) - jets_of_event
    counts = jets_of_event[objects.event]
    item = np.repeat(np.arange(len(objects)), counts)
    jet = first[objects.event[item]] + np.arange(len(item)) - np.repeat(np.cumsum(counts) - counts, counts)
    turn = np.abs(objects.phi[item] - jets.phi[jet])
    distance = np.hypot(np.minimum(turn, 2 * np.pi - turn), objects.eta[item] - jets.eta[jet])
    order = np.argsort(-distance, kind="stable")
    order = order[distance[order] < radius]
    found[item[order]] = jet[order]  # the nearest one is written last
    return found


def hardest(jet: NDArray[np.int64], objects: Axes, num_jets: int) -> NDArray[np.int64]:
    """Returns for each jet the index of the object with the largest pt of those that belong to it, -1 without one.

    Args:
        jet: Jet of each object, -1 for none.
        objects: The objects.
        num_jets: Number of jets.
    """
    found = np.full(num_jets, -1, dtype=np.int64)
    order = np.argsort(objects.pt, kind="stable")
    order = order[jet[order] >= 0]
    found[jet[order]] = order
    return found

"""Events in memory: columns of equal length, and collections of objects with offsets into their parent."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ROW_BITS = 24
"""An event id is the key of its source file, then, in so many low bits, the index of its row in the file."""


@dataclass(frozen=True)
class Collection:
    """Objects of many parents, flat.

    Attributes:
        parent: ``"events"`` or the name of another collection.
        offsets: Shape (num_parents + 1,), int64; the objects of parent i are ``offsets[i]:offsets[i + 1]``.
        columns: One array (num_objects,) per column.
    """

    parent: str
    offsets: NDArray[np.int64]
    columns: dict[str, NDArray[np.generic]]

    def __len__(self) -> int:
        return int(self.offsets[-1] - self.offsets[0])

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of objects of each parent, shape (num_parents,)."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class EventBlock:
    """A block of consecutive events.

    Attributes:
        events: One array (num_events,) per event column; always ``id`` (int64, unique over all files) and ``weight``.
        collections: By name, e.g. ``jets`` (parent events) and ``constituents`` (parent jets).
    """

    events: dict[str, NDArray[np.generic]]
    collections: dict[str, Collection] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.events["id"])

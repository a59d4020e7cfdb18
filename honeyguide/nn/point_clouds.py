"""Objects of many events as the rows of one table, and which of them are near to which.

A table holds all slots, or the objects alone. The latter is faster where it is known how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from honeyguide.nn.masked import may_drop_padding

GROUP_STEP = 8  # events whose numbers of objects round up to the same multiple look for neighbours together


def nearest_objects(
    coordinates: Float[Tensor, "batch object axis"], mask: Bool[Tensor, "batch object"], number: int
) -> tuple[Int[Tensor, "batch object neighbour"], Bool[Tensor, "batch object neighbour"]]:
    """Returns the slots of the nearest other objects of each object, the nearest first, and which of them there are.

    It compares |y|² - 2 x·y, the squared distance without what is the same for all y, in float64: what the difference
    of large numbers loses of float32 coordinates there is less than what they can express.

    Args:
        coordinates: Where the objects are.
        mask: Which slots have an object; the others are nobody's neighbours, and have none.
        number: Neighbours of an object, where there are so many.
    """
    points = coordinates.detach().double()  # who is near has no gradient
    squares = points.square().sum(2).unsqueeze(1)
    distance = torch.baddbmm(squares, points, points.transpose(1, 2), alpha=-2)
    itself = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    none = itself | ~mask.unsqueeze(1)
    nearest = distance.masked_fill(none, torch.inf).topk(min(number, mask.shape[1] - 1), dim=2, largest=False)
    return nearest.indices, torch.isfinite(nearest.values) & mask.unsqueeze(2)


@dataclass(frozen=True)
class Neighbours:
    """Which rows of a table are near to which: the edges of a graph.

    Attributes:
        index: Neighbours of each row, (row, neighbour).
        present: Which of these there are.
        num_full: Rows at the front that have all of their neighbours, so that no others need be looked at; None where
            that is not known, and those that are not there are edges as well.
    """

    index: Int[Tensor, "row neighbour"]
    present: Bool[Tensor, "row neighbour"]
    num_full: int | None = None

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, low: int, high: int) -> Neighbours:
        """Returns the neighbours of the rows from ``low`` up to ``high``."""
        index = self.index[low:high]
        num_full = None if self.num_full is None else min(max(self.num_full - low, 0), len(index))
        return Neighbours(index, self.present[low:high], num_full)

    def pieces(self, size: int) -> list[Neighbours]:
        """Returns the neighbours of ``size`` rows at a time."""
        return [self.rows(low, low + size) for low in range(0, max(len(self), 1), size)]

    @property
    def num_edges(self) -> int:
        """Edges, where it is known which there are."""
        return self._num_full * self.index.shape[1] + len(self._further()[0])

    def edges(self, own: Float[Tensor, "row width"], theirs: Float[Tensor, "other width"]) -> Tensor:
        """Returns own(x) + theirs(y) of every edge from x to y, (edge, width), those of the same x side by side."""
        full = theirs[self.index[: self._num_full]].add_(own[: self._num_full].unsqueeze(1)).flatten(0, 1)
        if self._num_full == len(self):
            return full
        row, place = self._further()
        return torch.cat([full, theirs[self.index[row, place]].add_(own[row])])

    def edges_present(self) -> Tensor | None:
        """Returns which of the edges there are, (edge,); None for all."""
        return self.present.flatten() if self.num_full is None else None

    def others(self) -> Tensor:
        """Returns the row y of every edge from x to y, (edge,)."""
        full = self.index[: self._num_full].flatten()
        return full if self._num_full == len(self) else torch.cat([full, self.index[self._further()]])

    def sum(self, edges: Float[Tensor, "edge width"]) -> Float[Tensor, "row width"]:
        """Returns the sum over the edges of each row."""
        num_edges = self._num_full * self.index.shape[1]
        full = edges[:num_edges].view(self._num_full, self.index.shape[1], edges.shape[1])
        if self.num_full is None:
            full = full.masked_fill(~self.present.unsqueeze(2), 0)
        total = full.sum(1)
        if self._num_full == len(self):
            return total
        row, _ = self._further()
        further = edges.new_zeros(len(self) - self._num_full, edges.shape[1])
        return torch.cat([total, further.index_add(0, row - self._num_full, edges[num_edges:])])

    def mean(self, edges: Float[Tensor, "edge width"]) -> Float[Tensor, "row width"]:
        """Returns the mean over the edges of each row; 0 for a row without any."""
        return self.sum(edges) / _at_least_1(self.present.sum(1))

    def mean_backward(self, gradient: Float[Tensor, "row width"]) -> Float[Tensor, "edge width"]:
        """Returns the gradient of the edges of that of their means."""
        share = gradient / _at_least_1(self.present.sum(1))
        full = share[: self._num_full].repeat_interleave(self.index.shape[1], 0)
        return full if self._num_full == len(self) else torch.cat([full, share[self._further()[0]]])

    @property
    def _num_full(self) -> int:
        return len(self) if self.num_full is None else self.num_full

    def _further(self) -> tuple[Tensor, Tensor]:
        """Returns row and place of the edges of the rows that lack some."""
        row, place = self.present[self._num_full :].nonzero(as_tuple=True)
        return row + self._num_full, place


class PaddedCloud:
    """A table of all slots.

    Attributes:
        present: Which rows are objects.
    """

    def __init__(self, mask: Bool[Tensor, "batch object"]) -> None:
        self._mask = mask
        self.present: Tensor | None = mask.flatten()

    def table(self, values: Float[Tensor, "batch object width"]) -> Float[Tensor, "row width"]:
        """Returns the values as a table."""
        return values.flatten(0, 1)

    def in_slots(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "batch object width"]:
        """Returns the rows of a table at the slots of their objects; 0 where there is none."""
        return rows.view(*self._mask.shape, -1).masked_fill(~self._mask.unsqueeze(2), 0)

    def neighbours(self, coordinates: Float[Tensor, "row axis"], number: int) -> Neighbours:
        """Returns the ``number`` nearest objects of each object, of its own event."""
        num_slots = self._mask.shape[1]
        index, present = nearest_objects(coordinates.view(*self._mask.shape, -1), self._mask, number)
        first = torch.arange(0, self._mask.numel(), num_slots, device=index.device).view(-1, 1, 1)
        return Neighbours((index + first).flatten(0, 1), present.flatten(0, 1))

    def mean(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "batch width"]:
        """Returns the mean over the objects of each event, 0 where there is none."""
        return self.in_slots(rows).sum(1) / _at_least_1(self._mask.sum(1))


class PackedCloud:
    """A table of the objects alone, those of the event with the most objects first.

    Neighbours are looked for in groups of events of about the same number of objects: the table of all distances has
    hardly any between slots that are empty.

    Attributes:
        present: Which rows are objects: None, for all.
        slots: Where the rows are among all slots.
    """

    def __init__(self, mask: Bool[Tensor, "batch object"]) -> None:
        self.present: Tensor | None = None
        self._shape = mask.shape
        self._count = mask.sum(1)
        order = self._count.argsort(descending=True, stable=True)
        place, slot = mask[order].nonzero(as_tuple=True)
        self._event = order[place]
        self.slots = self._event * mask.shape[1] + slot
        self._counts = self._count[order]

    def table(self, values: Float[Tensor, "batch object width"]) -> Float[Tensor, "row width"]:
        """Returns the values of the objects as a table."""
        return values.flatten(0, 1).index_select(0, self.slots)

    def in_slots(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "batch object width"]:
        """Returns the rows of a table at the slots of their objects; 0 where there is none."""
        num_events, num_slots = self._shape
        spread = rows.new_zeros(num_events * num_slots, rows.shape[1]).index_copy(0, self.slots, rows)
        return spread.view(num_events, num_slots, rows.shape[1])

    def neighbours(self, coordinates: Float[Tensor, "row axis"], number: int) -> Neighbours:
        """Returns the ``number`` nearest objects of each object, of its own event."""
        width = max(0, min(number, int(self._counts[:1].sum()) - 1))
        index = torch.zeros(len(self.slots), width, dtype=torch.int64)
        present = torch.zeros(len(self.slots), width, dtype=torch.bool)
        first, event = 0, 0
        for size, members in groupby(self._counts.tolist(), lambda count: -(-count // GROUP_STEP) * GROUP_STEP):
            if not size:
                break
            counts = self._counts[event : event + len(list(members))].unsqueeze(1)
            event += len(counts)
            starts = first + counts.cumsum(0) - counts
            mask = torch.arange(size) < counts
            rows = (starts + torch.arange(size)).clamp_(max=len(index) - 1)
            slots, found = nearest_objects(coordinates[rows], mask, width)
            last = first + int(counts.sum())
            index[first:last, : slots.shape[2]] = (slots + starts.unsqueeze(2))[mask]
            present[first:last, : slots.shape[2]] = found[mask]
            first = last
        num_full = int(self._counts[self._counts > width].sum()) if width else 0
        return Neighbours(index, present, num_full)

    def mean(self, rows: Float[Tensor, "row width"]) -> Float[Tensor, "batch width"]:
        """Returns the mean over the objects of each event, 0 where there is none."""
        total = rows.new_zeros(len(self._count), rows.shape[1]).index_add(0, self._event, rows)
        return total / _at_least_1(self._count)


Cloud = PackedCloud | PaddedCloud


def make_cloud(mask: Bool[Tensor, "batch object"]) -> Cloud:
    """Returns the table of the objects: packed, where that takes no waiting for a device."""
    return PackedCloud(mask) if may_drop_padding(mask) else PaddedCloud(mask)


def _at_least_1(count: Tensor) -> Tensor:
    return count.clamp(min=1).unsqueeze(1)

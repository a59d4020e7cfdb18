"""Where the pairs of objects are, when only real objects stand side by side, jet by jet."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Int
from torch import Tensor

GROUP_SLOTS = 2048  # whose hidden values stay in the processor's cache
SHORTEST = 0.8  # length of the shortest jet of a group, in that of the longest


def triangle(size: int, device: torch.device) -> Int[Tensor, "row column"]:
    """Returns the number of the pair (row, column), counted along the rows of the lower triangle, both ways round."""
    slots = torch.arange(size, device=device)
    high, low = torch.maximum(slots[:, None], slots), torch.minimum(slots[:, None], slots)
    return high * (high + 1) // 2 + low


def lower_triangle(size: int, device: torch.device) -> tuple[Int[Tensor, " pair"], Int[Tensor, " pair"]]:
    """Returns row and column of each pair, in the order of :func:`triangle`, for a size that need not be a number."""
    pair = torch.arange(size * (size + 1) // 2, device=device)
    row = (((8 * pair + 1).double().sqrt() - 1) / 2).long()  # torch.tril_indices makes a traced size a constant
    return row, pair - row * (row + 1) // 2


class PairIndex:
    """Numbers of objects and pairs: jets one after the other, in each its objects, and the lower triangle of its pairs.

    Args:
        count: Objects of each jet, in descending order.

    Attributes:
        first: Number of the object that stands later, of each pair; the diagonal is among them.
        second: Number of the object that stands earlier.
    """

    def __init__(self, count: Int[Tensor, " jet"]) -> None:
        self._count = count
        self._lengths: list[int] = count.tolist()
        self._objects_before = torch.cumsum(count, 0) - count
        num_pairs = count * (count + 1) // 2
        self._pairs_before = torch.cumsum(num_pairs, 0) - num_pairs
        objects = torch.arange(sum(self._lengths))
        slot = objects - torch.repeat_interleave(self._objects_before, count)
        in_row = slot + 1
        self.first = torch.repeat_interleave(objects, in_row)
        start = torch.cumsum(in_row, 0) - in_row
        self.second = torch.arange(len(self.first)) - (start - objects + slot).index_select(0, self.first)

    def groups(self) -> list[tuple[int, int]]:
        """Returns the first and the last jet (exclusive) of groups of about the same length, that fit a cache."""
        edges = [0]
        for jet, length in enumerate(self._lengths):
            longest = self._lengths[edges[-1]]
            if (jet - edges[-1] + 1) * longest > GROUP_SLOTS or length < SHORTEST * longest:
                edges += [jet] if jet > edges[-1] else []
        return list(zip(edges, [*edges[1:], len(self._lengths)], strict=True))

    def size(self, low: int) -> int:
        """Returns the slots of the jets of the group that begins with the jet ``low``."""
        return max(self._lengths[low], 1)

    def present(self, low: int, high: int) -> Bool[Tensor, "jet object"]:
        """Returns which slots of a group have an object."""
        return torch.arange(self.size(low)) < self._count[low:high, None]

    def num_objects(self, low: int, high: int) -> int:
        """Returns the objects of a group."""
        return sum(self._lengths[low:high])

    def num_pairs(self, low: int, high: int) -> int:
        """Returns the pairs of a group."""
        return sum(length * (length + 1) // 2 for length in self._lengths[low:high])

    def objects(self, low: int, high: int) -> Int[Tensor, "jet object"]:
        """Returns which object of a group is in each slot of it; any where there is none."""
        before = self._objects_before[low:high, None] - self._objects_before[low]
        return (before + torch.arange(self.size(low))).clamp(max=max(self.num_objects(low, high) - 1, 0))

    def places(self, low: int, high: int) -> tuple[Int[Tensor, "jet row column"], Int[Tensor, " pair"]]:
        """Returns which pair of a group stands at each place of its matrices, and the flat place of each pair."""
        size, number, length = self.size(low), self.num_pairs(low, high), self._count[low:high]
        before = self._pairs_before[low:high, None, None] - self._pairs_before[low]
        places = before + triangle(size, length.device)
        rows, columns = torch.tril_indices(size, size)
        real = rows < length[:, None]
        flat = torch.arange(high - low)[:, None] * size**2 + rows * size + columns
        return places.clamp(max=max(number - 1, 0)), flat[real]

"""Batches of rows with similar numbers of objects, which have few empty slots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from honeyguide.data.batch import Batch
from honeyguide.data.streams import BatchStream, Epoch, Tensors

STEP = 8  # numbers of slots are multiples of this: few shapes, and ones that a GPU likes
_LENGTHS = "lengths"
_ROWS = 65536  # that are looked at together


class BucketStream(BatchStream):
    """Batches of rows with similar numbers of objects, cut off behind the last slot that any row of the batch fills.

    They have the sizes, and all of them together have the rows, of the batches of a :class:`BatchStream`. Its pools are
    sorted by the number of slots that are needed, and cut into batches, which come in a random order, as do the rows of
    each. So a batch is no random draw of all rows: those in it are alike in what goes with the number of objects.

    How many slots are needed is known on the CPU: no device is waited for.
    """

    def _to_device(self, tensors: Tensors) -> Tensors:
        return super()._to_device(tensors) | {_LENGTHS: needed_slots(tensors)}

    def _split(
        self, tensors: Tensors, positions: NDArray[np.int64], *, epoch: Epoch, pool: int, first: int
    ) -> Iterator[Batch]:
        assert self._seed is not None, "rows are shuffled among batches: their order can't be kept"
        number = pool * self._batches_per_pool
        edges = epoch.edges[number : number + self._batches_per_pool + 1] - epoch.edges[number]
        random = np.random.default_rng([self._seed, epoch.number, pool + 1])
        positions = random.permutation(positions)
        lengths = tensors[_LENGTHS].numpy()[positions]
        order = _in_buckets(lengths.sum(1), np.diff(edges), random)
        lengths, index = lengths[order], self._index(positions[order])
        for batch in range(max(first - number, 0), len(edges) - 1):
            low, high = self._own(int(edges[batch]), int(edges[batch + 1]))
            part = trimmed({name: tensor for name, tensor in tensors.items() if name != _LENGTHS}, lengths[low:high])
            rows = index[low:high]
            yield Batch.from_tensors({name: tensor.index_select(0, rows) for name, tensor in part.items()})


def parts_by_length(batch: Batch, size: int) -> Iterator[tuple[Int[Tensor, " row"], Batch]]:
    """Yields places of rows and these rows: at most ``size`` with similar numbers of objects, without needless slots.

    The device is waited for, once.

    Args:
        batch: The rows.
        size: Most rows of a part.
    """
    tensors = batch.tensors()
    lengths = needed_slots(tensors).cpu()
    order = lengths.sum(1).argsort(stable=True)
    index = order.to(batch.event_id.device)
    for low in range(0, len(batch), size):
        part, rows = trimmed(tensors, lengths[order[low : low + size]].numpy()), index[low : low + size]
        yield rows, Batch.from_tensors({name: tensor.index_select(0, rows) for name, tensor in part.items()})


def needed_slots(tensors: Mapping[str, Tensor]) -> Int[Tensor, "row set"]:
    """Returns the number of slots up to the last one with an object, in each row and set."""
    masks = _masks(tensors)
    if not masks:
        return torch.zeros(len(tensors["event_id"]), 0, dtype=torch.int16)
    return torch.stack([_last_slots(mask) for mask in masks.values()], dim=1)


def _last_slots(mask: Tensor) -> Tensor:
    """Returns the number of slots up to the last full one of each row."""
    number = torch.arange(1, mask.shape[1] + 1, dtype=torch.int16, device=mask.device)
    return torch.cat([(part * number).amax(1) for part in torch.split(mask, _ROWS)])


def trimmed(tensors: Tensors, lengths: NDArray[np.int16]) -> Tensors:
    """Returns the tensors with no more slots than the longest row has, rounded up.

    Args:
        tensors: Tensors of a batch.
        lengths: Needed slots of each row and set.
    """
    longest = lengths.max(0, initial=1)
    sizes = {}
    for name, most in zip(_masks(tensors), longest.tolist(), strict=True):
        sizes[name.removesuffix("mask")] = -(-most // STEP) * STEP
    cut = dict(tensors)
    for name in tensors:
        of_set = name[: name.find("/") + 1]
        if of_set:
            cut[name] = tensors[name][:, : sizes[of_set]]
    return cut


def _masks(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.endswith("/mask")}


def _in_buckets(lengths: NDArray[np.int64], sizes: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Returns the rows of all batches, one batch after the other: each has those of the next lengths.

    Args:
        lengths: Length of each row.
        sizes: Rows of each batch.
        random: Draws which batch gets which lengths, and the order of the rows in it.
    """
    by_length = np.argsort(lengths, kind="stable")
    starts = np.cumsum(sizes) - sizes
    rows = np.empty_like(by_length)
    taken = 0
    for batch in random.permutation(len(sizes)):
        own = by_length[taken : taken + sizes[batch]]
        rows[starts[batch] : starts[batch] + len(own)] = random.permutation(own)
        taken += len(own)
    return rows

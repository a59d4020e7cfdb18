"""Streams of batches over memory-mapped files: shuffled for training, in order for evaluation."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from honeyguide.data.batch import Batch, part_of
from honeyguide.data.event_weights import EventWeights
from honeyguide.data.model_inputs import ModelInputs

CHUNK_ROWS = 256  # rows that are read together; shuffled blocks of this size read at nearly the speed of a plain copy
POOL_BYTES = 64 * 2**20  # rows of many chunks are shuffled together in pools of this size; two pools are in memory

_TYPES = {
    "objects": torch.float32,
    "mask": torch.bool,
    "event": torch.float32,
    "weight": torch.float32,
    "label": torch.int64,
    "generator": torch.int64,
    "event_id": torch.int64,
    "truth": torch.int64,
}

RELEASE_BYTES = 16 * 2**20  # pages of the files are given back after this much has been read

Tensors = dict[str, Tensor]


class BatchStream:
    """Batches that hold every event of the sources exactly once per epoch.

    All batches of an epoch have the same size within one event, so that no batch is tiny. The order is: chunks of
    consecutive rows of all sources are shuffled, then the rows within pools of many chunks. Each source thus comes in
    proportion to its size. The order depends on the seed and the epoch alone: not on the memory budget or the device.

    Where all events fit the budget they are kept on the device; else a thread reads the next pool while the batches
    of the present one are used.

    Args:
        sources: The events.
        batch_size: Most events in a batch.
        device: Where the batches shall be.
        shuffle_seed: Seed of the order; None keeps the order of the sources.
        resident_bytes: Keep the events on the device if they take no more than this.
        event_weights: What ``Batch.weight`` holds; 1 for every event if not given.
        part: Which part of every batch to yield, from 0, and of how many (one for each process that trains). Whatever
            the number of parts, together they are the same batches. All events are read, and kept if they fit: the
            order mixes them anew in every epoch. Of a batch with fewer events than parts, those who get none are lent
            the batch's first event.
    """

    def __init__(
        self,
        sources: Sequence[ModelInputs],
        *,
        batch_size: int,
        device: torch.device | str = "cpu",
        shuffle_seed: int | None = None,
        resident_bytes: int = 0,
        event_weights: EventWeights | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self._part = part
        self._sources = [source for source in sources if len(source)]
        self._device = torch.device(device)
        self._seed = shuffle_seed
        self._weights = event_weights or EventWeights()
        self._tails = _tails(self._sources[0]) if self._sources else {}
        lengths = np.array([len(source) for source in self._sources], dtype=np.int64)
        self.num_events = int(lengths.sum())
        self._first_row = np.concatenate([[0], np.cumsum(lengths)])
        self._chunks = _chunks(lengths)
        num_batches = -(-self.num_events // batch_size)
        self._edges = np.arange(num_batches + 1) * self.num_events // max(num_batches, 1)
        self._batches_per_pool = max(1, POOL_BYTES // max(1, self._row_bytes() * batch_size))
        self._resident: Tensors | None = None
        if self.num_events and self.num_bytes <= resident_bytes:
            self._resident = self._to_device(self._read(self._chunks))

    def __len__(self) -> int:
        return len(self._edges) - 1

    @property
    def num_bytes(self) -> int:
        """Bytes that all events take in memory."""
        return self.num_events * self._row_bytes()

    @property
    def is_resident(self) -> bool:
        """Whether the events are kept on the device."""
        return self._resident is not None

    def events_before(self, batch: int) -> int:
        """Returns how many events of an epoch come before its batch number ``batch``."""
        return int(self._edges[batch])

    def events_in(self, batch: int) -> int:
        """Returns how many events the batch number ``batch`` has, all parts together."""
        return int(self._edges[batch + 1] - self._edges[batch])

    def batches(self, epoch: int = 0, *, first: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch, from batch number ``first`` on."""
        chunks = self._chunks
        if self._seed is not None:
            chunks = chunks[np.random.default_rng([self._seed, epoch]).permutation(len(chunks))]
        pools = range(first // self._batches_per_pool, -(-len(self) // self._batches_per_pool))
        if self._resident is not None:
            for pool in pools:
                positions = self._positions(self._rows_of_pool(chunks, pool))
                yield from self._split(self._resident, positions, epoch=epoch, pool=pool, first=first)
            return
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as thread:
            following = None
            for pool in pools:
                present = following or thread.submit(self._read, self._rows_of_pool(chunks, pool))
                tensors = self._to_device(present.result())
                following = None
                if pool + 1 in pools:
                    following = thread.submit(self._read, self._rows_of_pool(chunks, pool + 1))
                positions = np.arange(len(tensors["event_id"]))
                yield from self._split(tensors, positions, epoch=epoch, pool=pool, first=first)

    def _split(
        self, tensors: Tensors, positions: NDArray[np.int64], *, epoch: int, pool: int, first: int
    ) -> Iterator[Batch]:
        number = pool * self._batches_per_pool
        start = self._edges[number]
        limits = [
            self._own(int(self._edges[batch] - start), int(self._edges[batch + 1] - start))
            for batch in range(max(first, number), min(number + self._batches_per_pool, len(self)))
        ]
        if self._seed is None:  # consecutive rows: no copy is needed
            offset = int(positions[0])
            for low, high in limits:
                yield Batch.from_tensors(
                    {name: tensor[offset + low : offset + high] for name, tensor in tensors.items()}
                )
            return
        order = np.random.default_rng([self._seed, epoch, pool + 1]).permutation(positions)
        index = torch.from_numpy(order)
        if self._device.type == "cuda":
            index = index.pin_memory().to(self._device, non_blocking=True)  # from other memory it waits for the GPU
        for low, high in limits:
            rows = index[low:high]
            yield Batch.from_tensors({name: tensor.index_select(0, rows) for name, tensor in tensors.items()})

    def _own(self, low: int, high: int) -> tuple[int, int]:
        """Returns the limits of this part of the rows from ``low`` to ``high``."""
        first, last = part_of(high - low, self._part)
        return (low + first, low + last) if last > first else (low, low + 1)

    def _rows_of_pool(self, chunks: NDArray[np.int64], pool: int) -> NDArray[np.int64]:
        """Returns (source, start, stop) of every piece of the pool, shape (num_pieces, 3)."""
        ends = np.cumsum(chunks[:, 2] - chunks[:, 1])
        number = pool * self._batches_per_pool
        low, high = self._edges[number], self._edges[min(number + self._batches_per_pool, len(self))]
        first, last = np.searchsorted(ends, low, side="right"), np.searchsorted(ends, high, side="left")
        pieces = chunks[first : last + 1].copy()
        pieces[-1, 2] -= ends[last] - high
        pieces[0, 1] += low - (ends[first] - (chunks[first, 2] - chunks[first, 1]))
        return pieces

    def _positions(self, pieces: NDArray[np.int64]) -> NDArray[np.int64]:
        starts = self._first_row[pieces[:, 0]] + pieces[:, 1]
        return np.concatenate([np.arange(s, s + n) for s, n in zip(starts, pieces[:, 2] - pieces[:, 1], strict=True)])

    def _read(self, pieces: NDArray[np.int64]) -> Tensors:
        num_rows = int((pieces[:, 2] - pieces[:, 1]).sum())
        pin = self._device.type == "cuda"
        tensors = {
            name: torch.empty((num_rows, *tail), dtype=dtype, pin_memory=pin)
            for name, (tail, dtype) in self._tails.items()
        }
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        of_sources = [source.arrays() for source in self._sources]
        position, unreleased = 0, 0
        for number, start, stop in pieces.tolist():
            source, rows = self._sources[number], slice(position, position + stop - start)
            for name, array in arrays.items():
                if name != "weight":
                    array[rows] = of_sources[number][name][start:stop]
            arrays["weight"][rows] = self._weights.of(source.weight[start:stop], source.generator[start:stop])
            position += stop - start
            unreleased += stop - start
            if unreleased * self._row_bytes() > RELEASE_BYTES or position == num_rows:
                for touched in np.unique(pieces[:, 0]):
                    drop_pages(self._sources[touched])
                unreleased = 0
        return tensors

    def _to_device(self, tensors: Tensors) -> Tensors:
        return {name: tensor.to(self._device, non_blocking=True) for name, tensor in tensors.items()}

    def _row_bytes(self) -> int:
        return sum(math.prod(tail) * dtype.itemsize for tail, dtype in self._tails.values())


def _tails(source: ModelInputs) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Returns the tensors of a batch: the shape that one row has in each, and the type."""
    types = _TYPES | {
        f"{name}/{part}": dtype
        for name in source.sets
        for part, dtype in (("features", torch.float32), ("mask", torch.bool))
    }
    return {name: (array.shape[1:], types[name]) for name, array in source.arrays().items() if name in types}


def drop_pages(source: ModelInputs) -> None:
    """Takes the pages of a memory-mapped source out of this process's memory; they are read again when needed.

    What has been read through a map counts as this process's memory otherwise, and a batch system kills a job for it.
    """
    base: object = getattr(source.objects, "array", source.objects)
    while isinstance(base, (np.ndarray, memoryview)):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)


def _chunks(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns (source, start, stop) of pieces of at most ``CHUNK_ROWS`` rows, shape (num_chunks, 3)."""
    parts = []
    for source, length in enumerate(lengths):
        starts = np.arange(0, length, CHUNK_ROWS)
        stops = np.minimum(starts + CHUNK_ROWS, length)
        parts.append(np.stack([np.full_like(starts, source), starts, stops], axis=1))
    return np.concatenate(parts) if parts else np.zeros((0, 3), dtype=np.int64)

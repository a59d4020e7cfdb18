"""Streams of batches over memory-mapped files: shuffled for training, in order for evaluation."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from honeyguide.data.batch import Batch, part_of
from honeyguide.data.event_weights import EventWeights
from honeyguide.data.model_inputs import ModelInputs
from honeyguide.errors import DataError

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
    "targets": torch.float32,
}

RELEASE_BYTES = 16 * 2**20  # pages of the files are given back after this much has been read

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Epoch:
    """What one epoch reads, in its order.

    Attributes:
        number: Which one it is.
        chunks: (source, start, stop) of pieces of the sources, shape (num_chunks, 3).
        ends: Rows that take part up to the end of each chunk.
        edges: Rows that take part before each batch, and all of them.
        kept: Which of all rows take part; None for all.
    """

    number: int
    chunks: NDArray[np.int64]
    ends: NDArray[np.int64]
    edges: NDArray[np.int64]
    kept: NDArray[np.bool_] | None


class BatchStream:
    """Batches that hold every event of the sources exactly once per epoch, or those that are sampled for it.

    All batches of an epoch have the same size within one event, so that no batch is tiny. The order is: chunks of
    consecutive rows of all sources are shuffled, then the rows within pools of many chunks. Each source thus comes in
    proportion to its size. The order depends on the seed and the epoch alone: not on the memory budget or the device.

    Where all events fit the budget they are kept on the device; else a thread reads the next pool while the batches
    of the present one are used.

    Args:
        sources: The events.
        batch_size: Most events in a batch. Where events are sampled, all epochs have as many batches as the first one,
            and a batch has more events than this in an epoch of more.
        device: Where the batches shall be.
        shuffle_seed: Seed of the order; None keeps the order of the sources.
        resident_bytes: Keep the events on the device if they take no more than this.
        event_weights: What ``Batch.weight`` holds, and which events are sampled for an epoch; if not given, 1 for every
            event, and all.
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
        self._first_row = np.concatenate([[0], np.cumsum(lengths)])
        self._chunks = _chunks(lengths)
        first = self._sampled(0)
        self.num_events = int(lengths.sum() if first is None else first.sum())
        self._num_batches = -(-self.num_events // batch_size)
        self._batches_per_pool = max(1, POOL_BYTES // max(1, self._row_bytes() * batch_size))
        self._epoch = self._make_epoch(0, first)
        self._resident: Tensors | None = None
        if self.num_events and self.num_bytes <= resident_bytes:
            self._resident = self._to_device(self._read(self._chunks))

    def __len__(self) -> int:
        return self._num_batches

    @property
    def num_bytes(self) -> int:
        """Bytes that all events take in memory, sampled or not."""
        return int(self._first_row[-1]) * self._row_bytes()

    @property
    def is_resident(self) -> bool:
        """Whether the events are kept on the device."""
        return self._resident is not None

    def events_before(self, batch: int, epoch: int = 0) -> int:
        """Returns how many events of an epoch come before its batch number ``batch``."""
        return int(self._in_epoch(epoch).edges[batch])

    def events_in(self, batch: int, epoch: int = 0) -> int:
        """Returns how many events the batch number ``batch`` of an epoch has, all parts together."""
        return self.events_before(batch + 1, epoch) - self.events_before(batch, epoch)

    def batches(self, epoch: int = 0, *, first: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch, from batch number ``first`` on."""
        present = self._in_epoch(epoch)
        pools = range(first // self._batches_per_pool, -(-len(self) // self._batches_per_pool))
        if self._resident is not None:
            for pool in pools:
                positions = self._positions(self._rows_of_pool(present, pool), present.kept)
                yield from self._split(self._resident, positions, epoch=present, pool=pool, first=first)
            return
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch") as thread:
            following = None
            for pool in pools:
                reading = following or thread.submit(self._read, self._rows_of_pool(present, pool), present.kept)
                tensors = self._to_device(reading.result())
                following = None
                if pool + 1 in pools:
                    following = thread.submit(self._read, self._rows_of_pool(present, pool + 1), present.kept)
                positions = np.arange(len(tensors["event_id"]))
                yield from self._split(tensors, positions, epoch=present, pool=pool, first=first)

    def _in_epoch(self, number: int) -> Epoch:
        if number != self._epoch.number:
            self._epoch = self._make_epoch(number, self._sampled(number))
        return self._epoch

    def _make_epoch(self, number: int, kept: NDArray[np.bool_] | None) -> Epoch:
        chunks = self._chunks
        counts = chunks[:, 2] - chunks[:, 1]
        if kept is not None and len(chunks):
            counts = np.add.reduceat(kept, np.cumsum(counts) - counts, dtype=np.int64)
        if self._seed is not None:
            order = np.random.default_rng([self._seed, number]).permutation(len(chunks))
            chunks, counts = chunks[order], counts[order]
        num_rows = int(counts.sum())
        if num_rows < self._num_batches or (kept is not None and not num_rows):
            raise DataError(
                "sampling leaves no row for a batch",
                got=f"{num_rows} of {self._first_row[-1]} rows in epoch {number + 1}, {self._num_batches} batches",
                hint="set training.loss_weighting to true: it reweights by weights, with all rows",
            )
        edges = np.arange(self._num_batches + 1) * num_rows // max(self._num_batches, 1)
        return Epoch(number, chunks, np.cumsum(counts), edges, kept)

    def _sampled(self, epoch: int) -> NDArray[np.bool_] | None:
        """Returns which of all rows take part in an epoch, None for all of them."""
        sampling = self._weights.sampling
        if sampling is None:
            return None
        kept = [np.zeros(0, np.bool_)]
        for source in self._sources:
            kept.append(sampling.kept(source, epoch))
            drop_pages(source)
        return np.concatenate(kept)

    def _split(
        self, tensors: Tensors, positions: NDArray[np.int64], *, epoch: Epoch, pool: int, first: int
    ) -> Iterator[Batch]:
        number = pool * self._batches_per_pool
        start = epoch.edges[number]
        limits = [
            self._own(int(epoch.edges[batch] - start), int(epoch.edges[batch + 1] - start))
            for batch in range(max(first, number), min(number + self._batches_per_pool, len(self)))
        ]
        if self._seed is None and epoch.kept is None:  # consecutive rows: no copy is needed
            offset = int(positions[0])
            for low, high in limits:
                yield Batch.from_tensors(
                    {name: tensor[offset + low : offset + high] for name, tensor in tensors.items()}
                )
            return
        if self._seed is not None:
            positions = np.random.default_rng([self._seed, epoch.number, pool + 1]).permutation(positions)
        index = self._index(positions)
        for low, high in limits:
            rows = index[low:high]
            yield Batch.from_tensors({name: tensor.index_select(0, rows) for name, tensor in tensors.items()})

    def _index(self, positions: NDArray[np.int64]) -> Tensor:
        """Returns places of rows, on the device."""
        index = torch.from_numpy(positions)
        if self._device.type == "cuda":
            index = index.pin_memory().to(self._device, non_blocking=True)  # from other memory it waits for the GPU
        return index

    def _own(self, low: int, high: int) -> tuple[int, int]:
        """Returns the limits of this part of the rows from ``low`` to ``high``."""
        first, last = part_of(high - low, self._part)
        return (low + first, low + last) if last > first else (low, low + 1)

    def _rows_of_pool(self, epoch: Epoch, pool: int) -> NDArray[np.int64]:
        """Returns (source, start, stop) of every piece of the pool, shape (num_pieces, 3)."""
        number = pool * self._batches_per_pool
        low, high = epoch.edges[number], epoch.edges[min(number + self._batches_per_pool, len(self))]
        first, last = np.searchsorted(epoch.ends, low, side="right"), np.searchsorted(epoch.ends, high, side="left")
        pieces = epoch.chunks[first : last + 1].copy()
        begin, end = self._rows_of_chunk(epoch, first), self._rows_of_chunk(epoch, last)
        pieces[0, 1] = begin[len(begin) - (epoch.ends[first] - low)]
        pieces[-1, 2] = end[len(end) - (epoch.ends[last] - high) - 1] + 1
        return pieces

    def _rows_of_chunk(self, epoch: Epoch, chunk: int) -> NDArray[np.int64]:
        """Returns the rows of a chunk that take part, as places in its source."""
        source, start, stop = epoch.chunks[chunk]
        if epoch.kept is None:
            return np.arange(start, stop)
        first = self._first_row[source]
        rows: NDArray[np.int64] = np.flatnonzero(epoch.kept[first + start : first + stop]) + start
        return rows

    def _positions(self, pieces: NDArray[np.int64], kept: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        starts = self._first_row[pieces[:, 0]] + pieces[:, 1]
        sizes = pieces[:, 2] - pieces[:, 1]
        rows = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, sizes, strict=True)])
        return rows if kept is None else rows[kept[rows]]

    def _read(self, pieces: NDArray[np.int64], kept: NDArray[np.bool_] | None = None) -> Tensors:
        num_rows = int((pieces[:, 2] - pieces[:, 1]).sum()) if kept is None else len(self._positions(pieces, kept))
        pin = self._device.type == "cuda"
        tensors = {
            name: torch.empty((num_rows, *tail), dtype=dtype, pin_memory=pin)
            for name, (tail, dtype) in self._tails.items()
        }
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        of_sources = [source.arrays() for source in self._sources]
        position, unreleased = 0, 0
        for number, start, stop in pieces.tolist():
            first = self._first_row[number]
            own = slice(None) if kept is None else kept[first + start : first + stop]
            weight = self._weights.of(self._sources[number], slice(start, stop))[own]
            rows = slice(position, position + len(weight))
            for name, array in arrays.items():
                array[rows] = weight if name == "weight" else of_sources[number][name][start:stop][own]
            position = rows.stop
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
        for part, dtype in (("features", torch.float32), ("mask", torch.bool), ("vectors", torch.float32))
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

"""The event store: events, their collections and where they come from, in one HDF5 file per shard."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import Collection, EventBlock
from honeyguide.data.sample import SampleInfo
from honeyguide.errors import StoreError, nearest_name

try:
    import hdf5plugin
except ImportError:  # the filter of h5py itself is slower but always there
    _COMPRESSION: dict[str, Any] = {"compression": "lzf"}
else:
    _COMPRESSION = dict(hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=hdf5plugin.Blosc.BITSHUFFLE))

SCHEMA_VERSION = 1
CHUNK_ROWS = 16384
_BUFFERED_CHUNKS = 8
_OFFSETS = "offsets"


class EventStoreWriter:
    """Writes one shard of events of one sample. Use it as a context manager, and :meth:`finalise` it.

    A shard without :meth:`finalise` can't be opened by :class:`EventStore`.

    Args:
        path: The file.
        sample: The sample of the events.
        truths: Names behind the codes in the events' column ``truth``; none where there is no such column.
    """

    def __init__(self, path: Path, *, sample: SampleInfo, truths: Sequence[str] = ()) -> None:
        self._sample = sample
        self._truths = tuple(truths)
        self._path = path
        self._columns: dict[str, _ColumnWriter] = {}
        # v110: attributes beyond 64 kB, faster growth; no chunk cache, since only whole chunks are written
        with self._store_errors():
            self._file = h5py.File(path, "w", libver=("v110", "v110"), rdcc_nbytes=0)
        self._parents: dict[str, str] = {}
        self._num_rows: dict[str, int] = {"events": 0}

    def append(self, block: EventBlock) -> None:
        """Appends the events of ``block``. All blocks need the same columns.

        Raises:
            StoreError: The columns or collections differ from those of the first block, lengths contradict, or the file
                can't be written.
        """
        with self._store_errors():
            self._append(block)

    def _append(self, block: EventBlock) -> None:
        self._append_rows("events", block.events, len(block))
        if self._num_rows["events"] > len(block) and set(block.collections) != set(self._parents):
            raise self._error("the collections differ from those before", set(block.collections), set(self._parents))
        for name, collection in block.collections.items():
            if len(collection.offsets) != _num_parents(block, collection) + 1:
                raise self._error(f"'{name}' has not one offset per parent and one more", len(collection.offsets), None)
            self._parents[name] = collection.parent
            base = self._num_rows.setdefault(name, 0) - int(collection.offsets[0])
            new = collection.offsets[1:] if f"{name}/{_OFFSETS}" in self._columns else collection.offsets
            self._column(name, _OFFSETS, np.dtype(np.int64)).append(new + base)
            self._append_rows(name, collection.columns, len(collection))

    def finalise(
        self,
        *,
        read: int | None = None,
        rejected: Mapping[str, int] | None = None,
        sources: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Writes what is still buffered and the attributes.

        Args:
            read: Rows that were read; by default those appended.
            rejected: Rejected rows by reason.
            sources: Name, size and content hash of each source file.

        Raises:
            StoreError: The file can't be written.
        """
        with self._store_errors():
            self._finalise(read, rejected or {}, sources)

    def _finalise(self, read: int | None, rejected: Mapping[str, int], sources: Sequence[Mapping[str, Any]]) -> None:
        for column in self._columns.values():
            column.flush()
        selected = self._num_rows["events"]
        for name, value in self._sample_columns().items():
            # what is not written is the fill value: these columns take no time and no space
            shape = {"shape": (selected,), "maxshape": (None,), "chunks": (CHUNK_ROWS,)}
            self._file.create_dataset(f"events/{name}", dtype=value.dtype, fillvalue=value, **shape, **_COMPRESSION)
        for name, parent in self._parents.items():
            self._file[name].attrs["parent"] = parent
        sample = self._sample
        attributes: dict[str, Any] = {
            "num_events": selected,
            "read": selected if read is None else read,
            "selected": selected,
            "rejected": dict(rejected),
            "sources": [dict(source) for source in sources],
            "sample": sample.model_dump(mode="json"),
            "truths": list(self._truths),
            "processes": [sample.process],
            "generators": [sample.generator],
            "signal_points": [] if sample.signal_name is None else [sample.signal_name],
        }
        for key, value in attributes.items():
            self._file.attrs[key] = json.dumps(value)
        self._file.attrs["schema_version"] = SCHEMA_VERSION  # last: it says that the shard is whole
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._store_errors():
            if error is not None:
                self._discard()
            self._file.close()

    def _discard(self) -> None:
        """Empties the unfinished file: HDF5 crashes at exit if it can't write what is left when it closes a file."""
        self._path.write_bytes(b"")

    @contextlib.contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError) as error:  # h5py raises both
            raise StoreError(
                "an event store can't be written",
                where=self._path,
                got=error,
                hint="is the store full or read-only?",
            ) from error

    def _sample_columns(self) -> dict[str, np.generic]:
        """Returns the columns that have one value in all events."""
        point = -1 if self._sample.signal_name is None else 0
        codes = {"process": np.int16(0), "generator": np.int16(0), "signal_point": np.int16(point)}
        return {**codes, "label": np.int8(self._sample.label_code)}

    def _append_rows(self, group: str, columns: Mapping[str, NDArray[np.generic]], size: int) -> None:
        known = {name.split("/")[1] for name in self._columns if name.startswith(f"{group}/")} - {_OFFSETS}
        if known and set(columns) != known:
            raise self._error(f"the columns of '{group}' differ from those before", sorted(columns), sorted(known))
        for name, values in columns.items():
            if len(values) != size:
                raise self._error(f"column '{name}' of '{group}' has another length than its group", len(values), size)
            self._column(group, name, values.dtype).append(values)
        self._num_rows[group] = self._num_rows.get(group, 0) + size

    def _column(self, group: str, name: str, dtype: np.dtype[Any]) -> _ColumnWriter:
        key = f"{group}/{name}"
        if key not in self._columns:
            self._columns[key] = _ColumnWriter(self._file, key, dtype)
        return self._columns[key]

    def _error(self, what: str, got: object, allowed: object) -> StoreError:
        return StoreError(f"events can't be appended: {what}", where=self._path, got=got, allowed=allowed)


class _ColumnWriter:
    """Gathers values until they fill chunks, since every write costs and a chunk written twice is compressed twice."""

    def __init__(self, file: h5py.File, name: str, dtype: np.dtype[Any]) -> None:
        self._dataset = file.create_dataset(
            name, shape=(0,), maxshape=(None,), dtype=dtype, chunks=(CHUNK_ROWS,), **_COMPRESSION
        )
        self._buffer = np.empty(_BUFFERED_CHUNKS * CHUNK_ROWS, dtype)
        self._filled = 0

    def append(self, values: NDArray[Any]) -> None:
        taken = 0
        while taken < len(values):
            count = min(len(values) - taken, len(self._buffer) - self._filled)
            self._buffer[self._filled : self._filled + count] = values[taken : taken + count]
            self._filled += count
            taken += count
            if self._filled == len(self._buffer):
                self.flush()

    def flush(self) -> None:
        size = len(self._dataset)
        self._dataset.resize((size + self._filled,))
        self._dataset[size:] = self._buffer[: self._filled]
        self._filled = 0


class EventStore:
    """A shard of events, open for reading. Use it as a context manager, or call :meth:`close`.

    Attributes:
        path: The file.
        num_events: Number of events.
        attrs: schema_version, sources (name, size, hash), read, selected, rejected (by reason), sample,
            processes, generators, signal_points, truths (the names behind the codes).
        sample: The sample of the events.
        columns: Names of the columns of ``events`` and of each collection.

    Raises:
        StoreError: The file is missing, damaged, unfinished or of another schema.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise _damaged(path, error) from error
        try:
            self.attrs = self._read_attributes()
            self.sample = SampleInfo.model_validate(self.attrs["sample"])
            self.num_events = int(self.attrs["num_events"])
            self.parents = {name: str(group.attrs["parent"]) for name, group in self._file.items() if name != "events"}
            self.columns = {
                name: tuple(column for column in group if column != _OFFSETS) for name, group in self._file.items()
            }
            self._check_lengths()
        except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            self.close()
            raise _damaged(path, error) from error
        except StoreError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __len__(self) -> int:
        return self.num_events

    def iter_blocks(
        self, num_events: int = 16384, columns: Mapping[str, Sequence[str]] | None = None
    ) -> Iterator[EventBlock]:
        """Yields the events in order, ``num_events`` at a time; offsets begin at 0 in every block.

        Args:
            num_events: Events per block.
            columns: Columns to read, by group; a group that is not named is left out unless it is the parent of one
                that is. ``id`` and ``weight`` are always read. By default everything.

        Raises:
            StoreError: A column does not exist, or the file is damaged.
        """
        wanted = self._wanted(columns)
        for start in range(0, self.num_events, num_events):
            stop = min(start + num_events, self.num_events)
            try:
                yield self._read(wanted, start, stop)
            except (OSError, RuntimeError) as error:
                raise _damaged(self.path, error) from error

    def _read(self, wanted: Mapping[str, Sequence[str]], start: int, stop: int) -> EventBlock:
        ranges = {"events": (start, stop)}
        events = {name: self._file[f"events/{name}"][start:stop] for name in wanted["events"]}
        collections = {}
        for group in _parents_first(self.parents):
            if group not in wanted:
                continue
            first, last = ranges[self.parents[group]]
            offsets = self._file[f"{group}/{_OFFSETS}"][first : last + 1]
            begin, end = int(offsets[0]), int(offsets[-1])
            ranges[group] = (begin, end)
            collections[group] = Collection(
                parent=self.parents[group],
                offsets=offsets - begin,
                columns={name: self._file[f"{group}/{name}"][begin:end] for name in wanted[group]},
            )
        return EventBlock(events=events, collections=collections)

    def _wanted(self, columns: Mapping[str, Sequence[str]] | None) -> dict[str, Sequence[str]]:
        if columns is None:
            return dict(self.columns)
        wanted: dict[str, Sequence[str]] = {"events": ("id", "weight")}
        for group, names in columns.items():
            if group not in self.columns:
                raise self._unknown(f"no collection '{group}'", group, self.columns)
            for name in names:
                if name not in self.columns[group]:
                    raise self._unknown(f"no column '{name}' in '{group}'", name, self.columns[group])
            wanted[group] = tuple(dict.fromkeys([*wanted.get(group, ()), *names]))
            while group != "events":
                group = self.parents[group]
                wanted.setdefault(group, ())
        return wanted

    def _unknown(self, what: str, name: str, known: Sequence[str] | Mapping[str, Any]) -> StoreError:
        return StoreError(
            f"the event store has {what}", where=self.path, allowed=", ".join(known), nearest=nearest_name(name, known)
        )

    def _read_attributes(self) -> dict[str, Any]:
        attributes = dict(self._file.attrs)
        version = attributes.pop("schema_version", None)
        if version is None:
            raise StoreError(
                "this is no finished event store",
                where=self.path,
                got="no schema_version",
                hint="its writer was interrupted, or it is another kind of HDF5 file; make it again",
            )
        if version != SCHEMA_VERSION:
            raise StoreError(
                "the event store has another schema version",
                where=self.path,
                got=int(version),
                allowed=SCHEMA_VERSION,
                hint="make it again with this version of honeyguide",
            )
        values = {key: json.loads(value) for key, value in attributes.items()}
        return {"schema_version": int(version), "truths": [], **values}

    def _check_lengths(self) -> None:
        sizes = {"events": self.num_events}
        for group in _parents_first(self.parents):
            offsets = self._file[f"{group}/{_OFFSETS}"]
            if len(offsets) != sizes[self.parents[group]] + 1:
                raise ValueError(f"{group}/{_OFFSETS} has {len(offsets)} entries")
            sizes[group] = int(offsets[-1])
        for group, names in self.columns.items():
            for name in names:
                if len(self._file[f"{group}/{name}"]) != sizes[group]:
                    raise ValueError(f"{group}/{name} has not {sizes[group]} entries")


def add_to_ids(path: Path, offset: int) -> None:
    """Adds ``offset`` to the id of every event of a finished shard.

    Raises:
        StoreError: The shard is damaged or can't be written.
    """
    try:
        with h5py.File(path, "r+") as file:
            column = file["events/id"]
            column[:] = column[:] + offset
    except (OSError, KeyError, RuntimeError) as error:
        raise _damaged(path, error) from error


def _parents_first(parents: Mapping[str, str]) -> list[str]:
    """Returns the collections so that each comes after its parent."""
    order: list[str] = []
    while len(order) < len(parents):
        ready = [name for name, parent in parents.items() if name not in order and parent in ("events", *order)]
        if not ready:
            raise ValueError(f"collections without parent: {sorted(set(parents) - set(order))}")
        order += ready
    return order


def _num_parents(block: EventBlock, collection: Collection) -> int:
    return len(block) if collection.parent == "events" else len(block.collections[collection.parent])


def _damaged(path: Path, error: Exception) -> StoreError:
    if isinstance(error, FileNotFoundError):
        return StoreError("there is no event store here", where=path, hint="run DatasetConstructorTask")
    return StoreError(
        "an event store can't be read: it is damaged, truncated or no event store",
        where=path,
        got=error,
        hint="remove it and make it again",
    )

"""Conversion of source files into an event store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from honeyguide.data.events import ROW_BITS
from honeyguide.data.sample import SampleInfo
from honeyguide.errors import DataError
from honeyguide.io.atomic import file_hash
from honeyguide.io.bead_csv import BeadCsvFile
from honeyguide.io.event_store import EventStoreWriter
from honeyguide.io.settings import ReaderSettings

EVENT_STORE = "events.h5"
_KEY_BITS = 63 - ROW_BITS  # ids are positive int64


@dataclass(frozen=True)
class ConversionCounts:
    """What became of the rows of some source files.

    Attributes:
        read: Rows with content.
        selected: Rows that became events.
        rejected: Rejected rows by reason.
        first_rejected: File, line and cell of the first rejected row of each reason.
    """

    read: int = 0
    selected: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    first_rejected: dict[str, str] = field(default_factory=dict)


def convert_files(
    files: Sequence[Path],
    folder: Path,
    *,
    sample: SampleInfo,
    settings: ReaderSettings,
    others: Sequence[Path] = (),
) -> ConversionCounts:
    """Returns the counts of the rows of ``files``, after writing their events to ``folder/events.h5``.

    An event's id is made of the content hash of its file and the index of its row in it: it depends neither on the
    file's name, nor on the order of the files, nor on which of them are converted together.

    Args:
        files: Source files of one sample.
        folder: Where the event store is written; it exists.
        sample: What the events are.
        settings: How the files are read.
        others: All source files of the dataset, ``files`` among them, to find copies.

    Raises:
        DataError: A file can't be read, is given twice, is a copy of another one, or has too many malformed rows.
    """
    _reject_repeated(files, others)
    stamps = {file: _stamp(file) for file in files}
    hashes = {file: _source_hash(file) for file in files}
    _reject_copies(hashes, others)
    counts = ConversionCounts()
    sources: list[dict[str, Any]] = []
    with EventStoreWriter(folder / EVENT_STORE, sample=sample) as writer:
        for file in files:
            counts = _add(counts, _convert(file, writer, settings, hashes[file]))
            if _stamp(file) != stamps[file]:
                raise DataError(
                    "a source file changed while it was read", where=file, hint="run again when it is whole"
                )
            sources.append({"name": file.name, "size": stamps[file][0], "xxh3_128": hashes[file]})
        writer.finalise(read=counts.read, rejected=counts.rejected, sources=sources)
    return counts


def event_id_key(content_hash: str) -> int:
    """Returns the high bits of the ids of the events of a file: the first 39 bits of its content hash (hexadecimal)."""
    return int(content_hash, 16) >> (128 - _KEY_BITS)


def _convert(file: Path, writer: EventStoreWriter, settings: ReaderSettings, content_hash: str) -> BeadCsvFile:
    source = BeadCsvFile(file, settings, id_key=event_id_key(content_hash))
    for block in source.iter_blocks():
        writer.append(block)
    return source


def _add(counts: ConversionCounts, source: BeadCsvFile) -> ConversionCounts:
    first = {reason: str(row) for reason, row in source.first_rejected.items()}
    return ConversionCounts(
        read=counts.read + source.num_rows,
        selected=counts.selected + source.num_selected,
        rejected=dict(Counter(counts.rejected) + Counter(source.rejected)),
        first_rejected={**first, **counts.first_rejected},
    )


def _reject_repeated(files: Sequence[Path], others: Sequence[Path]) -> None:
    """Raises a DataError if one of ``files`` is given twice, by whatever path."""
    for given in (files, others):
        times = Counter(file.resolve() for file in given)
        for file in files:
            if times[file.resolve()] > 1:
                raise DataError(
                    "a source file is given twice",
                    where=", ".join(str(other) for other in given if other.resolve() == file.resolve()),
                    hint="its events would count twice: give it once, in one sample of the dataset",
                )


def _reject_copies(hashes: dict[Path, str], others: Sequence[Path]) -> None:
    """Raises a DataError if two files have the same content. Only files of equal size are read."""
    sizes = {_stamp(file)[0] for file in hashes}
    mine = {file.resolve() for file in hashes}
    found: dict[str, Path] = {}
    candidates = dict(hashes)
    for other in others:
        if other.resolve() not in mine and other.is_file() and other.stat().st_size in sizes:
            candidates[other] = _source_hash(other)
    for file, content_hash in candidates.items():
        twin = found.setdefault(content_hash, file)
        if twin is not file and (file in hashes or twin in hashes):
            raise DataError(
                "two source files are byte-identical copies",
                where=f"{twin} and {file}",
                hint="their events would be in the dataset twice (is a signal file a background file?): remove one",
            )


def _source_hash(file: Path) -> str:
    try:
        return file_hash(file)
    except OSError as error:
        raise _unreadable(file, error) from error


def _stamp(file: Path) -> tuple[int, int]:
    """Returns size and modification time."""
    try:
        status = file.stat()
    except OSError as error:
        raise _unreadable(file, error) from error
    if status.st_size == 0:
        raise DataError("a source file is empty", where=file, got="0 bytes")
    return status.st_size, status.st_mtime_ns


def _unreadable(file: Path, error: OSError) -> DataError:
    return DataError(
        "a source file can't be read", where=file, got=error.strerror or error, hint="does it exist? may you read it?"
    )

"""Conversion of source files into an event store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import xxhash

from honeyguide.data.events import ROW_BITS
from honeyguide.data.sample import SampleInfo
from honeyguide.errors import DataError
from honeyguide.io.array_reader import ParticleFile, summarise_arrays
from honeyguide.io.atomic import file_hash
from honeyguide.io.bead_csv import BeadCsvFile
from honeyguide.io.event_store import EventStoreWriter
from honeyguide.io.root_convert import PieceWriter, convert_root
from honeyguide.io.root_reader import RootFile, summarise
from honeyguide.io.root_sources import RootSource
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
        first_rejected: Where the first rejected row of each reason is: file, line and cell, or file, entry and object.
        truths: Selected rows of each truth; empty where none are defined.
        details: The same counts for each file and process, of ROOT files, as plain JSON types.
    """

    read: int = 0
    selected: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    first_rejected: dict[str, str] = field(default_factory=dict)
    truths: dict[str, int] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """Returns everything as plain JSON types."""
        own = {"read": self.read, "selected": self.selected, "rejected": self.rejected, "truths": self.truths}
        return {**own, "first_rejected": self.first_rejected, **self.details}


def convert_files(
    files: Sequence[RootSource],
    folder: Path,
    *,
    sample: SampleInfo,
    settings: ReaderSettings,
    others: Sequence[RootSource] = (),
    identities: Mapping[RootSource, str] | None = None,
) -> ConversionCounts:
    """Returns the counts of the rows of ``files``, after writing their events to shards ``folder/events*.h5``.

    An event's id is made of the content hash of its file and the index of its row in it: it depends neither on the
    file's name, nor on the order of the files, nor on which of them are converted together. A remote file's URL stands
    for its content.

    Args:
        files: Source files of one sample; URLs as text.
        folder: Where the event store is written; it exists.
        sample: What the events are.
        settings: How the files are read.
        others: All source files of the dataset, ``files`` among them, to find copies.
        identities: What stands for the content of those files whose bytes differ each time that they are made.

    Raises:
        DataError: A file can't be read, is given twice, is a copy of another one, or has too many malformed rows.
    """
    identities = {**{file: file for file in files if isinstance(file, str)}, **(identities or {})}
    local = [file for file in files if isinstance(file, Path)]
    _reject_repeated(files, others)
    stamps = {file: _stamp(file) for file in local}
    hashes = {file: _text_hash(identities[file]) if file in identities else _source_hash(file) for file in files}
    _reject_copies({file: hashes[file] for file in local}, others, identities)
    convert = {"bead_csv": _convert_csv, "root": _convert_root, "arrays": _convert_arrays}[settings.format]
    sources = {file: _source_entry(file, hashes[file], stamps) for file in files}
    counts = convert(sources, folder, sample, settings)
    for file in local:
        if _stamp(file) != stamps[file]:
            raise DataError("a source file changed while it was read", where=file, hint="run again when it is whole")
    return counts


def event_id_key(content_hash: str) -> int:
    """Returns the high bits of the ids of the events of a file: the first 39 bits of its content hash (hexadecimal)."""
    return int(content_hash, 16) >> (128 - _KEY_BITS)


def _convert_csv(
    sources: Mapping[RootSource, dict[str, Any]], folder: Path, sample: SampleInfo, settings: ReaderSettings
) -> ConversionCounts:
    counts = ConversionCounts()
    with EventStoreWriter(folder / EVENT_STORE, sample=sample) as writer:
        for file, entry in sources.items():
            source = BeadCsvFile(Path(file), settings, id_key=event_id_key(entry["xxh3_128"]))
            for block in source.iter_blocks():
                writer.append(block)
            counts = _add(counts, source)
        writer.finalise(read=counts.read, rejected=counts.rejected, sources=list(sources.values()))
    return counts


def _convert_root(
    sources: Mapping[RootSource, dict[str, Any]], folder: Path, sample: SampleInfo, settings: ReaderSettings
) -> ConversionCounts:
    assert settings.root is not None
    files = convert_root(
        {file: (event_id_key(entry["xxh3_128"]), entry) for file, entry in sources.items()},
        PieceWriter(folder, sample, settings.root),
        settings,
    )
    counts = ConversionCounts(details=summarise(files))
    for file in files:
        counts = _add(counts, file)
    return counts


def _convert_arrays(
    sources: Mapping[RootSource, dict[str, Any]], folder: Path, sample: SampleInfo, settings: ReaderSettings
) -> ConversionCounts:
    assert settings.arrays is not None
    rows, limit = settings.arrays.rows(), settings.chunk_size if settings.debug else None
    files = [
        ParticleFile(
            file,
            rows,
            process=sample.process,
            id_key=event_id_key(entry["xxh3_128"]),
            arrays=settings.arrays,
            limit=limit,
        )
        for file, entry in sources.items()
    ]
    counts = ConversionCounts()
    truths = rows.truths.names if rows.truths else ()
    with EventStoreWriter(folder / EVENT_STORE, sample=sample, truths=truths) as writer:
        for file in files:
            for block in file.iter_blocks():
                writer.append(block)
            counts = _add(counts, file)
        writer.finalise(read=counts.read, rejected=counts.rejected, sources=list(sources.values()))
    return replace(counts, details=summarise_arrays(files))


def _add(counts: ConversionCounts, source: BeadCsvFile | RootFile) -> ConversionCounts:
    first = {reason: str(row) for reason, row in source.first_rejected.items()}
    return ConversionCounts(
        read=counts.read + source.num_rows,
        selected=counts.selected + source.num_selected,
        rejected=_sum(counts.rejected, source.rejected),
        first_rejected={**first, **counts.first_rejected},
        truths=_sum(counts.truths, source.truths if isinstance(source, RootFile) else {}),
        details=counts.details,
    )


def _sum(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """Returns the sums of two counts; those that are 0 stay."""
    return {name: first.get(name, 0) + second.get(name, 0) for name in {**first, **second}}


def _source_entry(file: RootSource, content_hash: str, stamps: Mapping[Path, tuple[int, int]]) -> dict[str, Any]:
    if isinstance(file, str):
        return {"name": file, "xxh3_128": content_hash}
    return {"name": file.name, "size": stamps[file][0], "xxh3_128": content_hash}


def _reject_repeated(files: Sequence[RootSource], others: Sequence[RootSource]) -> None:
    """Raises a DataError if one of ``files`` is given twice, by whatever path."""
    for given in (files, others):
        times = Counter(map(_resolved, given))
        for file in files:
            if times[_resolved(file)] > 1:
                raise DataError(
                    "a source file is given twice",
                    where=", ".join(str(other) for other in given if _resolved(other) == _resolved(file)),
                    hint="its events would count twice: give it once, in one sample of the dataset",
                )


def _resolved(file: RootSource) -> RootSource:
    return file.resolve() if isinstance(file, Path) else file


def _reject_copies(hashes: dict[Path, str], others: Sequence[RootSource], identities: Mapping[RootSource, str]) -> None:
    """Raises a DataError if two local files have the same content. Only files of equal size are read."""
    sizes = {_stamp(file)[0] for file in hashes}
    mine = {file.resolve() for file in hashes}
    found: dict[str, Path] = {}
    candidates = dict(hashes)
    for other in others:
        if isinstance(other, str) or other in identities:
            continue
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


def _text_hash(text: str) -> str:
    return xxhash.xxh3_128(text.encode()).hexdigest()


def _source_hash(file: RootSource) -> str:
    try:
        return file_hash(Path(file))
    except OSError as error:
        raise _unreadable(Path(file), error) from error


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

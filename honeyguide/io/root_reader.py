"""ROOT files as blocks of rows, with counts of everything that was not kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from honeyguide.data.events import ROW_BITS, EventBlock
from honeyguide.errors import DataError
from honeyguide.io.coffea_events import named_arrays, processor_rows, processor_truths, read_events
from honeyguide.io.root_rows import NOT_FINITE, RowBuilder, Rows, Tally
from honeyguide.io.root_settings import RootReaderSettings
from honeyguide.io.root_sources import RootSource
from honeyguide.io.root_tree import Arrays, RootTree, UnreadableFileError

MAX_ROWS_PER_FILE = 2**ROW_BITS
"""Row indices have to fit into the low bits of the event id."""


@dataclass
class RootFile:
    """A ROOT file of one process. The counts are those of the rows that were read so far.

    Attributes:
        source: The file, or its URL.
        settings: How it is read.
        process: The process of its events.
        id_key: High bits of the ids: id = (id_key << ROW_BITS) | index of the row among all rows that are read.
        ranges: What is read, one after the other: the first entry of each range and the one after its last. By default
            all of the file, and then the tolerance is checked at its end.
        num_entries: Entries that should be read; 0 if the file could not be opened to tell.
        num_entries_read: Entries that were read.
        num_rows: Rows that were read.
        rejected: Rejected rows by reason.
        first_rejected: File, entry and object of the first rejected row of each reason.
        truths: Selected rows of each truth.
        num_several: Rows that several truths matched, where the first one counts.
        unreadable: What is wrong with the file, where it was skipped from some entry on.
    """

    source: RootSource
    settings: RootReaderSettings
    process: str = ""
    id_key: int = 0
    ranges: Sequence[tuple[int, int]] | None = None
    num_entries: int = 0
    num_entries_read: int = 0
    num_rows: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    first_rejected: dict[str, str] = field(default_factory=dict)
    truths: dict[str, int] = field(default_factory=dict)
    num_several: int = 0
    unreadable: str | None = None

    @property
    def num_selected(self) -> int:
        """Rows that became events."""
        return self.num_rows - sum(self.rejected.values())

    def iter_blocks(self) -> Iterator[EventBlock]:
        """Yields the rows of the file in order, as events with their collections; a block may be empty.

        Events have ``id``, ``weight`` (1 unless it is a column), the columns, ``truth`` (code, in the order of the
        definitions) if truths are defined, and, where rows are objects, ``entry`` and ``object``: where in the tree the
        row is from, and ``group``, the same for the rows of an entry; where the settings say what groups are, ``group``
        is that.

        Raises:
            ConfigError: An expression does not give one value per row.
            DataError: The file, tree or a branch is missing; lists contradict each other; truths do; more rows are not
                finite than the tolerance allows.
            UnreadableFileError: The file is damaged, unless the settings skip such ones.
        """
        self._reset()
        try:
            with RootTree(self.source, self.settings.tree) as tree:
                ranges = self.ranges or [(0, tree.num_entries)]
                self.num_entries = sum(stop - start for start, stop in ranges)
                for rows, num_entries in self._rows(tree, ranges):
                    self._count(rows.tally, num_entries)
                    yield rows.block
        except UnreadableFileError as error:
            if self.settings.unreadable == "error":
                raise
            self.unreadable = f"{error.details['where']}: {error.details['got']}"
        if self.ranges is None:
            self.check()

    def _rows(self, tree: RootTree, ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[Rows, int]]:
        """Yields the rows of each block, and its number of entries."""
        settings, where = self.settings, f"{self.source}, {tree.name}"
        if settings.processor is not None:
            maker = processor_rows(settings.processor, id_key=self.id_key)
            for entries in ranges:
                yield maker(read_events(tree, settings, entries), self.num_rows), entries[1] - entries[0]
            return
        builder = RowBuilder(settings, where=where, id_key=self.id_key)
        for first_entry, arrays in self._arrays(tree, ranges, where):
            num_entries = len(arrays[settings.branches[0]])
            row = self.num_rows
            yield builder.build(arrays, first_entry=first_entry, first_row=row, num_entries=num_entries), num_entries

    def _arrays(self, tree: RootTree, ranges: Sequence[tuple[int, int]], where: str) -> Iterator[tuple[int, Arrays]]:
        """Yields what expressions name, with the index of its first entry: branches, or what a schema makes of them."""
        settings = self.settings
        for entries in ranges:
            if settings.names_branches:
                yield from tree.iter_blocks(settings.branches, settings.block_bytes, entries)
            else:
                yield entries[0], named_arrays(read_events(tree, settings, entries), settings.branches, where)

    @property
    def truth_names(self) -> tuple[str, ...]:
        """Names of the truths, in the order of their codes; empty where rows have none."""
        if self.settings.processor is not None:
            return processor_truths(self.settings.processor)
        return self.settings.truths.names if self.settings.truths else ()

    def _reset(self) -> None:
        self.num_entries = self.num_entries_read = self.num_rows = self.num_several = 0
        self.rejected, self.first_rejected, self.unreadable = {}, {}, None
        self.truths = dict.fromkeys(self.truth_names, 0)

    def _count(self, tally: Tally, num_entries: int) -> None:
        self.num_entries_read += num_entries
        self.num_rows += tally.rows
        self.num_several += tally.several
        self.rejected = dict(Counter(self.rejected) + Counter(tally.rejected))
        first = {reason: f"{self.source}, {place}" for reason, place in tally.first.items()}
        self.first_rejected = {**first, **self.first_rejected}
        self.truths = {name: number + tally.truths.get(name, 0) for name, number in self.truths.items()}
        self._check_size()

    def _check_size(self) -> None:
        if max(self.num_rows, self.num_entries) > MAX_ROWS_PER_FILE:
            raise DataError(
                "a source file has too many rows for its event ids",
                where=self.source,
                got=f"at least {max(self.num_rows, self.num_entries)} rows",
                allowed=f"{MAX_ROWS_PER_FILE} rows per file",
                hint="split it",
            )

    def extend(self, other: RootFile) -> None:
        """Adds the counts of the entries that follow those of this one, unless the file was not readable up to them."""
        self.num_entries += other.num_entries
        if self.unreadable is not None:
            return
        self.num_entries_read += other.num_entries_read
        self.num_rows += other.num_rows
        self.num_several += other.num_several
        self.rejected = dict(Counter(self.rejected) + Counter(other.rejected))
        self.first_rejected = {**other.first_rejected, **self.first_rejected}
        self.truths = {name: number + other.truths[name] for name, number in self.truths.items()}
        self.unreadable = other.unreadable
        self._check_size()

    def check(self) -> None:
        """Raises a DataError if more rows than the tolerance allows were not finite."""
        bad = {reason: number for reason, number in self.rejected.items() if reason.startswith(NOT_FINITE)}
        if sum(bad.values()) > self.settings.tolerance * self.num_rows:
            counts = ", ".join(
                f"{reason} {number}, the first {self.first_rejected[reason]}" for reason, number in bad.items()
            )
            raise DataError(
                "rows of a source file are not finite",
                where=self.source,
                got=f"{sum(bad.values())} of {self.num_rows} rows ({counts})",
                allowed=f"a fraction of {self.settings.tolerance:g} (reader setting 'tolerance')",
                hint="cut them away, mend the expression, or raise the tolerance to go on without these rows",
            )


def summarise(files: Sequence[RootFile]) -> dict[str, Any]:
    """Returns the counts of files that have been read, as plain JSON types: ``files``, a list, and ``processes``.

    Both have ``entries``, ``entries_lost``, ``read``, ``selected``, ``rejected`` by reason, ``truths`` and ``several``;
    a file has its ``name``, ``process`` and ``unreadable``, a process its numbers of ``files`` and
    ``unreadable_files``. What an unreadable file has lost is not known where it could not even be opened.
    """
    listed = [
        {"name": str(file.source), "process": file.process, "unreadable": file.unreadable, **_counts([file])}
        for file in files
    ]
    processes = {}
    for process in dict.fromkeys(file.process for file in files):
        mine = [file for file in files if file.process == process]
        unreadable = sum(file.unreadable is not None for file in mine)
        processes[process] = {"files": len(mine), "unreadable_files": unreadable, **_counts(mine)}
    return {"files": listed, "processes": processes}


def _counts(files: Sequence[RootFile]) -> dict[str, Any]:
    rejected, truths = Counter[str](), Counter[str]()
    for file in files:
        rejected.update(file.rejected)
        truths.update(file.truths)
    return {
        "entries": sum(file.num_entries for file in files),
        "entries_lost": sum(file.num_entries - file.num_entries_read for file in files),
        "read": sum(file.num_rows for file in files),
        "selected": sum(file.num_selected for file in files),
        "rejected": dict(rejected),
        "truths": dict(truths),
        "several": sum(file.num_several for file in files),
    }

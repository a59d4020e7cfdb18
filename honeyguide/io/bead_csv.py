"""BEAD's CSV: one event per row, ragged, read in blocks.

A row is ``weight, met, met_phi, njets``, for each jet ``npart, btag``, and for each of its constituents
``pdg_id, pt, eta, phi`` (GeV, rad). A header line, a byte order mark, blank lines, spaces, and empty cells after the
last one are allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import ROW_BITS, Collection, EventBlock
from honeyguide.errors import DataError
from honeyguide.io.bead_rows import REASONS, Cells, Columns, Tally, make_cells, make_columns, make_tally, sort_rows
from honeyguide.io.decimal_numbers import EXACT, INEXACT, NON_FINITE, NOT_A_NUMBER, parse_cells
from honeyguide.io.massless_jets import sum_constituents, to_float32_angles, wrap_angles
from honeyguide.io.settings import ReaderSettings
from honeyguide.io.text_blocks import TextBlock, iter_text_blocks

MAX_ROWS_PER_FILE = 2**ROW_BITS
"""Row indices have to fit into the low bits of the event id."""
_SHOWN_CELL = 40


@dataclass(frozen=True)
class RejectedRow:
    """The first row that was rejected for one reason."""

    reason: str
    path: Path
    line: int
    """Counted from 1, header and blank lines too."""
    column: int | None
    """Counted from 1; None where the row ended too soon."""
    cell: str

    def __str__(self) -> str:
        place = f"{self.path}, line {self.line}"
        return f"{place}, after its last cell" if self.column is None else f"{place}, cell {self.column}: {self.cell!r}"


@dataclass
class BeadCsvFile:
    """A file in BEAD's CSV format. The counts are those of the rows that were read so far.

    Attributes:
        path: The file.
        settings: How it is read.
        id_key: High bits of the event ids: id = (id_key << ROW_BITS) | index of the row among the rows with content.
        num_rows: Rows with content, without the header.
        rejected: Rejected rows by reason.
        first_rejected: The first rejected row of each reason.
    """

    path: Path
    settings: ReaderSettings = field(default_factory=ReaderSettings)
    id_key: int = 0
    num_rows: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    first_rejected: dict[str, RejectedRow] = field(default_factory=dict)

    @property
    def num_selected(self) -> int:
        """Rows that became events."""
        return self.num_rows - sum(self.rejected.values())

    def iter_blocks(self) -> Iterator[EventBlock]:
        """Yields the events of the file in order: id, weight, met, met_phi; jets and constituents.

        A block may be empty. Its jets' momenta are the sums of their constituents.

        Raises:
            DataError: The file is missing, empty, unreadable, not text, without events, or has more rejected rows than
                the tolerance allows. Each of these says what and where.
        """
        room: tuple[Cells, Columns] | None = None
        tally = make_tally()
        self.num_rows, self.rejected, self.first_rejected = 0, {}, {}
        for block in iter_text_blocks(self.path, self.settings.block_bytes):
            if room is None or len(room[0].values) <= len(block.text):
                room = make_cells(len(block.text)), make_columns(len(block.text))
            cells, columns = room
            num_lines, num_cells = parse_cells(block.text, *cells)
            _settle_inexact(block, cells, num_cells)
            sort_rows(cells, num_lines, columns, tally)
            self._count(block, cells, tally)
            first_row = self.num_rows - int(tally.rows.sum())
            yield _to_events(columns, tally, (self.id_key << ROW_BITS) + first_row)
        self._check()

    def _count(self, block: TextBlock, cells: Cells, tally: Tally) -> None:
        self.num_rows += int(tally.rows.sum())
        if self.num_rows > MAX_ROWS_PER_FILE:
            raise DataError(
                "a source file has too many rows for its event ids",
                where=self.path,
                got=f"more than {self.num_rows - 1} rows",
                allowed=f"{MAX_ROWS_PER_FILE} rows per file",
                hint="split it, e.g. with split --lines=10000000",
            )
        for code in np.flatnonzero(tally.rows[1:]) + 1:
            reason = REASONS[code]
            self.rejected[reason] = self.rejected.get(reason, 0) + int(tally.rows[code])
            if reason not in self.first_rejected:
                line, cell = (int(value) for value in tally.first[code])
                self.first_rejected[reason] = RejectedRow(
                    reason=reason,
                    path=self.path,
                    line=block.first_line + line,
                    column=None if cell < 0 else cell - int(cells.line_cells[line]) + 1,
                    cell="" if cell < 0 else _cell_text(block.text, int(cells.starts[cell])),
                )

    def _check(self) -> None:
        if not self.num_rows:
            raise DataError(
                "a source file has no events", where=self.path, got="a header or blank lines only", hint=_LAYOUT
            )
        num_rejected = sum(self.rejected.values())
        if num_rejected > self.settings.tolerance * self.num_rows:
            counts = ", ".join(f"{reason} {count}" for reason, count in sorted(self.rejected.items()))
            first = "".join(f"\n    {reason}: {row}" for reason, row in sorted(self.first_rejected.items()))
            raise DataError(
                "rows of a source file are malformed",
                where=self.path,
                got=f"{num_rejected} of {self.num_rows} rows rejected ({counts}); the first of each reason:{first}",
                allowed=f"a fraction of {self.settings.tolerance:g} (reader setting 'tolerance')",
                hint="mend the file, or raise the tolerance to go on without these rows",
            )


_LAYOUT = "a row is: weight, met, met_phi, njets, then per jet: npart, btag, then per constituent: pdg_id, pt, eta, phi"


def _cell_text(text: NDArray[np.uint8], start: int) -> str:
    cell = text[start : start + 10 * _SHOWN_CELL].tobytes().split(b"\n")[0].split(b",")[0].strip()
    shown = cell.decode("utf-8", errors="replace")
    return shown if len(shown) <= _SHOWN_CELL else shown[:_SHOWN_CELL] + "..."


def _settle_inexact(block: TextBlock, cells: Cells, num_cells: int) -> None:
    """Asks ``float`` for the rare numbers that the compiled parser could not round for certain."""
    for cell in np.flatnonzero(cells.kinds[:num_cells] == INEXACT):
        start = int(cells.starts[cell])
        stop = int(cells.starts[cell + 1]) - 1 if cell + 1 < num_cells else len(block.text) - 1
        try:
            value = float(block.text[start:stop].tobytes())
        except ValueError:
            cells.kinds[cell] = NOT_A_NUMBER
            continue
        cells.values[cell] = value
        cells.kinds[cell] = EXACT if np.isfinite(value) else NON_FINITE


def _to_events(columns: Columns, tally: Tally, first_id: int) -> EventBlock:
    """Returns the accepted rows as events, in arrays of their own."""
    num_events, num_jets, num_constituents = (int(number) for number in tally.used)
    event = columns.event[:, :num_events]
    row = columns.row[:, :num_events]
    jet = columns.jet[:, :num_jets]
    momentum = columns.momentum[:, :num_constituents]
    wrap_angles(momentum[2])
    pt, eta, phi, mass = sum_constituents(momentum, jet[0], columns.work[:, :num_constituents])
    return EventBlock(
        events={
            "id": row[0] + first_id,
            "weight": event[0].copy(),
            "met": event[1].astype(np.float32),
            "met_phi": to_float32_angles(wrap_angles(event[2])),
        },
        collections={
            "jets": Collection(
                parent="events",
                offsets=_offsets(row[1]),
                columns={
                    "pt": pt.astype(np.float32),
                    "eta": eta.astype(np.float32),
                    "phi": to_float32_angles(phi),
                    "mass": mass.astype(np.float32),
                    "btag": jet[1].astype(np.int8),
                },
            ),
            "constituents": Collection(
                parent="jets",
                offsets=_offsets(jet[0]),
                columns={
                    "pdg_id": columns.pdg_id[:num_constituents].copy(),
                    "pt": momentum[0].astype(np.float32),
                    "eta": momentum[1].astype(np.float32),
                    "phi": to_float32_angles(momentum[2]),
                },
            ),
        },
    )


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets

"""The compiled walk over the cells of BEAD's CSV: ragged rows to flat columns, or a reason to reject them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from honeyguide.io.compiled import compiled
from honeyguide.io.decimal_numbers import EMPTY, EXACT, NON_FINITE

REASONS = (
    "accepted",
    "too_few_cells",
    "too_many_cells",
    "empty_cell",
    "not_a_number",
    "nan_or_infinite",
    "out_of_range",
    "negative_met",
    "negative_pt",
    "bad_count",
    "bad_btag",
    "bad_pdg_id",
)
"""What can be said of a row; the position is the code."""
(
    ACCEPTED,
    TOO_FEW_CELLS,
    TOO_MANY_CELLS,
    EMPTY_CELL,
    NOT_NUMERIC,
    NAN_OR_INFINITE,
    OUT_OF_RANGE,
    NEGATIVE_MET,
    NEGATIVE_PT,
    BAD_COUNT,
    BAD_BTAG,
    BAD_PDG_ID,
) = range(len(REASONS))

LARGEST_MOMENTUM = 1e9
"""GeV; beyond it is no momentum of a collision, and sums could leave the range of float32."""
LARGEST_ETA = 50.0
LARGEST_ANGLE = 1e4
"""rad; larger ones have no digits left for the angle after their turns are taken away."""
LARGEST_WEIGHT = 1e300
LARGEST_INTEGER = 2147483647.0
"""Of counts and PDG ids, which are int32."""

_WEIGHT, _MET, _ANGLE, _COUNT, _BTAG, _PDG_ID, _PT, _ETA = range(8)
_EVENT_CELLS = (_WEIGHT, _MET, _ANGLE, _COUNT)
_JET_CELLS = (_COUNT, _BTAG)
_CONSTITUENT_CELLS = (_PDG_ID, _PT, _ETA, _ANGLE)

Integers = NDArray[np.int64]


class Cells(NamedTuple):
    """The cells of a block of text, as :func:`honeyguide.io.decimal_numbers.parse_cells` gives them."""

    values: NDArray[np.float64]
    kinds: NDArray[np.uint8]
    starts: NDArray[np.int32]
    line_cells: NDArray[np.int32]


class Columns(NamedTuple):
    """Room for the accepted rows of a block."""

    event: NDArray[np.float64]
    """(3, events): weight, met [GeV], met_phi [rad]."""
    row: NDArray[np.int64]
    """(2, events): index among the rows of the block, number of jets."""
    jet: NDArray[np.int64]
    """(2, jets): number of constituents, b-tag."""
    pdg_id: NDArray[np.int32]
    momentum: NDArray[np.float64]
    """(3, constituents): pt [GeV], eta, phi [rad]."""
    work: NDArray[np.float64]
    """(4, constituents): for the sums over constituents."""


class Tally(NamedTuple):
    """What happened to the lines of a block."""

    used: NDArray[np.int64]
    """(3,): accepted events, their jets, their constituents."""
    rows: NDArray[np.int64]
    """(reasons,): rows by reason, also those accepted."""
    first: NDArray[np.int64]
    """(reasons, 2): line in the block and cell of the first row of each reason; -1 where the row ended too soon."""


def make_cells(num_bytes: int) -> Cells:
    """Returns room for the cells of any text of ``num_bytes`` bytes. Pages that stay unused take no memory."""
    size = num_bytes + 1
    return Cells(np.empty(size), np.empty(size, np.uint8), np.empty(size, np.int32), np.empty(size, np.int32))


def make_columns(num_bytes: int) -> Columns:
    """Returns room for the rows of any text of ``num_bytes`` bytes. Pages that stay unused take no memory."""
    events, jets, constituents = (num_bytes // least + 1 for least in (8, 4, 8))  # least bytes of each
    return Columns(
        event=np.empty((3, events)),
        row=np.empty((2, events), np.int64),
        jet=np.empty((2, jets), np.int64),
        pdg_id=np.empty(constituents, np.int32),
        momentum=np.empty((3, constituents)),
        work=np.empty((4, constituents)),
    )


def make_tally() -> Tally:
    """Returns a tally of nothing."""
    return Tally(np.zeros(3, np.int64), np.zeros(len(REASONS), np.int64), np.zeros((len(REASONS), 2), np.int64))


@compiled
def sort_rows(cells: Cells, num_lines: int, columns: Columns, tally: Tally) -> None:
    """Fills ``columns`` and ``tally`` from the first ``num_lines`` lines of ``cells``.

    Rejected rows leave nothing in ``columns``; empty cells at the end of a row are padding, and lines of nothing but
    empty cells are no rows.
    """
    tally.used[:] = 0
    tally.rows[:] = 0
    num_rows = 0
    for line in range(num_lines):
        begin = int(cells.line_cells[line])
        end = int(cells.line_cells[line + 1])
        while end > begin and cells.kinds[end - 1] == EMPTY:
            end -= 1
        if end == begin:
            continue
        events, jets, constituents = tally.used
        reason, cell = _sort_row(cells, begin, end, columns, tally.used)
        if reason == ACCEPTED:
            columns.row[0, events] = num_rows
        else:
            tally.used[0], tally.used[1], tally.used[2] = events, jets, constituents
            if tally.rows[reason] == 0:
                tally.first[reason, 0] = line
                tally.first[reason, 1] = cell if cell < end else -1
        tally.rows[reason] += 1
        num_rows += 1


@compiled
def _sort_row(cells: Cells, begin: int, end: int, columns: Columns, used: Integers) -> tuple[int, int]:
    """Returns (reason, its cell); adds the row of the cells ``begin:end`` to ``columns`` if it is accepted."""
    values, kinds = cells.values, cells.kinds
    event = used[0]
    for column in range(4):
        cell = begin + column
        reason = _judge(kinds[cell], values[cell], _EVENT_CELLS[column]) if cell < end else TOO_FEW_CELLS
        if reason != ACCEPTED:
            return reason, cell
    columns.event[0, event] = values[begin]
    columns.event[1, event] = values[begin + 1]
    columns.event[2, event] = values[begin + 2]
    num_jets = np.int64(values[begin + 3])
    columns.row[1, event] = num_jets
    cell = begin + 4
    for _ in range(num_jets):
        reason, cell = _sort_jet(cells, cell, end, columns, used)
        if reason != ACCEPTED:
            return reason, cell
    used[0] = event + 1
    return (ACCEPTED if cell == end else TOO_MANY_CELLS), cell


@compiled
def _sort_jet(cells: Cells, begin: int, end: int, columns: Columns, used: Integers) -> tuple[int, int]:
    """Returns (reason, the next cell or the bad one); adds the jet that begins at ``begin`` to ``columns``."""
    values, kinds = cells.values, cells.kinds
    pdg_ids, momentum = columns.pdg_id, columns.momentum
    for column in range(2):
        cell = begin + column
        reason = _judge(kinds[cell], values[cell], _JET_CELLS[column]) if cell < end else TOO_FEW_CELLS
        if reason != ACCEPTED:
            return reason, cell
    count = int(values[begin])
    columns.jet[0, used[1]] = count
    columns.jet[1, used[1]] = np.int64(values[begin + 1])
    cell = begin + 2
    first = int(used[2])
    whole = min(count, (end - cell) // 4)
    for constituent in range(first, first + whole):
        pdg_id, pt, eta, phi = values[cell], values[cell + 1], values[cell + 2], values[cell + 3]
        unusual = kinds[cell] | kinds[cell + 1] | kinds[cell + 2] | kinds[cell + 3]
        in_range = 0.0 <= pt <= LARGEST_MOMENTUM and abs(eta) <= LARGEST_ETA and abs(phi) <= LARGEST_ANGLE
        integer = abs(pdg_id) <= LARGEST_INTEGER and np.float64(np.int64(pdg_id)) == pdg_id
        if unusual or not in_range or not integer:
            return _find_bad_cell(cells, cell, end)
        pdg_ids[constituent] = np.int32(pdg_id)
        momentum[0, constituent] = pt
        momentum[1, constituent] = eta
        momentum[2, constituent] = phi
        cell += 4
    if whole < count:
        return _find_bad_cell(cells, cell, end)  # the row ends within this constituent
    used[1] += 1
    used[2] = first + count
    return ACCEPTED, cell


@compiled
def _find_bad_cell(cells: Cells, begin: int, end: int) -> tuple[int, int]:
    """Returns (reason, cell) of the first bad cell of the constituent that begins at ``begin``."""
    for column in range(4):
        cell = begin + column
        if cell >= end:
            return TOO_FEW_CELLS, cell
        reason = _judge(cells.kinds[cell], cells.values[cell], _CONSTITUENT_CELLS[column])
        if reason != ACCEPTED:
            return reason, cell
    return ACCEPTED, begin


@compiled
def _judge(kind: int, value: float, wanted: int) -> int:
    """Returns the reason against a cell of this kind and value where ``wanted`` is expected, or ACCEPTED."""
    if kind != EXACT:
        return EMPTY_CELL if kind == EMPTY else NAN_OR_INFINITE if kind == NON_FINITE else NOT_NUMERIC
    reason = ACCEPTED
    if wanted in (_PT, _MET):
        if value < 0:
            reason = NEGATIVE_PT if wanted == _PT else NEGATIVE_MET
        elif value > LARGEST_MOMENTUM:
            reason = OUT_OF_RANGE
    elif wanted == _PDG_ID:
        if abs(value) > LARGEST_INTEGER or math.floor(value) != value:
            reason = BAD_PDG_ID
    elif wanted == _COUNT:
        if value < 0 or value > LARGEST_INTEGER or math.floor(value) != value:
            reason = BAD_COUNT
    elif wanted == _BTAG:
        if value not in (0, 1):
            reason = BAD_BTAG
    elif abs(value) > (LARGEST_ETA if wanted == _ETA else LARGEST_ANGLE if wanted == _ANGLE else LARGEST_WEIGHT):
        reason = OUT_OF_RANGE
    return reason

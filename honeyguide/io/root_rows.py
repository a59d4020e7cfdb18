"""Rows from the branches of a tree: one per entry or per object, with their collections, cuts and truths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import ROW_BITS, Collection, EventBlock
from honeyguide.data.expressions import Expression
from honeyguide.data.truth import match_truths
from honeyguide.errors import ConfigError, DataError
from honeyguide.io.root_settings import RootReaderSettings

NOT_FINITE = "not finite"
CUT = "cut"
NO_TRUTH = "no truth"
Numbers = NDArray[Any]


@dataclass
class Tally:
    """What became of rows.

    Attributes:
        rows: Number of rows.
        rejected: Rejected rows by reason: ``not finite: pt``, ``cut: acceptance``, ``no truth``. A row has one reason,
            the first of: not finite in a branch that cuts or truths need, cuts in their order, truth, not finite in a
            column.
        first: Entry (and object) of the first rejected row of each reason.
        truths: Selected rows of each truth.
        several: Selected rows that several truths matched.
    """

    rows: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    truths: dict[str, int] = field(default_factory=dict)
    several: int = 0


class RowBuilder:
    """Makes blocks of rows from blocks of entries.

    Args:
        settings: Which columns, collections, cuts and truths.
        where: File and tree, for errors.
        id_key: High bits of the ids of rows and entries.
    """

    def __init__(self, settings: RootReaderSettings, *, where: str, id_key: int = 0) -> None:
        self._settings = settings
        self._where = where
        self._first_id = id_key << ROW_BITS
        self._parsed = settings.parsed()
        self._columns = self._group("columns.")
        self._cuts = self._group("cuts.")
        truths = settings.truths.columns if settings.truths else ()
        self._deciding = tuple(dict.fromkeys([*(n for cut in self._cuts.values() for n in cut.columns), *truths]))

    def build(self, arrays: Mapping[str, Any], *, first_entry: int, first_row: int, num_entries: int) -> Rows:
        """Returns the selected rows of a block and the tally of all of them.

        Args:
            arrays: The branches, by name.
            first_entry: Index of the block's first entry.
            first_row: Index of the block's first row; the others count up.
            num_entries: Entries of the block.

        Raises:
            ConfigError: A column is not of one value per row, or a collection not of one per object.
            DataError: Lists that should belong together differ in length; a truth is wrong and that is an error.
        """
        values = {name: _levels(item.evaluate(arrays), item) for name, item in self._columns.items()}
        offsets = self._row_offsets(values)
        rows = Rows(offsets, num_entries, first_entry)
        columns = {name: rows.spread(item, self._columns[name]) for name, item in values.items()}
        collections = {name: self._collection(name, arrays, rows) for name in self._settings.collections}
        codes = self._select(arrays, rows)
        for name, column in columns.items():
            rows.reject_not_finite(column, name)
        for name, collection in collections.items():
            for column_name, column in collection.columns.items():
                rows.reject_not_finite(column, f"{name}.{column_name}", collection.offsets)
        columns = {"id": rows.indices + (self._first_id + first_row), **columns, **self._group_column(arrays, rows)}
        rows.finish(columns, collections, codes, self._settings.truths.names if self._settings.truths else ())
        return rows

    def _group_column(self, arrays: Mapping[str, Any], rows: Rows) -> dict[str, NDArray[np.int64]]:
        """Returns the id of the physics event that each row belongs to: the entry's, unless the settings have one."""
        group = self._parsed.get("group")
        if group is None:
            return {} if rows.offsets is None else {"group": rows.entries + self._first_id}
        column = rows.spread(_levels(group.evaluate(arrays), group), group)
        if column.dtype.kind not in "iu":
            raise ConfigError("a group is no whole number", where=group.where, got=f"{group.text}: {column.dtype}")
        return {"group": column.astype(np.int64, copy=False)}

    def _group(self, prefix: str) -> dict[str, Expression]:
        return {key.removeprefix(prefix): item for key, item in self._parsed.items() if key.startswith(prefix)}

    def _row_offsets(self, values: Mapping[str, _Levels]) -> NDArray[np.int64] | None:
        if self._settings.rows == "entries":
            return None
        found = {name: item.offsets[0] for name, item in values.items() if item.offsets}
        if not found:
            raise ConfigError(
                "rows are objects, but all columns have one value per entry",
                where=self._where,
                hint="name a branch of lists in columns (Jet_pt), or set rows: entries",
            )
        first = next(iter(found))
        for name, offsets in found.items():
            _check_same(found[first], offsets, (f"columns.{first}", f"columns.{name}"), self._where)
        return found[first]

    def _select(self, arrays: Mapping[str, Any], rows: Rows) -> NDArray[np.int16] | None:
        """Returns the truth of each row, if truths are defined, and rejects the rows without, and by cuts."""
        deciding = {name: rows.try_spread(arrays[name]) for name in self._deciding}
        for name, column in deciding.items():
            if column is not None:
                rows.reject_not_finite(column, name)
        for name, cut in self._cuts.items():
            passed = rows.spread(_levels(cut.evaluate(arrays), cut), cut)
            if passed.dtype.kind == "f":  # NaN is not 0: it would pass
                raise ConfigError("a cut is no condition", where=cut.where, got=cut.text, hint="compare it: x > 0")
            rows.reject(passed == 0, f"{CUT}: {name}")
        settings = self._settings.truths
        if settings is None:
            return None
        columns = {}
        for name in settings.columns:
            column = deciding[name]
            if column is None:
                raise ConfigError("a truth's branch has not one value per row", where=self._where, got=name)
            columns[name] = column if rows.all_alive else column[rows.alive]
        truths = match_truths(columns, settings, where=self._where)
        codes = np.full(len(rows.alive), -1, np.int16)
        codes[rows.alive] = truths.codes
        rows.tally.several = truths.num_several
        rows.reject(codes < 0, NO_TRUTH)
        return codes

    def _collection(self, name: str, arrays: Mapping[str, Any], rows: Rows) -> Collection:
        """Returns the collection of all rows, selected or not."""
        group = self._group(f"collections.{name}.columns.")
        index = self._parsed.get(f"collections.{name}.row_index")
        nested = rows.offsets is not None and index is None
        levels = {key: _levels(item.evaluate(arrays), item) for key, item in group.items()}
        first = next(iter(levels))
        for key, item in levels.items():
            if len(item.offsets) != 1 + nested:
                raise _wrong_depth(group[key], len(item.offsets), 1 + nested)
            for mine, others in zip(item.offsets, levels[first].offsets, strict=True):
                _check_same(others, mine, tuple(f"collections.{name}.{each}" for each in (first, key)), self._where)
        if nested:
            keys = ("columns", f"collections.{name}")
            _check_same(rows.offsets, levels[first].offsets[0], keys, self._where)
        columns = {key: stored_column(item.content) for key, item in levels.items()}
        offsets = levels[first].offsets[-1]
        if index is None:
            return Collection("events", offsets, columns)
        places = _levels(index.evaluate(arrays), index)
        if len(places.offsets) != 1 or places.content.dtype.kind not in "iu":
            raise ConfigError("a row_index is not a list of whole numbers per entry", where=index.where, got=index.text)
        _check_same(offsets, places.offsets[0], (f"collections.{name}", index.where), self._where)
        return rows.link(columns, offsets, places.content, index)


class Rows:
    """The rows of a block while they are selected; then ``block`` and ``tally`` say what came of them."""

    def __init__(
        self, offsets: NDArray[np.int64] | None, num_entries: int, first_entry: int, *, unit: str = "entry"
    ) -> None:
        self._unit = unit
        self.offsets = offsets
        self.alive = np.ones(num_entries if offsets is None else int(offsets[-1]), np.bool_)
        self.all_alive = True
        self.tally = Tally(rows=len(self.alive))
        self.block: EventBlock
        self._num_entries = num_entries
        self._first_entry = first_entry

    @property
    def indices(self) -> NDArray[np.int64]:
        """Index of each row in the block."""
        return np.arange(len(self.alive))

    @property
    def entries(self) -> NDArray[np.int64]:
        """Index in the tree of each row's entry."""
        if self.offsets is None:
            return self.indices + self._first_entry
        return np.repeat(np.arange(self._num_entries), np.diff(self.offsets)) + self._first_entry

    def spread(self, levels: _Levels, expression: Expression) -> Numbers:
        """Returns one value per row: those of the objects, or those of their entries repeated."""
        column = self._spread(levels)
        if column is None:
            raise _wrong_depth(expression, len(levels.offsets), 0 if self.offsets is None else 1)
        return stored_column(column)

    def try_spread(self, array: Any) -> Numbers | None:
        """Returns one value per row of a branch; None if it has others, of candidates for instance."""
        levels = flat_levels(array)
        return None if levels is None else self._spread(levels)

    def reject(self, bad: NDArray[np.bool_], reason: str) -> None:
        """Rejects rows, unless they are rejected already."""
        new = bad if self.all_alive else bad & self.alive
        number = int(np.count_nonzero(new))
        if number:
            self.tally.rejected[reason] = number
            self.tally.first[reason] = self._place(int(new.argmax()))
            self.alive &= ~new
            self.all_alive = False

    def reject_not_finite(self, column: Numbers, name: str, offsets: NDArray[np.int64] | None = None) -> None:
        """Rejects the rows where a column, or with ``offsets`` one of the row's objects, is NaN or infinite."""
        # one pass without an array of flags: a sum is finite only if everything is, and seldom overflows if it is
        if column.dtype.kind != "f" or np.isfinite(_sum(column)):
            return
        bad = ~np.isfinite(column)
        if offsets is not None:
            parents = np.repeat(np.arange(len(self.alive)), np.diff(offsets))
            bad = np.bincount(parents[bad], minlength=len(self.alive)) > 0
        self.reject(bad, f"{NOT_FINITE}: {name}")

    def link(
        self, columns: dict[str, Numbers], offsets: NDArray[np.int64], places: Numbers, index: Expression
    ) -> Collection:
        """Returns objects of entries as objects of rows, in their order; those with a negative place belong to none."""
        assert self.offsets is not None
        entries = np.repeat(np.arange(self._num_entries), np.diff(offsets))
        places = places.astype(np.int64, copy=False)
        bad = places >= np.diff(self.offsets)[entries]
        if bad.any():
            raise DataError(
                "a row_index points beyond the rows of its entry",
                where=index.where,
                got=f"{index.text}: {places[bad][0]} in entry {self._first_entry + entries[bad][0]}",
                hint="is it the index of another collection?",
            )
        linked = np.flatnonzero(places >= 0)
        parents = (self.offsets[entries] + places)[linked]
        order = linked[np.argsort(parents, kind="stable")]
        counts = np.bincount(parents, minlength=len(self.alive))
        return Collection("events", _offsets(counts), {name: column[order] for name, column in columns.items()})

    def finish(
        self,
        columns: dict[str, Numbers],
        collections: dict[str, Collection],
        codes: NDArray[np.int16] | None,
        truths: Sequence[str],
    ) -> None:
        """Makes the block of the rows that are left."""
        events: dict[str, Numbers] = {"weight": np.ones(len(self.alive)), **columns}
        events["weight"] = events["weight"].astype(np.float64, copy=False)
        if self.offsets is not None:
            events["entry"] = self.entries
            events["object"] = (self.indices - self.offsets[events["entry"] - self._first_entry]).astype(np.int32)
        if codes is not None:
            events["truth"] = codes
        if not self.all_alive:
            events = {name: column[self.alive] for name, column in events.items()}
            collections = {name: _selected(collection, self.alive) for name, collection in collections.items()}
        if codes is not None:
            sizes = np.bincount(events["truth"], minlength=len(truths))
            self.tally.truths = dict(zip(truths, sizes.tolist(), strict=True))
        self.block = EventBlock(events, collections)

    def _spread(self, levels: _Levels) -> Numbers | None:
        if not levels.offsets:
            return levels.content if self.offsets is None else np.repeat(levels.content, np.diff(self.offsets))
        if self.offsets is None or len(levels.offsets) > 1 or not np.array_equal(levels.offsets[0], self.offsets):
            return None
        return levels.content

    def _place(self, row: int) -> str:
        if self.offsets is None:
            return f"{self._unit} {self._first_entry + row}"
        entry = int(np.searchsorted(self.offsets, row, side="right")) - 1
        return f"entry {self._first_entry + entry}, object {row - int(self.offsets[entry])}"


@dataclass(frozen=True)
class _Levels:
    """Values, flat, with the offsets of the lists that they are in, outermost first."""

    content: Numbers
    offsets: tuple[NDArray[np.int64], ...] = ()


def _levels(values: Any, expression: Expression) -> _Levels:
    levels = flat_levels(values)
    if levels is None:
        raise ConfigError(
            "a column is no number, nor a list of numbers",
            where=expression.where,
            got=f"{expression.text} is of type {getattr(values, 'type', type(values))}",
        )
    return levels


def flat_levels(values: Any) -> _Levels | None:
    """Returns numbers and offsets of an array, or None if it has none."""
    if isinstance(values, np.ndarray):
        return _Levels(values) if values.ndim == 1 and values.dtype.kind in "biuf" else None
    layout = values.layout
    offsets: list[NDArray[np.int64]] = []
    while not isinstance(layout, ak.contents.NumpyArray) or layout.data.ndim > 1:
        if isinstance(layout, ak.contents.NumpyArray):
            layout = layout.to_RegularArray()
        elif layout.is_list and layout.parameter("__array__") not in ("string", "bytestring"):
            layout = layout.to_ListOffsetArray64(True)
            offsets.append(np.asarray(layout.offsets.data))
            layout = layout.content[: int(offsets[-1][-1])]
        elif isinstance(layout, ak.contents.IndexedArray):
            layout = layout.project()
        else:
            return None
    content = np.asarray(layout.data)
    return _Levels(content, tuple(offsets)) if content.dtype.kind in "biuf" else None


def stored_column(column: Numbers) -> Numbers:
    """Returns a column in a type that every store has."""
    if column.dtype.kind == "b":
        return column.astype(np.int8)
    return column.astype(np.float32) if column.dtype == np.float16 else column


def _sum(column: Numbers) -> Any:
    with np.errstate(all="ignore"):
        return np.add.reduce(column)


def _offsets(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _selected(collection: Collection, alive: NDArray[np.bool_]) -> Collection:
    """Returns the objects of the rows that are left."""
    kept = np.repeat(alive, collection.counts)
    columns = {name: column[kept] for name, column in collection.columns.items()}
    return Collection(collection.parent, _offsets(collection.counts[alive]), columns)


def _check_same(first: Any, second: Any, keys: tuple[str, ...], where: str) -> None:
    if not np.array_equal(first, second):
        raise DataError(
            "lists that belong together have different lengths",
            where=where,
            got=" and ".join(keys),
            hint="are they branches of one collection? row_index links objects to rows",
        )


def _wrong_depth(expression: Expression, depth: int, allowed: int) -> ConfigError:
    kinds = ("one value per entry", "a list per entry", "lists within a list per entry", "deeper lists")
    return ConfigError(
        "a column has not one value per row, or per object of its collection",
        where=expression.where,
        got=f"{expression.text}: {kinds[min(depth, 3)]}{'' if depth != allowed else ' of other lengths'}",
        allowed=kinds[allowed],
        hint="rows: objects makes a row of each object; sum, max, count, ... make one value of a list",
    )

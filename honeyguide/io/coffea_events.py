"""Events as coffea's schemas see them, and the rows that a user's processor makes of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np

from honeyguide.data.events import ROW_BITS, Collection
from honeyguide.errors import DataError, nearest_name
from honeyguide.io.processors import load_processor
from honeyguide.io.root_rows import NO_TRUTH, Rows, flat_levels, stored_column
from honeyguide.io.root_settings import RootReaderSettings
from honeyguide.io.root_tree import Arrays, RootTree

MISSING = -9999
"""What stands where an event has no whole number: a jet without match has no flavour."""
_KEYS = ("columns", "collections", "truth", "group")


def read_events(tree: RootTree, settings: RootReaderSettings, entries: tuple[int, int]) -> Any:
    """Returns entries of a tree as NanoEvents, whose branches are read when they are used."""
    from coffea.nanoevents import NanoEventsFactory, schemas

    with warnings.catch_warnings():
        # what the file has not and the schema knows: not of interest until an expression names it, and that is an error
        warnings.simplefilter("ignore")
        factory = NanoEventsFactory.from_root(
            {str(tree.source): tree.name},
            schemaclass=getattr(schemas, settings.coffea_schema or "BaseSchema"),
            entry_start=entries[0],
            entry_stop=entries[1],
        )
        return factory.events()


def named_arrays(events: Any, names: Sequence[str], where: str) -> Arrays:
    """Returns the arrays of dotted names (``Jet.matched_gen.partonFlavour``).

    Raises:
        DataError: There is nothing of that name; the message has the nearest one.
    """
    return {name: _filled(_follow(events, name, where)) for name in names}


def _follow(events: Any, name: str, where: str) -> Any:
    array = events
    for part in name.split("."):
        known = list(ak.fields(array))
        try:
            array = array[part] if part in known else getattr(array, part)
        except AttributeError as error:
            nearest = nearest_name(part, known)
            raise DataError(
                f"there is no '{name}' in these events",
                where=where,
                nearest=nearest,
                hint=None if nearest else f"beside '{part}' there are {', '.join(known[:12])}",
            ) from error
    return array


def _filled(array: Any) -> Any:
    """Returns an array without missing values, nor anything else but numbers and lists."""
    plain = ak.without_parameters(array)
    numbers = ak.to_numpy(ak.flatten(plain, axis=None)) if not ak.fields(plain) else np.zeros(0)
    value = np.float32(np.nan) if numbers.dtype.kind == "f" else np.int64(MISSING)
    return ak.fill_none(plain, value, axis=None)


def processor_truths(name: str) -> tuple[str, ...]:
    """Returns the names behind the codes of a processor's ``truth``: its attribute ``truths``; empty without one."""
    return tuple(getattr(load_processor(name), "truths", ()))


def processor_rows(name: str, *, id_key: int) -> Callable[[Any, int], Rows]:
    """Returns a function of NanoEvents and the index of their first row, which makes the rows by a user's processor.

    ``process(events)`` returns a mapping: ``columns`` (name -> one number per row), and optionally ``collections``
    (name -> column -> a list of numbers per row), ``truth`` (a code per row, the place in the processor's ``truths``,
    or -1 for rows to leave out) and ``group`` (the number of the event that a row belongs to).

    Raises:
        ConfigError: There is no such processor.
        DataError: What it returns is not of that form.
    """
    processor = load_processor(name)
    truths = tuple(getattr(processor, "truths", ()))

    def rows(events: Any, first_row: int) -> Rows:
        return _Result(processor.process(events), name, truths).rows(first_row, id_key)

    return rows


class _Result:
    """What a processor has returned for a block of events."""

    def __init__(self, made: Any, name: str, truths: tuple[str, ...]) -> None:
        self._name, self._truths = name, truths
        if not isinstance(made, Mapping) or not made.get("columns") or set(made) - set(_KEYS):
            got = sorted(made) if isinstance(made, Mapping) else type(made).__name__
            raise self._wrong("the mapping that it should", got, f"'columns', not empty, and of {_KEYS[1:]}")
        self._columns = {key: self._flat(key, values) for key, values in made["columns"].items()}
        self._num_rows = len(next(iter(self._columns.values())))
        for key, column in self._columns.items():
            self._check_length(f"columns.{key}", len(column))
        given = made.get("collections", {})
        self._collections = {key: self._collection(key, columns) for key, columns in given.items()}
        self._truth = self._whole("truth", made)
        self._group = self._whole("group", made)
        if (self._truth is None) == bool(truths):
            raise self._wrong("'truth' and its names together", f"truths = {truths}", "both or none")
        if (
            self._truth is not None
            and len(self._truth)
            and not -1 <= self._truth.min() <= self._truth.max() < len(truths)
        ):
            raise self._wrong(
                "codes of its truths", f"{self._truth.min()} to {self._truth.max()}", f"-1 to {len(truths) - 1}"
            )

    def rows(self, first_row: int, id_key: int) -> Rows:
        """Returns the rows, without those that are not finite or have no truth."""
        rows = Rows(None, self._num_rows, first_row, unit=f"row of {self._name.rpartition(':')[2]}")
        for name, column in self._columns.items():
            rows.reject_not_finite(column, name)
        for name, collection in self._collections.items():
            for key, column in collection.columns.items():
                rows.reject_not_finite(column, f"{name}.{key}", collection.offsets)
        codes = None
        if self._truth is not None:
            codes = self._truth.astype(np.int16)
            rows.reject(codes < 0, NO_TRUTH)
        group = {} if self._group is None else {"group": self._group.astype(np.int64)}
        columns = {"id": rows.indices + first_row + (id_key << ROW_BITS), **self._columns, **group}
        rows.finish(columns, self._collections, codes, self._truths)
        return rows

    def _flat(self, key: str, values: Any) -> Any:
        levels = flat_levels(ak.Array(values))
        if levels is None or levels.offsets:
            raise self._wrong("one number per row", f"columns.{key}: {ak.type(values)}", "a flat array of numbers")
        return stored_column(levels.content)

    def _collection(self, name: str, columns: Mapping[str, Any]) -> Collection:
        flat: dict[str, Any] = {}
        offsets = np.zeros(0, np.int64)
        for key, values in columns.items():
            levels = flat_levels(ak.Array(values))
            if levels is None or len(levels.offsets) != 1:
                raise self._wrong("a list per row", f"collections.{name}.{key}", "rows * var * number")
            if flat and not np.array_equal(levels.offsets[0], offsets):
                raise self._wrong("lists of one length", f"collections.{name}.{key}", "that of the other columns")
            offsets = levels.offsets[0]
            flat[key] = stored_column(levels.content)
        self._check_length(f"collections.{name}", len(offsets) - 1)
        return Collection("events", offsets, flat)

    def _whole(self, key: str, made: Mapping[str, Any]) -> Any:
        if made.get(key) is None:
            return None
        values = self._flat(key, made[key])
        self._check_length(key, len(values))
        if values.dtype.kind not in "iu":
            raise self._wrong("whole numbers", f"{key}: {values.dtype}", "integers")
        return values

    def _check_length(self, key: str, length: int) -> None:
        if length != self._num_rows:
            raise self._wrong("columns of one length", f"{key}: {length}", self._num_rows)

    def _wrong(self, what: str, got: object, allowed: object) -> DataError:
        return DataError(
            f"a processor does not return {what}",
            where=self._name,
            got=got,
            allowed=allowed,
            hint="docs/coffea-processors.md says what process(events) returns",
        )

"""Truths of rows: a class code from the values of branches, and never a class by default."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.truth_settings import TruthSettings
from honeyguide.errors import ConfigError, DataError, nearest_name

UNMATCHED = -1
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}


@dataclass(frozen=True)
class Truths:
    """The truths of some rows.

    Attributes:
        codes: Shape (num_rows,), int16: index of the truth in ``settings.names``, -1 where none matches.
        counts: Rows of each truth, by name.
        num_unmatched: Rows that no truth matches.
        num_several: Rows that more than one truth matches.
    """

    codes: NDArray[np.int16]
    counts: dict[str, int]
    num_unmatched: int
    num_several: int


def match_truths(columns: Mapping[str, NDArray[Any]], settings: TruthSettings, *, where: object = None) -> Truths:
    """Returns the truth of each row.

    Args:
        columns: One array (num_rows,) per branch; NaN matches no condition.
        settings: The definitions.
        where: File and tree, for errors.

    Raises:
        ConfigError: A branch of the definitions is not among the columns.
        DataError: A row matches no truth or several ones, and the settings make that an error.
    """
    _check_columns(columns, settings)
    masks = _masks(columns, settings)
    matches = masks.sum(axis=0)
    for bad, what, choice, key, hint in (
        (
            matches > 1,
            "rows match several truths",
            settings.several,
            "several",
            "make the definitions exclude each other",
        ),
        (matches == 0, "rows match no truth", settings.unmatched, "unmatched", "define a truth for them"),
    ):
        if choice == "error" and bad.any():
            raise DataError(
                what,
                where=where,
                got=_first_row(columns, settings, masks, bad),
                hint=f"{hint}, or set '{key}' to '{'first' if key == 'several' else 'drop'}'",
            )
    codes = np.where(matches > 0, masks.argmax(axis=0), UNMATCHED).astype(np.int16)
    sizes = np.bincount(codes[codes >= 0], minlength=len(masks))
    return Truths(
        codes=codes,
        counts={name: int(size) for name, size in zip(settings.names, sizes, strict=True)},
        num_unmatched=int((matches == 0).sum()),
        num_several=int((matches > 1).sum()),
    )


def _check_columns(columns: Mapping[str, NDArray[Any]], settings: TruthSettings) -> None:
    for name in settings.columns:
        if name not in columns:
            raise ConfigError(
                f"truths are defined by the branch '{name}', which is not there",
                where="truths",
                nearest=nearest_name(name, columns),
            )


def _masks(columns: Mapping[str, NDArray[Any]], settings: TruthSettings) -> NDArray[np.bool_]:
    """Returns which truths match which rows, shape (num_truths, num_rows)."""
    if isinstance(settings.definitions, tuple):
        return np.stack([_holds(columns[name], {"!=": 0}) for name in settings.definitions])
    return np.stack(
        [
            np.all([_holds(columns[branch], test) for item in definition for branch, test in item.items()], axis=0)
            for definition in settings.definitions.values()
        ]
    )


def _holds(values: NDArray[Any], condition: Any) -> NDArray[np.bool_]:
    """Returns where a condition on one branch holds: any of a list, one comparison, or equality with a number."""
    if isinstance(condition, tuple):
        return np.asarray(np.any([_holds(values, part) for part in condition], axis=0))
    if not isinstance(condition, Mapping):
        condition = {"==": condition}
    ((name, number),) = condition.items()
    if values.dtype.kind in "iu":
        # numpy refuses to compare uint8 with -5; int64 holds the values of all branches of codes
        values = values.astype(np.int64, copy=False)
    result = np.asarray(_OPERATORS[name](values, number), np.bool_)
    # NaN differs from every number, which must not make it a truth
    if values.dtype.kind == "f" and name == "!=":
        result[np.isnan(values)] = False
    return result


def _first_row(
    columns: Mapping[str, NDArray[Any]], settings: TruthSettings, masks: NDArray[np.bool_], bad: NDArray[np.bool_]
) -> str:
    row = int(bad.argmax())
    values = ", ".join(f"{name} = {columns[name][row]}" for name in settings.columns)
    matched = [name for name, mask in zip(settings.names, masks, strict=True) if mask[row]]
    truths = f" ({', '.join(matched)})" if matched else ""
    return f"{int(bad.sum())} of {len(bad)} rows; the first one has {values}{truths}"

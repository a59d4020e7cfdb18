"""What expressions compute: the operations on numpy and awkward columns behind each operator and function."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import awkward as ak
import numpy as np


def as_operand(column: Any) -> Any:
    """Returns a column as expressions compute with it: whole numbers as int64, lists of equal length as lists.

    Small and unsigned integers would wrap: 200 + 100 is 44 in uint8.
    """
    if isinstance(column, np.ndarray) and column.ndim > 1:
        column = ak.from_numpy(column, regulararray=True)
    if isinstance(column, ak.Array):
        # flat columns are combined with the last axis of regular lists, as numpy does, but with the entries of others
        column = ak.from_regular(column, axis=None)
    if isinstance(column, np.ndarray):
        return column.astype(np.int64, copy=False) if column.dtype.kind in "iu" else column
    return ak.values_astype(column, np.int64) if _is_integer(column) else column


def _leaf_dtype(values: Any) -> np.dtype[Any]:
    if isinstance(values, ak.Array):
        form = values.layout.form
        while hasattr(form, "content"):
            form = form.content
        return np.dtype(getattr(form, "primitive", object))
    return np.asarray(values).dtype


def _is_integer(values: Any) -> bool:
    return _leaf_dtype(values).kind in "iu"


def _as_float(values: Any) -> Any:
    return ak.values_astype(values, np.float64) if isinstance(values, ak.Array) else np.asarray(values, np.float64)


def _power(base: Any, exponent: Any) -> Any:
    """Returns ``base ** exponent``; of whole numbers as float64, which neither wraps nor refuses negative exponents."""
    if _is_integer(base) and _is_integer(exponent):
        base = _as_float(base)
    return np.power(base, exponent)


def _remainder(left: Any, right: Any) -> Any:
    """Returns ``left % right``; numpy says 0 for whole numbers where the divisor is 0, here that is NaN."""
    if not isinstance(right, (int, float)) and _is_integer(left) and _is_integer(right):
        left, right = _as_float(left), _as_float(right)
    return np.remainder(left, right)


def _where(condition: Any, then: Any, otherwise: Any) -> Any:
    parts = (condition, then, otherwise)
    if any(isinstance(part, ak.Array) for part in parts):
        arrays = ak.broadcast_arrays(*parts)
        return ak.where(arrays[0] != 0, *arrays[1:])
    return np.where(condition, then, otherwise)


def _clip(values: Any, low: Any, high: Any) -> Any:
    return np.minimum(np.maximum(values, low), high)


def _lists(values: Any) -> ak.Array:
    if not isinstance(values, ak.Array) or values.ndim < 2:
        raise TypeError("the column has one value per entry: there is nothing to reduce or to index")
    return values


def _sum(values: Any) -> Any:
    return _flat(ak.sum(_lists(values), axis=-1, mask_identity=False))


def _mean(values: Any) -> Any:
    values = _as_float(_lists(values))
    return _flat(ak.sum(values, axis=-1, mask_identity=False) / ak.num(values, axis=-1))


def _extreme(reducer: Callable[..., Any]) -> Callable[[Any], Any]:
    def apply(values: Any) -> Any:
        values = _lists(values)
        if _leaf_dtype(values).kind != "f":
            values = _as_float(values)
        return _flat(ak.fill_none(reducer(values, axis=-1, mask_identity=True), np.nan, axis=-1))

    return apply


def _flat(values: ak.Array) -> Any:
    """Returns one value per entry as numpy; values of lists of lists stay lists."""
    return ak.to_numpy(values) if values.ndim == 1 else values


def _take(values: Any, index: Any) -> ak.Array:
    values, index = _lists(values), _lists(index)
    if values.ndim != 2 or index.ndim != 2 or len(values) != len(index) or not _is_integer(index):
        raise TypeError("take needs a list of values and a list of whole numbers per entry")
    if _leaf_dtype(values).kind != "f":
        values = _as_float(values)
    sizes = np.asarray(ak.num(values))
    counts = np.asarray(ak.num(index))
    places = ak.to_numpy(ak.flatten(index))
    inside = (places >= 0) & (places < np.repeat(sizes, counts))
    content = ak.to_numpy(ak.flatten(values))
    starts = np.repeat(np.cumsum(sizes) - sizes, counts)
    taken = np.full(len(places), np.nan, content.dtype)
    taken[inside] = content[(starts + places)[inside]]
    return ak.unflatten(taken, counts)


_UFUNCS = (
    *("sqrt", "exp", "expm1", "log", "log10", "log1p", "sign", "floor", "sin", "cos", "tan", "sinh", "cosh", "tanh"),
    *("arcsin", "arccos", "arctan", "arctan2", "hypot", "isfinite", "isnan"),
)

OPERATIONS: Mapping[str, Callable[..., Any]] = {
    **{name: getattr(np, name) for name in _UFUNCS},
    "abs": np.abs,
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.true_divide,
    "%": _remainder,
    "**": _power,
    "neg": np.negative,
    "pos": np.positive,
    "&": operator.and_,
    "|": operator.or_,
    "~": operator.invert,
    "and": np.logical_and,
    "or": np.logical_or,
    "not": np.logical_not,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "clip": _clip,
    "where": _where,
    "sum": _sum,
    "mean": _mean,
    "lowest": _extreme(ak.min),
    "highest": _extreme(ak.max),
    "min": lambda *values: reduce(np.minimum, values),
    "max": lambda *values: reduce(np.maximum, values),
    "any": lambda values: _flat(ak.any(_lists(values), axis=-1)),
    "all": lambda values: _flat(ak.all(_lists(values), axis=-1)),
    "count": lambda values: _flat(ak.num(_lists(values), axis=-1)),
    "take": _take,
}
"""The operations by the names that the parser gives them."""

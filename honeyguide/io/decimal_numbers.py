"""Decimal numbers in text, parsed to the same float64 as Python's ``float`` gives.

The compiled functions take ``text`` as uint8 that ends with a line end.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.io.compiled import compiled

EXACT, INEXACT, EMPTY, NOT_A_NUMBER, NON_FINITE = range(5)
"""What :func:`parse_number` found. INEXACT: a number, but ``float`` has to be asked for its value."""

_LARGEST_TABLE_EXPONENT = 60
_MANTISSA_DIGITS = 19  # all of them fit into 64 bits
_MANTISSA_LIMIT = np.uint64(10 ** (_MANTISSA_DIGITS - 1))
_EXACT_DIGITS = 15  # all of them are below 2**53
_EXACT_MANTISSA = np.uint64(2**53)
_EXPONENT_LIMIT = 9999
_SPLITTER = 134217729.0  # 2**27 + 1

_COMMA, _NEWLINE, _RETURN, _SPACE, _TAB = (ord(character) for character in ",\n\r \t")
_PLUS, _MINUS, _POINT, _ZERO, _SMALL_E = (ord(character) for character in "+-.0e")


def _powers_of_ten() -> NDArray[np.float64]:
    """Returns 10**e as unevaluated sums of two float64, (2 * limit + 1, 2)."""
    table = np.empty((2 * _LARGEST_TABLE_EXPONENT + 1, 2))
    for row, exponent in enumerate(range(-_LARGEST_TABLE_EXPONENT, _LARGEST_TABLE_EXPONENT + 1)):
        exact = Decimal(10) ** exponent  # negative ones to 28 digits
        table[row, 0] = float(exact)
        table[row, 1] = float(exact - Decimal(table[row, 0]))
    return table


_POWERS = _powers_of_ten()


@compiled
def parse_number(text: Any, start: int) -> tuple[float, int, int]:
    """Returns (value, kind, stop) of the cell that starts at ``text[start]``.

    ``text[stop]`` is the comma or line end after it. Spaces, tabs and carriage returns around the number are skipped.
    """
    at = start
    while text[at] == _SPACE or text[at] == _TAB or text[at] == _RETURN:
        at += 1
    negative = text[at] == _MINUS
    if negative or text[at] == _PLUS:
        at += 1
    first = at
    mantissa, exponent, digits, lost, at = _parse_digits(text, at)
    if digits == 0:
        return 0.0, _kind_of_text(text, start, first), _cell_end(text, start)
    if text[at] | 32 == _SMALL_E:
        power, at = _parse_exponent(text, at + 1)
        exponent += power
    while text[at] == _SPACE or text[at] == _TAB or text[at] == _RETURN:
        at += 1
    if text[at] != _COMMA and text[at] != _NEWLINE:
        return 0.0, NOT_A_NUMBER, _cell_end(text, at)
    value, exact = _scale(mantissa, exponent)
    kind = EXACT if exact and not lost else INEXACT
    return (-value if negative else value), kind, at


@compiled
def parse_cells(text: Any, values: Any, kinds: Any, starts: Any, line_cells: Any) -> tuple[int, int]:
    """Returns (number of lines, number of cells) of ``text``: uint8, cells divided by commas, ends with a line end.

    Cell i begins at ``starts[i]``, has the value ``values[i]`` and is of kind ``kinds[i]``; line i has the cells
    ``line_cells[i]:line_cells[i + 1]``. Plain short decimals are parsed here, all else in :func:`parse_number`, since a
    call costs more than a cell.
    """
    at = cell = line = 0
    line_cells[0] = 0
    while at < len(text):
        start = at
        negative = text[at] == _MINUS
        at += negative
        first = at
        mantissa = np.int64(0)
        while text[at] - _ZERO >= 0 and text[at] - _ZERO < 10:
            mantissa = mantissa * 10 + (text[at] - _ZERO)
            at += 1
        digits = at - first
        decimals = 0
        if text[at] == _POINT:
            at += 1
            first = at
            while text[at] - _ZERO >= 0 and text[at] - _ZERO < 10:
                mantissa = mantissa * 10 + (text[at] - _ZERO)
                at += 1
            decimals = at - first
            digits += decimals
        if (text[at] == _COMMA or text[at] == _NEWLINE) and digits > 0 and digits <= _EXACT_DIGITS:
            value = np.float64(mantissa) / _POWERS[_LARGEST_TABLE_EXPONENT + decimals, 0]
            values[cell] = -value if negative else value
            kinds[cell] = EXACT
        elif at == start and (text[at] == _COMMA or text[at] == _NEWLINE):
            values[cell] = 0.0
            kinds[cell] = EMPTY
        else:
            values[cell], kinds[cell], at = parse_number(text, start)
        starts[cell] = start
        cell += 1
        if text[at] == _NEWLINE:
            line += 1
            line_cells[line] = cell
        at += 1
    return line, cell


@compiled
def _parse_digits(text: Any, at: int) -> tuple[Any, int, int, bool, int]:
    """Returns (mantissa, exponent, number of digits, whether non-zero digits were left out, end)."""
    mantissa = np.uint64(0)
    exponent = 0
    digits = 0
    lost = False
    after_point = 0
    while True:
        digit = np.uint64(text[at]) - np.uint64(_ZERO)
        if digit < np.uint64(10):
            digits += 1
            if mantissa < _MANTISSA_LIMIT:
                mantissa = mantissa * np.uint64(10) + digit
                exponent -= after_point
            else:
                exponent += 1 - after_point
                lost = lost or digit != np.uint64(0)
        elif text[at] == _POINT and after_point == 0:
            after_point = 1
        else:
            return mantissa, exponent, digits, lost, at
        at += 1


@compiled
def _parse_exponent(text: Any, at: int) -> tuple[int, int]:
    """Returns (exponent, end); the end is at a character that can't follow a number where there are no digits."""
    negative = text[at] == _MINUS
    if negative or text[at] == _PLUS:
        at += 1
    if text[at] < _ZERO or text[at] > _ZERO + 9:
        return 0, at - 1
    power = 0
    while text[at] >= _ZERO and text[at] <= _ZERO + 9:
        power = min(power * 10 + (text[at] - _ZERO), _EXPONENT_LIMIT)
        at += 1
    return (-power if negative else power), at


@compiled
def _scale(mantissa: Any, exponent: int) -> tuple[float, bool]:
    """Returns (mantissa * 10**exponent, whether it is correctly rounded).

    Small numbers: both factors are float64 without error, so that one multiplication or division rounds once (Clinger
    1990). Others: in double-double arithmetic (Dekker 1971) with an error below 1e-30, which is enough unless the
    result lies that close to the middle between two float64.
    """
    if mantissa < _EXACT_MANTISSA and -22 <= exponent <= 22:
        if exponent < 0:
            return np.float64(mantissa) / _POWERS[_LARGEST_TABLE_EXPONENT - exponent, 0], True
        return np.float64(mantissa) * _POWERS[_LARGEST_TABLE_EXPONENT + exponent, 0], True
    if mantissa == np.uint64(0):
        return 0.0, True
    if exponent < -_LARGEST_TABLE_EXPONENT or exponent > _LARGEST_TABLE_EXPONENT:
        return 0.0, False
    high = np.float64(mantissa)
    low = np.float64(np.int64(mantissa - np.uint64(high)))  # the difference wraps around to the right signed number
    power_high = _POWERS[_LARGEST_TABLE_EXPONENT + exponent, 0]
    power_low = _POWERS[_LARGEST_TABLE_EXPONENT + exponent, 1]
    product = high * power_high
    rest = _product_error(high, power_high, product) + (high * power_low + low * power_high)
    value = product + rest
    remainder = rest - (value - product)
    bound = value * 1e-29
    return value, value + (remainder + bound) == value and value + (remainder - bound) == value


@compiled
def _product_error(a: float, b: float, product: float) -> float:
    """Returns a * b - product without rounding error, where product is the rounded a * b (Veltkamp and Dekker)."""
    a_high = _SPLITTER * a
    a_high = a_high - (a_high - a)
    b_high = _SPLITTER * b
    b_high = b_high - (b_high - b)
    a_low = a - a_high
    b_low = b - b_high
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


@compiled
def _cell_end(text: Any, at: int) -> int:
    while text[at] != _COMMA and text[at] != _NEWLINE:
        at += 1
    return at


@compiled
def _kind_of_text(text: Any, start: int, first: int) -> int:
    """Returns what a cell without leading digits is; ``first`` is where they would be."""
    end = _cell_end(text, start)
    while end > start and text[end - 1] <= _SPACE:
        end -= 1
    while start < end and text[start] <= _SPACE:
        start += 1
    if start == end:
        return EMPTY
    size = end - first
    if size == 3 or size == 8:  # nan, inf, infinity in any case
        a, b, c = text[first] | 32, text[first + 1] | 32, text[first + 2] | 32
        if size == 3 and a == ord("n") and b == ord("a") and c == ord("n"):
            return NON_FINITE
        if a == ord("i") and b == ord("n") and c == ord("f"):
            return NON_FINITE
    return NOT_A_NUMBER

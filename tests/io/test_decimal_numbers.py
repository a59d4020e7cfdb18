"""Numbers are parsed as Python's float parses them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from honeyguide.io.bead_rows import make_cells
from honeyguide.io.decimal_numbers import EMPTY, EXACT, INEXACT, NON_FINITE, NOT_A_NUMBER, parse_cells


def parse(*cells: str) -> list[tuple[int, float]]:
    text = np.frombuffer(",".join(cells).encode() + b"\n", np.uint8)
    room = make_cells(len(text))
    num_lines, num_cells = parse_cells(text, *room)
    assert (num_lines, num_cells) == (1, len(cells))
    return [(int(kind), float(value)) for kind, value in zip(room.kinds, room.values[:num_cells], strict=False)]


digits = st.text("0123456789", min_size=1, max_size=25)
decimals = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-", "+"]),
    digits,
    st.one_of(st.just(""), st.just("."), digits.map(".{}".format)),
    st.one_of(st.just(""), st.builds("{}{}".format, st.sampled_from(["e", "E", "e-", "E+"]), st.integers(0, 340))),
)
written_floats = st.builds(
    lambda value, form: format(value, form),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", ".17g", ".18e", ".7g", ".9g"]),
)


@given(st.one_of(decimals, written_floats))
@settings(max_examples=500, deadline=None)
@example("9007199254740993")  # the middle between two float64
@example("9007199254740993.0000000000000000000000001")
@example("0." + "0" * 400 + "1e401")
@example("1.7976931348623157e308")
@example("4.9406564584124654e-324")
@example("2.2250738585072011e-308")
@example("-0.0")
@example("3e23")
@example("9999999999999999999e-30")
@example("00000000000000000000000012.5")
def test_value_is_that_of_float_to_the_last_bit(cell):
    ((kind, value),) = parse(cell)
    expected = float(cell)
    if kind == EXACT:
        assert value == expected
        assert np.signbit(value) == np.signbit(expected)
    else:
        assert kind == INEXACT


@given(st.floats(1e-40, 1e40))
@settings(max_examples=200, deadline=None)
def test_what_pandas_and_numpy_write_takes_no_slow_path(value):
    for cell in (repr(value), f"{value:.18e}", f"{value:.7g}"):
        assert parse(cell) == [(EXACT, float(cell))]


@pytest.mark.parametrize(
    "cell", ["abc", "1.2.3", "1e", "1e+", "--1", "+-1", ".", "-", "1 2", "0x10", "1_0", '"1"', "1;2", "é"]
)
def test_text_is_not_a_number(cell):
    assert parse("1", cell, "2")[1][0] == NOT_A_NUMBER
    assert parse("1", cell, "2")[2] == (EXACT, 2.0)


@pytest.mark.parametrize("cell", ["nan", "NaN", "-nan", "inf", "-INF", "+Infinity"])
def test_nan_and_infinity_are_told_from_text(cell):
    assert parse(cell)[0][0] == NON_FINITE


@pytest.mark.parametrize("cell", ["", " ", "\t", " \r"])
def test_cells_without_content_are_empty(cell):
    assert parse("1", cell)[1][0] == EMPTY


@pytest.mark.parametrize("cell", [" 1.5", "1.5 ", "\t1.5\r", "+1.5", "1.5e0", ".15e1", "15.e-1"])
def test_spaces_and_signs(cell):
    assert parse(cell) == [(EXACT, 1.5)]

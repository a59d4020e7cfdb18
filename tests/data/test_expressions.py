"""Expressions: equal to numpy's values, readable errors, and nothing reachable but columns and listed functions."""

from __future__ import annotations

import subprocess
import sys
import warnings

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from honeyguide.data.expression_functions import OPERATIONS
from honeyguide.data.expressions import FUNCTIONS, MAX_DEPTH, parse_expression
from honeyguide.errors import ConfigError, DataError

RNG = np.random.default_rng(5)
FLAT = {
    "x": RNG.normal(size=50).astype(np.float32),
    "y": RNG.normal(size=50),
    "n": RNG.integers(-3, 6, 50).astype(np.int32),
    "u": RNG.integers(0, 256, 50).astype(np.uint8),
    "flag": RNG.random(50) > 0.5,
}
WIDE = {name: value.astype(np.int64) if value.dtype.kind in "iu" else value for name, value in FLAT.items()}
LISTS = {
    "pt": ak.Array([[3.0, 1.0], [], [2.0]]),
    "id": ak.Array([[5, 4], [], [0]]),
    "met": np.array([10.0, 20.0, 30.0]),
}

_leaves = st.sampled_from(["x", "y", "n", "u", "2", "0.5", "-1"])


def _wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda text: f"abs({text} + x)"),
        inner.map(lambda text: f"log1p(exp({text} - y))"),
        inner.map(lambda text: f"-({text})"),
        st.tuples(inner, st.sampled_from(["<", ">=", "=="]), inner).map(
            lambda t: f"where(x + {t[0]} {t[1]} y + {t[2]}, {t[0]}, y)"
        ),
    )


_texts = st.recursive(_leaves, _wider, max_leaves=8).filter(lambda text: any(name in text for name in "xyn"))


@settings(max_examples=150, deadline=None)
@given(text=_texts)
def test_arithmetic_is_numpys(text: str) -> None:
    try:
        expression = parse_expression(text)
    except ConfigError as error:
        assert "divides by zero" in str(error) or "constants" in str(error) or "no column" in str(error)  # noqa: PT017
        return
    names = {name: getattr(np, name) for name in ("abs", "log1p", "exp", "where")}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = eval(text, {"__builtins__": {}}, {**WIDE, **names})
    np.testing.assert_allclose(np.asarray(expression.evaluate(FLAT), float), np.asarray(expected, float), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x ** 2", FLAT["x"] ** 2),
        ("n ** -1", np.array([1 / v if v else np.inf for v in FLAT["n"].tolist()])),
        ("n ** 2", WIDE["n"] ** 2.0),
        ("n % 2", WIDE["n"] % 2),
        ("y % n", np.array([np.nan if n == 0 else y % n for y, n in zip(FLAT["y"], FLAT["n"], strict=True)])),
        ("u % n", np.array([np.nan if n == 0 else int(u) % n for u, n in zip(FLAT["u"], WIDE["n"], strict=True)])),
        ("u + u", WIDE["u"] * 2),
        ("-u", -WIDE["u"]),
        ("u & 2 ** 3", WIDE["u"] & 8),
        ("(u & 4 | 1) != 1", (WIDE["u"] & 4) != 0),
        ("0 < x < 1", (FLAT["x"] > 0) & (FLAT["x"] < 1)),
        ("x > 0 and not y > 0 or flag", ((FLAT["x"] > 0) & ~(FLAT["y"] > 0)) | FLAT["flag"]),
        ("(x > 0) & ~(y > 0) | flag", ((FLAT["x"] > 0) & ~(FLAT["y"] > 0)) | FLAT["flag"]),
        ("clip(x, -0.5, 0.5)", np.clip(FLAT["x"], -0.5, 0.5)),
        ("arctan2(x, y)", np.arctan2(FLAT["x"], FLAT["y"])),
        ("min(x, y, 0)", np.minimum(np.minimum(FLAT["x"], FLAT["y"]), 0)),
        ("max(x, y)", np.maximum(FLAT["x"], FLAT["y"])),
        ("isfinite(log(x))", FLAT["x"] > 0),
        (" log1p(\n abs(x) ) ", np.log1p(np.abs(FLAT["x"]))),
    ],
)
def test_meaning(text: str, expected: np.ndarray) -> None:
    np.testing.assert_allclose(parse_expression(text).evaluate(FLAT), expected, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) & set(dir(np)) - {"clip", "where", "take", "min", "max"}))
def test_functions_have_numpys_meaning(name: str) -> None:
    columns = {"a": RNG.uniform(0.1, 0.9, (4, 3)), "b": RNG.uniform(0.1, 0.9, (4, 3))}
    per_entry = {"sum", "mean", "any", "all"}
    num = FUNCTIONS[name][0]
    arguments = ", ".join(["a", "b"][:num])
    expected = getattr(np, name)(*[columns["a"], columns["b"]][:num], **({"axis": 1} if name in per_entry else {}))
    np.testing.assert_allclose(np.asarray(parse_expression(f"{name}({arguments})").evaluate(columns)), expected)


def test_every_function_is_implemented() -> None:
    assert set(FUNCTIONS) <= set(OPERATIONS)


def test_float32_stays() -> None:
    assert parse_expression("log1p(abs(2 * x)) / 3").evaluate(FLAT).dtype == np.float32


def test_lists() -> None:
    def value(text: str) -> object:
        return ak.to_list(parse_expression(text).evaluate(LISTS))

    assert value("pt * 2 + met") == [[16.0, 12.0], [], [34.0]]
    assert value("sum(pt)") == [4.0, 0.0, 2.0]
    assert value("count(pt)") == [2, 0, 1]
    assert value("any(id == 5)") == [True, False, False]
    assert value("all(pt > 1)") == [False, True, True]
    assert value("where(id > 0, pt, -1)") == [[3.0, 1.0], [], [-1.0]]
    assert value("where(met > 15, pt, 0)") == [[0.0, 0.0], [], [2.0]]
    assert value("clip(pt, 1.5, 2.5)") == [[2.5, 1.5], [], [2.0]]
    np.testing.assert_array_equal(parse_expression("max(id)").evaluate(LISTS), [5, np.nan, 0])
    np.testing.assert_array_equal(parse_expression("mean(pt)").evaluate(LISTS), [2, np.nan, 2])


def test_lists_of_equal_length_are_lists() -> None:
    """As many objects as entries: numpy would combine the objects with the entries."""
    square = np.arange(9.0).reshape(3, 3)
    for values in (square, ak.from_numpy(square, regulararray=True)):
        result = parse_expression("where(v > -1, v + met, 0)").evaluate({"v": values, "met": LISTS["met"]})
        np.testing.assert_array_equal(ak.to_numpy(result), square + LISTS["met"][:, None])


def test_take_follows_indices_within_an_entry() -> None:
    columns = {"pt": ak.Array([[3.0, 1.0], [], [2.0]]), "index": ak.Array([[1, 0, 1, -1], [0], [0, 1]])}
    taken = ak.to_list(parse_expression("take(pt, index)").evaluate(columns))
    np.testing.assert_array_equal(np.concatenate(taken), [1, 3, 1, np.nan, np.nan, 2, np.nan])
    assert [len(row) for row in taken] == [4, 1, 2]


def test_needed_columns_are_listed() -> None:
    assert parse_expression("a + log(b.c) * a - where(d > 1, Jet.PT, 2)").columns == ("a", "b.c", "d", "Jet.PT")
    assert parse_expression("Jet.PT").is_column
    assert not parse_expression("-Jet.PT").is_column


def test_a_lone_column_is_left_as_it_is() -> None:
    assert parse_expression("u").evaluate(FLAT) is FLAT["u"]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__.__bases__",
        "x.__class__",
        "x.__class__.__mro__",
        "__builtins__",
        "x.tobytes()",
        "(x + 1).shape",
        "log(x).base",
        "x[0]",
        "[v for v in x]",
        "(lambda: x)()",
        "x if x else y",
        "(x := y)",
        "f'{x}'",
        "'text' + x",
        "b'x'",
        "None",
        "...",
        "1j * x",
        "{x: y}",
        "{x}",
        "(x, y)",
        "*x",
        "x; y",
        "x = y",
        "import os",
        "eval(x)",
        "open(x)",
        "getattr(x, y)",
        "np.log(x)",
        "log(*x)",
        "log(x=x)",
        "log(x, y)",
        "where(x, y)",
        "log(log)(x)",
        "x @ y",
        "x // y",
        "x ^ y",
        "x << y",
        "x is y",
        "x in y",
        "x\0",
        "",
        "   ",
        "1 + 2",
        "x + log(2)",
        "x +",
        "await x",
        "yield x",
        "(" * 300 + "x" + ")" * 300,
        "-" * (MAX_DEPTH + 1) + "x",
        "+".join("x" * (MAX_DEPTH + 2)),
        "x" * 3000,
        "x + 9 ** 9 ** 9 ** 9",
        "x ** 9 ** 9 ** 9",
        "x + 10.0 ** 308 * 10",
        "x + 1e400",
        "x * 99999999999999999999",
        "x + (-8) ** 0.5",
        "x / 0",
        "x % (1 - 1)",
        "x > 1 & n > 2",
        "x > 1 & flag",
    ],
)
def test_attacks_and_mistakes_are_refused(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_expression(text, where="features.bad")
    assert error.value.details["where"] == "features.bad"


def test_arrays_to_huge_powers_do_not_hang() -> None:
    assert np.isinf(parse_expression("(2 + abs(x)) ** 999999999").evaluate(FLAT)).all()


def test_errors_have_position_and_nearest() -> None:
    with pytest.raises(ConfigError) as error:
        parse_expression("x + lgo1p(y)", where="features.log_y")
    assert error.value.details["nearest"] == "log1p"
    assert "at character 5: lgo1p(y)" in str(error.value)
    assert "arctan2" in str(error.value.details["allowed"])
    with pytest.raises(ConfigError) as error:
        parse_expression("np.log(x)")
    assert error.value.details["nearest"] == "log"
    with pytest.raises(ConfigError) as error:
        parse_expression("Jet_pT / 2", known=["Jet_eta", "Jet_pt"])
    assert error.value.details["nearest"] == "Jet_pt"
    with pytest.raises(ConfigError, match="bind closer"):
        parse_expression("x > 1 & n > 2")


def test_what_columns_do_not_allow_is_named() -> None:
    for text in ("x & 1", "sum(x)", "take(x, n)"):
        with pytest.raises(DataError) as error:
            parse_expression(text, where="cuts.a").evaluate(FLAT)
        assert text in str(error.value)
        assert "cuts.a" in str(error.value)
    uneven = {"a": ak.Array([[1.0], [2.0]]), "b": ak.Array([[1.0, 2.0], []])}
    with pytest.raises(DataError, match="a \\+ b"):
        parse_expression("a + b").evaluate(uneven)
    with pytest.raises(ConfigError, match="'y'"):
        parse_expression("x + y").evaluate({"x": FLAT["x"]})


def test_parsing_loads_nothing_heavy() -> None:
    code = (
        "import sys; from honeyguide.data.expressions import parse_expression; parse_expression('log(x)');"
        "sys.exit('numpy' in sys.modules or 'awkward' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

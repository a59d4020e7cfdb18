"""Truth definitions as in b-hive's YAML: AND over items, OR over values, and no class by default."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from honeyguide.data.truth import UNMATCHED, match_truths
from honeyguide.data.truth_settings import TruthSettings
from honeyguide.errors import ConfigError, DataError


def truths(definitions: object, **options: str) -> TruthSettings:
    # as configs are parsed: strict, from JSON
    return TruthSettings.model_validate_json(json.dumps({"definitions": definitions, **options}), strict=True)


FLAVOURS = {
    "b": [{"hadron": [5]}],
    "c": [{"hadron": [4]}],
    "uds": [{"hadron": [0]}, {"parton": [1, 2, 3, -1, -2, -3]}],
    "g": [{"hadron": 0, "parton": [21]}],
}


def test_items_are_and_and_values_are_or() -> None:
    columns = {"hadron": np.array([5, 4, 0, 0, 0, 0, 4]), "parton": np.array([5, 1, -3, 21, 0, 2, 21])}
    found = match_truths(columns, truths(FLAVOURS))
    assert found.codes.tolist() == [0, 1, 2, 3, UNMATCHED, 2, 1]
    assert found.counts == {"b": 1, "c": 2, "uds": 2, "g": 1}
    assert (found.num_unmatched, found.num_several) == (1, 0)


def test_branches_as_flags() -> None:
    columns = {
        "isB": np.array([1, 0, 0, 0]),
        "isBB": np.array([0, 2, 0, 0]),
        "isC": np.array([False, False, True, False]),
    }
    found = match_truths(columns, truths(["isB", "isBB", "isC"]))
    assert found.codes.tolist() == [0, 1, 2, UNMATCHED]
    assert found.counts == {"isB": 1, "isBB": 1, "isC": 1}


@pytest.mark.parametrize("symbol", ["==", "!=", ">", "<", ">=", "<="])
@given(values=st.lists(st.integers(-3, 3), min_size=1), number=st.integers(-3, 3))
@settings(max_examples=20, deadline=None)
def test_operators(symbol: str, values: list[int], number: int) -> None:
    expected = [0 if eval(f"{value} {symbol} {number}") else UNMATCHED for value in values]
    for dtype in (np.int8, np.float32):
        found = match_truths({"x": np.array(values, dtype)}, truths({"t": [{"x": {symbol: number}}]}))
        assert found.codes.tolist() == expected


def test_comparisons_in_a_list_are_or() -> None:
    columns = {"x": np.arange(6.0)}
    assert match_truths(columns, truths({"t": [{"x": [{"<": 1}, {">=": 5}, 3]}]})).codes.tolist() == [
        0,
        -1,
        -1,
        0,
        -1,
        0,
    ]
    assert match_truths(columns, truths({"t": [{"x": {">": 1}}, {"x": {"<": 3}}]})).codes.tolist() == [
        *(-1, -1, 0, -1, -1, -1)
    ]


def test_small_unsigned_branches_compare_with_negative_values() -> None:
    columns = {"x": np.array([0, 5, 255], np.uint8)}
    assert match_truths(columns, truths({"t": [{"x": [-5, 5]}]})).codes.tolist() == [-1, 0, -1]
    assert match_truths(columns, truths({"t": [{"x": {">": -1}}]})).counts == {"t": 3}


def test_nan_is_no_truth() -> None:
    columns = {"x": np.array([np.nan, 1.0, 0.0])}
    assert match_truths(columns, truths({"t": [{"x": {"!=": 0}}]})).codes.tolist() == [-1, 0, -1]
    assert match_truths(columns, truths(["x"])).codes.tolist() == [-1, 0, -1]


def test_unmatched_is_dropped_or_an_error() -> None:
    columns = {"hadron": np.array([5, 7]), "parton": np.array([5, 15])}
    assert match_truths(columns, truths(FLAVOURS)).num_unmatched == 1
    with pytest.raises(DataError) as error:
        match_truths(columns, truths(FLAVOURS, unmatched="error"), where="a.root:Events")
    assert "1 of 2 rows; the first one has hadron = 7, parton = 15" in str(error.value)
    assert error.value.details["where"] == "a.root:Events"


def test_several_is_an_error_or_the_first() -> None:
    definitions = {"b": [{"hadron": [5]}], "heavy": [{"hadron": {">=": 4}}]}
    columns = {"hadron": np.array([4, 5])}
    with pytest.raises(DataError) as error:
        match_truths(columns, truths(definitions))
    assert "hadron = 5 (b, heavy)" in str(error.value)
    found = match_truths(columns, truths(definitions, several="first"))
    assert found.codes.tolist() == [1, 0]
    assert found.num_several == 1


def test_no_rows() -> None:
    found = match_truths({"hadron": np.zeros(0, int), "parton": np.zeros(0, int)}, truths(FLAVOURS))
    assert found.counts == dict.fromkeys(FLAVOURS, 0)


def test_needed_branches_are_listed() -> None:
    assert truths(FLAVOURS).columns == ("hadron", "parton")
    assert truths(["isB", "isC"]).columns == ("isB", "isC")
    assert truths(FLAVOURS).names == ("b", "c", "uds", "g")
    with pytest.raises(ConfigError) as error:
        match_truths({"hadrons": np.zeros(1)}, truths({"b": [{"hadron": [5]}]}))
    assert error.value.details["nearest"] == "hadrons"


@pytest.mark.parametrize(
    "definitions",
    [
        [],
        {},
        ["isB", "isB"],
        [""],
        {"b": []},
        {"b": [{}]},
        {"b": [{"x": []}]},
        {"b": [{"x": {}}]},
        {"b": [{"x": {"=>": 1}}]},
        {"b": [{"x": {">": 1, "<": 3}}]},
        {"b": [{"x": ["5"]}]},
        {"b": [{"x": "__import__('os')"}]},
        {"b": {"x": [5]}},
        {"b": [{"x": None}]},
    ],
)
def test_malformed_definitions_are_refused(definitions: object) -> None:
    with pytest.raises(ValidationError):
        truths(definitions)

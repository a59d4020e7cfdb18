"""Points of grids and random scans: all combinations; the same points first, spread as they should be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from honeyguide.errors import ConfigError
from honeyguide.scans.space import Choices, Range, grid, random_points

RATE = Range(1e-5, 1e-1, log=True, whole=False)
WIDTH = Range(2, 5, log=False, whole=True)


def test_a_grid_is_all_combinations_and_the_last_key_changes_fastest():
    points = grid({"a.x": Choices(("1", "2")), "b.y": Choices(("[1, 2]", "null"))})
    assert points == [{"a.x": a, "b.y": b} for a in "12" for b in ("[1, 2]", "null")]


def test_a_grid_has_no_ranges():
    with pytest.raises(ConfigError, match=r"--method random"):
        grid({"training.learning_rate": RATE})


def test_more_random_points_begin_with_the_same_and_another_key_moves_none():
    space = {"r": RATE, "w": WIDTH}
    few, many = (random_points(space, number, seed=3) for number in (10, 25))
    assert many[:10] == few
    assert len({tuple(point.values()) for point in many}) == 25
    wider = random_points({**space, "c": Choices(("x", "y", "z"))}, 10, seed=3)
    assert [point["r"] for point in wider] == [point["r"] for point in few]
    assert random_points(space, 10, seed=4) != few


def test_random_points_are_uniform_in_what_they_are_drawn_in():
    points = random_points({"r": RATE, "u": Range(-1.0, 3.0, log=False, whole=False), "w": WIDTH}, 400, seed=1)
    assert kstest([math.log10(float(p["r"])) for p in points], "uniform", args=(-5, 4)).pvalue > 0.01
    assert kstest([float(p["u"]) for p in points], "uniform", args=(-1, 4)).pvalue > 0.01
    counts = [sum(p["w"] == str(width) for p in points) for width in (2, 3, 4, 5)]
    assert sum(counts) == 400
    assert min(counts) > 60  # 100 each, 9 in standard deviation


@given(st.floats(1e-8, 1e3), st.floats(1.001, 1e6), st.floats(0, 1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_range_keeps_its_ends(low, factor, share, log):
    inside = Range(low, low * factor, log=log, whole=False).at(share)
    assert low <= float(inside) <= low * factor
    whole = Range(3, 3 + int(factor), log=log, whole=True).at(share)
    assert 3 <= int(whole) <= 3 + int(factor)


def test_a_space_that_is_too_small_says_so():
    with pytest.raises(ConfigError, match="too few points"):
        random_points({"w": WIDTH}, 5, seed=1)
    assert len(random_points({"w": WIDTH}, 4, seed=1)) == 4

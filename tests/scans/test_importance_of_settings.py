"""The shares of a planted function are those of its analysis of variance."""

from __future__ import annotations

import math

import pytest

from honeyguide.scans.importance import TOGETHER, places_of, shares
from honeyguide.scans.space import Choices, Range, grid, random_points

SPACE = {
    "rate": Range(1e-5, 1e-1, log=True, whole=False),
    "share": Range(0.0, 1.0, log=False, whole=False),
    "kind": Choices(("x", "y", "z")),
    "width": Range(1, 9, log=False, whole=True),
}


def planted(point: dict[str, str]) -> float:
    """Variances: 4/12 of the logarithm of the rate, 1/12 of the share, 1/24 of the kind, none of the width."""
    kind = {"x": 0.0, "y": 0.25, "z": 0.5}[point["kind"]]
    return 2 * math.log(float(point["rate"]) / 1e-5) / math.log(1e4) + float(point["share"]) + kind


def test_shares_of_a_sum_are_those_of_its_parts():
    points = random_points(SPACE, 400, seed=3)
    found = {share.key: share for share in shares(SPACE, points, [planted(point) for point in points])}
    assert next(iter(found)) == "rate"
    assert list(found)[-1] == TOGETHER
    for key, variance in (("rate", 4 / 12), ("share", 1 / 12), ("kind", 1 / 24), ("width", 0.0)):
        assert found[key].value == pytest.approx(variance / (11 / 24), abs=0.06), key
    assert sum(share.value for share in found.values()) == pytest.approx(1)


def test_few_points_have_large_errors():
    few, many = (random_points(SPACE, number, seed=3) for number in (12, 200))
    errors = [max(s.error for s in shares(SPACE, points, [planted(p) for p in points])) for points in (few, many)]
    assert errors[0] > 0.2
    assert errors[1] < 0.08


def test_what_needs_both_settings_is_of_neither():
    space = {key: Choices(tuple("0123456789")) for key in ("a", "b")}
    points = grid(space)
    product = [(float(p["a"]) - 4.5) * (float(p["b"]) - 4.5) for p in points]
    found = {share.key: share.value for share in shares(space, points, product)}
    assert found[TOGETHER] > 0.8
    constant = shares(space, points, [1.0] * len(points))
    assert [share.value for share in constant] == [0, 0, 0]


def test_choices_lie_in_the_middle_of_equal_parts():
    space = {"kind": Choices(("x", "y")), "width": Range(1, 2, log=False, whole=True), "rate": SPACE["rate"]}
    (places,) = places_of(space, [{"kind": "y", "width": "1", "rate": "1e-3"}])
    assert places == pytest.approx([0.75, 0.25, 0.5])

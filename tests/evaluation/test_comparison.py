"""Taggers on the same jets: areas, rejections and the significance of their differences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from honeyguide.errors import DataError
from honeyguide.evaluation.comparison import Comparison, compare_taggers
from honeyguide.evaluation.rejection import rejections
from honeyguide.evaluation.roc import two_classes
from honeyguide.evaluation.tagging_settings import TaggingSettings
from tests.planted_tagger import CLASSES, SHIFT, write_tagger_scores

SIZES = {"b": 1500, "light": 3000}
SETTINGS = TaggingSettings(discriminators=("BvsL",), by_process=False, baselines={"x": "x"})


def probabilities(x: np.ndarray) -> np.ndarray:
    log = -0.5 * (x[:, None] - np.array([SHIFT[name] for name in CLASSES])) ** 2
    return np.asarray(np.exp(log) / np.exp(log).sum(1, keepdims=True))


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    """A tagger, the same with a little noise of its own (in two seeds), the same again with much noise."""
    folder, rng = tmp_path_factory.mktemp("comparison"), np.random.default_rng(2)
    size = sum(SIZES.values())
    x = rng.normal(size=size) + np.repeat([2.0, 0.0], list(SIZES.values()))
    trainings: dict[str, dict[int, dict[str, Path]]] = {}
    for label, noise, seed in (("good", 0.0, 1), ("like it", 0.05, 1), ("like it", 0.05, 2), ("bad", 1.0, 1)):
        seen = x + noise * rng.normal(size=size)
        place = folder / label / str(seed)
        path = write_tagger_scores(place, sizes=SIZES, probabilities=probabilities(seen), observers={"x": x})
        trainings.setdefault(label, {})[seed] = {"tt": path}
    (folder / "out").mkdir()
    return folder / "out", compare_taggers(trainings, folder / "out", settings=SETTINGS, members={})


def test_areas_and_rejections_are_those_of_gaussians(compared: tuple[Path, Comparison]) -> None:
    rows = {row.name: row for row in compared[1].rows}
    assert list(rows) == ["good", "like it", "bad", "x"]
    for name, distance in (("good", 2.0), ("bad", np.sqrt(2.0)), ("x", 2.0)):
        row = rows[name]
        assert abs(row.area.value - norm.cdf(distance / np.sqrt(2))) < 4 * row.area.error
        for found, target in zip(row.rejections, (0.3, 0.5), strict=True):
            expected = 1 / norm.sf(distance + norm.ppf(1 - target))
            assert found.low < found.value < found.high
            low, high = (abs(np.log(found.value / end)) for end in (found.low, found.high))
            assert abs(np.log(found.value / expected)) < 3.5 * max(low, high)


def test_the_plain_variable_behind_a_tagger_is_as_good(compared: tuple[Path, Comparison]) -> None:
    found = compared[1].differences["BvsL", "good", "x"]
    assert abs(found.value) < 1e-9
    assert found.p_value > 0.9


def test_a_small_difference_is_seen_since_the_jets_are_the_same(compared: tuple[Path, Comparison]) -> None:
    differences, rows = compared[1].differences, {row.name: row for row in compared[1].rows}
    large, small = (differences["BvsL", "good", name] for name in ("bad", "like it"))
    assert large.p_value < 1e-6
    apart = np.hypot(rows["good"].area.error, rows["like it"].area.error)
    assert small.error < 0.2 * apart
    assert abs(small.value) < 4 * small.error


def test_tables_and_figures(compared: tuple[Path, Comparison]) -> None:
    out, found = compared
    text = (out / "comparison.md").read_text()
    assert text == found.markdown()
    row = found.rows[1]
    assert f"| like it | {row.area.value:.4f} ± {row.area.error:.4f} (seeds: ± " in text
    assert "| good - bad | +0." in text
    content = json.loads((out / "comparison.json").read_text())
    assert content["num_jets"] == 4500
    assert len(content["rows"]) == 4
    assert len(content["differences"]) == 6
    assert (out / "roc_BvsL_all-processes_inclusive.png").exists()
    curves = json.loads((out / "roc.json").read_text())["curves"]
    assert {curve["training"] for curve in curves} == {row.name for row in found.rows}


@pytest.mark.parametrize("change", [{"seed": 1}, {"sizes": {"b": 100, "light": 99}}])
def test_other_jets_are_an_error(tmp_path: Path, change: dict) -> None:
    one = write_tagger_scores(tmp_path / "a", sizes={"b": 100, "light": 100})
    other = write_tagger_scores(tmp_path / "b", **{"sizes": {"b": 100, "light": 100}, **change})
    trainings = {"a": {1: {"tt": one}}, "b": {1: {"tt": other}}}
    with pytest.raises(DataError, match="'a' and 'b' were not applied to the same jets"):
        compare_taggers(trainings, tmp_path, settings=TaggingSettings(discriminators=("BvsL",)), members={})


def test_intervals_of_rejections_cover() -> None:
    rng, inside = np.random.default_rng(3), []
    truth = 1 / norm.sf(2 + norm.ppf(0.5))
    for _ in range(200):
        classes = two_classes(rng.normal(size=400) + 2, rng.normal(size=1500))
        (found,) = rejections(classes, [0.5], confidence_level=0.68, min_jets=10)
        inside.append(found.low <= truth <= found.high)
    assert 0.6 < np.mean(inside) < 0.88
    (none,) = rejections(two_classes([1.0, 2.0], [0.0, 0.5]), [0.5], confidence_level=0.68, min_jets=10)
    assert none.reason == "too few signal jets"

"""ROC curves of plain variables stand beside those of taggers, with their closed forms."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.stats import norm

from honeyguide.errors import ConfigError, DataError
from honeyguide.evaluation.tagging_run import compute_taggers, evaluate_taggers, tagging_summary
from honeyguide.evaluation.tagging_settings import TaggingSettings
from tests.planted_tagger import write_tagger_scores

SIZES = {"b": 2000, "light": 3000}
BASELINES = {"shifted": "x", "opposite": "2 - 3 * x", "near one": "-abs(y - 1)", "hard": "pt"}
SETTINGS = TaggingSettings(discriminators=("BvsL",), by_process=False, baselines=BASELINES)


def scores(folder: Path, **changes: np.ndarray) -> Path:
    """Jets of which x is larger by 1 if they are b, and y is narrow around 1 for b and wide for the others."""
    rng = np.random.default_rng(5)
    is_b = np.repeat([True, False], list(SIZES.values()))
    x = rng.normal(size=len(is_b)) + is_b
    y = 1 + rng.normal(size=len(is_b)) * np.where(is_b, 0.5, 2.0)
    return write_tagger_scores(folder, sizes=SIZES, observers={"x": x, "y": y} | changes)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("baselines")
    (folder / "out").mkdir()
    trainings = {"net": {1: {"tt": scores(folder / "tt")}}}
    evaluation = evaluate_taggers(trainings, folder / "out", settings=SETTINGS)
    (folder / "out" / "summary").write_text(tagging_summary(evaluation))
    return folder / "out"


def entries(out: Path) -> dict[str, dict]:
    return {entry["training"]: entry for entry in json.loads((out / "roc.json").read_text())["curves"]}


@pytest.mark.parametrize(
    ("name", "auc"),
    [
        ("shifted", norm.cdf(1 / np.sqrt(2))),
        ("opposite (smaller)", norm.cdf(1 / np.sqrt(2))),
        # P(|0.5 g| < |2 h|) of two Gaussians: the angle of the line between
        ("near one", 2 / np.pi * np.arctan(4)),
    ],
)
def test_areas_are_those_of_the_planted_variables_in_the_right_direction(out: Path, name: str, auc: float) -> None:
    entry = entries(out)[name]
    assert abs(entry["auc"]["value"] - auc) < 3.5 * entry["auc"]["error"]
    assert entry["auc"]["low"] < entry["auc"]["value"] < entry["auc"]["high"]
    assert entry["baseline"] == BASELINES[name.removesuffix(" (smaller)")]
    assert len(entry["signal_efficiencies"]) == 4


def test_direction_changes_nothing_but_the_name(out: Path) -> None:
    found = entries(out)
    assert found["shifted"]["auc"] == pytest.approx(found["opposite (smaller)"]["auc"], rel=1e-12)
    assert "baseline" not in found["net"]
    (hard,) = (entry for name, entry in found.items() if name.startswith("hard"))
    assert 0.5 <= hard["auc"]["value"] < 0.5 + 4 * hard["auc"]["error"]  # pt has nothing to do with the truth


def test_curves_are_in_the_file_and_the_figure_of_the_tagger(out: Path) -> None:
    with h5py.File(out / "roc.h5") as file:
        trainings = {group.attrs["training"] for group in file["curves"].values()}
        (group,) = (group for group in file["curves"].values() if group.attrs["training"] == "shifted")
        b, s = group["background_efficiency"][:], group["signal_efficiency"][:]
        middle = (b > 0.05) & (b < 0.9)
        np.testing.assert_allclose(s[middle], norm.cdf(1 + norm.ppf(b[middle])), atol=0.04)
    assert len(trainings) == 5
    assert len(list(out.glob("roc_*.png"))) == 1
    text = (out / "summary").read_text()
    assert all(name in text for name in trainings)


def test_names_that_are_not_there_are_errors_that_say_so(tmp_path: Path) -> None:
    trainings = {"net": {1: {"tt": scores(tmp_path / "tt")}}}
    with pytest.raises(ConfigError, match=r"'z'(.|\n)*tagging.baselines.mass"):
        compute_taggers(trainings, settings=SETTINGS.model_copy(update={"baselines": {"mass": "z"}}))
    with pytest.raises(ConfigError, match=r"label of a training(.|\n)*net"):
        compute_taggers(trainings, settings=SETTINGS.model_copy(update={"baselines": {"net": "x"}}))
    with pytest.raises(ValueError, match=r"baselines\.mass"):
        TaggingSettings(baselines={"mass": "x +"})


def test_a_variable_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    x = np.zeros(sum(SIZES.values()))
    x[3] = np.nan
    with pytest.raises(DataError, match=r"not a number(.|\n)*1 of 5000 jets"):
        compute_taggers({"net": {1: {"tt": scores(tmp_path / "tt", x=x)}}}, settings=SETTINGS)

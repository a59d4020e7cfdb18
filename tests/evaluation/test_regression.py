"""Bias, resolution and coverage of planted residuals: a Gaussian whose mean and width are known in every bin."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
from scipy.stats import norm

from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.errors import ConfigError, DataError
from honeyguide.evaluation.efficiencies import make_jets
from honeyguide.evaluation.regression import evaluate_regression
from honeyguide.evaluation.regression_run import evaluate_predictions, regression_summary
from honeyguide.evaluation.regression_settings import RegressionEvaluationSettings
from honeyguide.io.scores import ScoresWriter
from tests.planted_tagger import write_tagger_scores

PT = (20, 40, 80)
SETTINGS = RegressionEvaluationSettings(pt=PT, num_replicas=40)


def planted(size: int = 12_000, seed: int = 0):
    """Truth a has residuals of width 2 GeV below 40 GeV and 5 GeV above, b a bias of 3 GeV beside."""
    rng = np.random.default_rng(seed)
    pt, truth = rng.uniform(20, 80, size), rng.integers(0, 2, size)
    width = np.where(pt < 40, 2.0, 5.0)
    true = rng.uniform(50, 150, size)
    predicted = true + 3.0 * truth + width * rng.normal(size=size)
    return true, predicted, truth, pt, width


def evaluated(true, predicted, truth, pt, *, weight=None, quantiles=None, settings=SETTINGS):
    jets = make_jets(truth, ("a", "b"), pt, np.zeros(len(pt)), weight)
    return evaluate_regression(
        true, predicted, jets, quantiles=quantiles or {}, name=("mass", "GeV"), settings=settings
    )


def test_bias_and_resolution_are_the_planted_ones_in_every_bin():
    true, predicted, truth, pt, _ = planted()
    result = evaluated(true, predicted, truth, pt)
    assert result.truths == ("all", "a", "b")
    for row, bias in ((1, 0.0), (2, 3.0)):
        for cell, width in ((1, 2.0), (2, 5.0)):
            error = width / np.sqrt(result.effective[row, cell])
            median, half = result.bias, result.resolution
            assert median.value[row, cell] == pytest.approx(bias, abs=4 * 1.2533 * error)
            assert half.value[row, cell] == pytest.approx(width, abs=4 * 1.2 * error)
            # the error of the median of a Gaussian is 1.2533 sigma / sqrt(n)
            assert (median.high - median.low)[row, cell] / 2 == pytest.approx(1.2533 * error, rel=0.5)
    assert result.density[0].sum() == pytest.approx(0.99, abs=0.01)


def test_weights_count_as_so_many_rows():
    true, predicted, truth, pt, _ = planted(size=3000)
    repeated = evaluated(*(np.repeat(column, 1 + truth, axis=0) for column in (true, predicted, truth, pt)))
    weighted = evaluated(true, predicted, truth, pt, weight=1.0 + truth)
    np.testing.assert_allclose(weighted.bias.value, repeated.bias.value, atol=0.03)
    np.testing.assert_allclose(weighted.resolution.value, repeated.resolution.value, atol=0.03)
    assert (weighted.effective <= repeated.effective).all()


def test_perfect_quantiles_cover_what_they_say_and_constant_ones_do_not():
    true, _, truth, pt, width = planted()
    centre = true - width * np.random.default_rng(5).normal(size=len(true))
    levels = (0.16, 0.5, 0.84)
    perfect = evaluated(true, centre, truth, pt, quantiles={p: centre + norm.ppf(p) * width for p in levels})
    constant = evaluated(true, centre, truth, pt, quantiles={p: centre + norm.ppf(p) * 3.0 for p in levels})
    for level in levels:
        band = perfect.coverage[level]
        pull = (band.value - level) / ((band.high - band.low) / 2)
        assert np.abs(pull).max() < 4
    for cell, spread in ((1, 2.0), (2, 5.0)):
        expected = norm.cdf(norm.ppf(0.84) * 3.0 / spread)
        assert constant.coverage[0.84].value[0, cell] == pytest.approx(expected, abs=0.02)


def test_a_ratio_has_no_unit_and_is_compared_with_one():
    true, _, truth, pt, _ = planted()
    predicted = true * (1.1 + 0.05 * np.random.default_rng(2).normal(size=len(true)))
    result = evaluated(true, predicted, truth, pt, settings=SETTINGS.model_copy(update={"residual": "ratio"}))
    np.testing.assert_allclose(result.bias.value[0], 0.1, atol=0.005)
    np.testing.assert_allclose(result.resolution.value[0], 0.05, rtol=0.1)


def test_too_few_rows_give_no_number():
    true, predicted, truth, pt, _ = planted(size=400)
    pt = np.where(truth == 1, 30.0, pt)
    result = evaluated(true, predicted, truth, pt)
    assert np.isnan(result.bias.value[2, 2])
    assert np.isfinite(result.bias.value[2, :2]).all()
    assert result.to_json()["truths"]["b"][2]["bias"] == {"value": None, "low": None, "high": None}


def write_scores(folder):
    true, predicted, truth, pt, width = planted(size=2000)
    spec = InputSpec(
        level="row", shape=(0,), columns=(), processes=("p",), generators=("g",), truths=("a", "b"),
        targets=(Column(name="mass", feature="mass", kind="continuous", unit="GeV"),),
    )  # fmt: skip
    size = len(true)
    zeros = dict.fromkeys(("label", "process", "generator", "signal_point", "group", "eta"), np.zeros(size))
    known = {**zeros, "event_id": np.arange(size), "weight": np.ones(size), "truth": truth, "pt": pt}
    scores = {"pred_mass": predicted, "pred_mass_q2p5": predicted - 1.96 * width}
    folder.mkdir()
    with ScoresWriter(folder, num_events=size, score_names=list(scores), latent_dim=0, spec=spec, root=False) as writer:
        writer.append(known | {"targets/mass": true}, scores, np.zeros((size, 0)))
    return folder / "scores.h5"


def test_files_have_all_numbers_and_figures(tmp_path):
    seeds = {1: {"s": write_scores(tmp_path / "1")}}
    (tmp_path / "out").mkdir()
    results = evaluate_predictions(seeds, tmp_path / "out", settings=SETTINGS, name="net")
    content = json.loads((tmp_path / "out/regression.json").read_text())
    assert [entry["seed"] for entry in content["seeds"]] == [1]
    (first,) = content["seeds"][0]["results"]
    assert (first["target"], first["unit"], list(first["truths"])) == ("mass", "GeV", ["all", "a", "b"])
    assert first["truths"]["b"][1]["pt"] == [20, 40]
    assert first["truths"]["b"][0]["bias"]["value"] == pytest.approx(results[1][0].bias.value[2, 0])
    with h5py.File(tmp_path / "out/regression.h5") as file:
        np.testing.assert_array_equal(file["seed1/mass/resolution"][:], results[1][0].resolution.value)
        assert "coverage_0.025" in file["seed1/mass"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    figures = {"bias_mass_seed1", "resolution_mass_seed1", "residual_mass_seed1", "coverage_2.5_mass_seed1"}
    assert names >= {f"{name}.{kind}" for name in figures for kind in ("png", "pdf")}
    assert "seed 1  mass [GeV]  b: bias 3" in regression_summary(results)


def test_scores_without_predictions_are_readable_errors(tmp_path):
    tagged = write_tagger_scores(tmp_path / "tagged", sizes={"b": 20, "light": 20})
    with pytest.raises(DataError, match="no predicted targets"):
        evaluate_predictions({1: {"s": tagged}}, tmp_path, settings=SETTINGS, name="net")
    settings, path = SETTINGS.model_copy(update={"targets": ("mas",)}), write_scores(tmp_path / "x")
    with pytest.raises(ConfigError, match=r"(?s)'mas' is not predicted.*mass"):
        evaluate_predictions({1: {"s": path}}, tmp_path, settings=settings, name="net")

"""Predicted targets: a planted mean and spread are found, quantiles never cross and cover what they should."""

from __future__ import annotations

import functools
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import uproot
from pydantic import ValidationError
from scipy.stats import norm

import models
from honeyguide.data.model_inputs import ModelInputs, list_inputs, read_spec
from honeyguide.data.streams import BatchStream
from honeyguide.errors import ConfigError
from honeyguide.evaluation.regression_run import compute_regression
from honeyguide.evaluation.regression_settings import RegressionEvaluationSettings
from honeyguide.inference.run import infer
from honeyguide.inference.settings import InferenceSettings
from honeyguide.io.scores import Scores, read_scores
from honeyguide.losses.regression import pinball_loss, regression_loss
from honeyguide.nn.regression import RegressionHead
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
from tests.planted_regression import MEAN, SLOPE, spread, write_regression_inputs

LEVELS = (0.16, 0.5, 0.84)
MIXED = {"family": "MLP", "hidden": [64], "dropout": 0.0, "regression": {"mass": {"quantiles": LEVELS}}}
PURE = MIXED | {"classify": False}


def build(config: dict[str, Any]) -> Any:
    return functools.partial(models.build, models.parse(config))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    return write_regression_inputs(tmp_path_factory.mktemp("regression") / "inputs", num_train=4000, num_test=3000)


def scored(inputs: Path, folder: Path, config: dict[str, Any], **settings: Any) -> Scores:
    folder.mkdir()
    chosen = {"epochs": 25, "batch_size": 200, "learning_rate": 1e-2, "weight_decay": 0.0, "scheduler": "cosine"}
    chosen |= {"tensorboard": False, "num_threads": 1, **settings}
    train(inputs, folder, build_model=build(config), settings=TrainingSettings(**chosen), seed=1, provenance={})
    (folder / "s").mkdir()
    path = list_inputs(inputs, "test")["qcd"]
    infer(folder, path, folder / "s", build_model=build(config), settings=InferenceSettings(num_threads=1))
    return read_scores(folder / "s/scores.h5")


@pytest.fixture(scope="module")
def mixed(inputs, tmp_path_factory) -> tuple[Path, Scores]:
    folder = tmp_path_factory.mktemp("mixed") / "t"
    return folder, scored(inputs, folder, MIXED)


def test_mean_and_quantiles_are_the_planted_ones_in_gev(mixed, inputs):
    scores, (u, v) = mixed[1], ModelInputs.open(list_inputs(inputs, "test")["qcd"]).event.T
    inner = (np.abs(u) < 1.5) & (np.abs(v) < 0.9)
    mean, width = MEAN + SLOPE * u, spread(v)
    assert np.abs(scores.scores["pred_mass"] - mean)[inner].mean() < 1.2
    for level in LEVELS:
        found = scores.scores[f"pred_mass_q{100 * level:g}"]
        expected = mean + norm.ppf(level) * width
        assert np.abs(found - expected)[inner].mean() < 1.2, level
    narrow, wide = (v < -0.5) & inner, (v > 0.5) & inner
    for rows in (narrow, wide):  # the width of what is predicted follows the planted one, a factor of 3.3 between them
        half = (scores.scores["pred_mass_q84"] - scores.scores["pred_mass_q16"])[rows].mean() / 2
        assert half == pytest.approx(width[rows].mean(), rel=0.25)
        for level in LEVELS:
            share = (scores.targets["mass"] <= scores.scores[f"pred_mass_q{100 * level:g}"])[rows].mean()
            assert share == pytest.approx(level, abs=0.06)


def test_classes_are_learned_beside(mixed, inputs):
    scores = mixed[1]
    u, v = ModelInputs.open(list_inputs(inputs, "test")["qcd"]).event.T
    assert scores.classes == ("b", "c")
    assert ((scores.scores["prob_b"] > 0.5) == (u > v)).mean() > 0.95


def test_targets_are_kept_in_their_units(mixed, inputs):
    folder, scores = mixed
    source = ModelInputs.open(list_inputs(inputs, "test")["qcd"])
    assert scores.units == {"flat": "", "mass": "GeV"}
    scaled = (scores.targets["mass"].astype(float) - scores.targets["mass"].mean()) / scores.targets["mass"].std()
    assert np.corrcoef(scaled, source.targets[:, 1])[0, 1] > 1 - 1e-9
    assert scores.targets["mass"].mean() == pytest.approx(MEAN, abs=2)
    np.testing.assert_array_equal(scores.targets["flat"], source.targets[:, 0])
    with uproot.open(folder / "s/scores.root") as file:
        columns = file["events"].arrays(library="np")
    np.testing.assert_array_equal(columns["target_mass"], scores.targets["mass"])
    np.testing.assert_array_equal(columns["score_pred_mass_q16"], scores.scores["pred_mass_q16"])


def test_a_regression_alone_needs_no_truth(tmp_path):
    inputs = write_regression_inputs(tmp_path / "inputs", num_train=1200, truths=False)
    config = PURE | {"regression": {"mass": {"loss": "huber"}}}
    scores = scored(inputs, tmp_path / "t", config, epochs=15)
    assert list(scores.scores) == ["pred_mass"]
    assert scores.classes == ()
    log = json.loads((tmp_path / "t/metrics.json").read_text())
    assert log["weights"] == {"regression": 1.0}
    assert not (tmp_path / "t/latent_gaussian.json").exists()
    assert np.corrcoef(scores.scores["pred_mass"], scores.targets["mass"])[0, 1] > 0.85


def test_terms_are_weighted_sums_over_the_targets(inputs):
    regression = {"mass": {"loss": "logcosh", "weight": 3.0}, "flat": {"quantiles": [0.3]}}
    model = build(PURE | {"regression": regression})(read_spec(inputs)).eval()
    (batch,) = BatchStream([ModelInputs.open(list_inputs(inputs, "validation")["qcd"])], batch_size=1000).batches()
    with torch.no_grad():
        scores, terms = model.score(batch), model.loss(batch)
    assert list(terms) == ["regression", "quantile"] == list(model.config.terms)
    flat, mass = batch.targets.unbind(1)
    expected = 3 * torch.log(torch.cosh(scores["pred_mass"] - mass)).mean() + ((scores["pred_flat"] - flat) ** 2).mean()
    torch.testing.assert_close(terms["regression"], expected)
    d = flat - scores["pred_flat_q30"]
    torch.testing.assert_close(terms["quantile"], torch.where(d > 0, 0.3 * d, -0.7 * d).mean())


def test_losses_have_their_closed_forms():
    predicted, target = torch.tensor([0.0, 0.5, 3.0, -200.0]), torch.zeros(4)
    assert regression_loss(predicted, target, "mse").tolist() == [0, 0.25, 9, 40000]
    assert regression_loss(predicted, target, "huber").tolist() == [0, 0.125, 2.5, 199.5]
    expected = [*np.log(np.cosh([0, 0.5, 3])), 200 - np.log(2)]
    np.testing.assert_allclose(regression_loss(predicted, target, "logcosh"), expected, rtol=1e-6)
    found = pinball_loss(torch.tensor([[0.0, 2.0]]), torch.tensor([1.0]), (0.2, 0.9))
    assert found.item() == pytest.approx(0.2 * 1 + 0.1 * 1)


def test_quantiles_never_cross():
    head = RegressionHead(6, {"a": (), "mass": (0.025, 0.16, 0.5, 0.8, 0.9)})
    names = [f"pred_mass_q{level}" for level in ("2p5", "16", "50", "80", "90")]
    assert list(head.outputs) == ["pred_a", "pred_mass", *names]
    assert set(head.outputs.values()) == {"a", "mass"}
    torch.nn.init.normal_(head.linear.weight, std=5)
    scores = head.scores(torch.randn(500, 6))
    for low, high in pairwise(names):
        assert (scores[low] <= scores[high]).all()
        assert (scores[low] < scores[high]).any()
    assert (scores["pred_mass_q2p5"] < scores["pred_mass"]).float().mean() < 0.9  # the value is free


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classify": False}, "needs targets"),
        ({"classify": False, "regression": {"m": {}}, "classes": {"a": ["a"], "b": ["b"]}}, "classes are given"),
        ({"regression": {"m": {"quantiles": [0.5, 0.2]}}}, "must rise"),
        ({"terms": {"regression": 2.0}}, "nothing makes the terms regression"),
        ({"classify": False, "regression": {"m": {}}, "terms": {"cross_entropy": 1.0}}, "cross_entropy"),
    ],
)
def test_impossible_regressions_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        models.parse({"family": "MLP", **settings})


def test_a_target_that_the_inputs_have_not_is_an_error(inputs):
    with pytest.raises(ConfigError, match=r"(?s)no target 'mas'.*mass"):
        build({"family": "MLP", "regression": {"mas": {}}})(read_spec(inputs))


def test_evaluation_agrees_with_the_scores(mixed):
    folder, scores = mixed
    settings = RegressionEvaluationSettings(pt=(20, 50, 150), num_replicas=20)
    (result,) = compute_regression({"qcd": folder / "s/scores.h5"}, settings)
    assert (result.target, result.unit, result.truths) == ("mass", "GeV", ("all", "b", "c"))
    residual = scores.scores["pred_mass"].astype(float) - scores.targets["mass"]
    for number, rows in enumerate((scores.truth >= -1, scores.truth == 0, scores.truth == 1)):
        for cell, (low, high) in enumerate(((0, np.inf), (20, 50), (50, 150))):
            chosen = residual[rows & (scores.pt >= low) & (scores.pt < high)]
            assert result.effective[number, cell] == pytest.approx(len(chosen))
            assert result.bias.value[number, cell] == pytest.approx(np.median(chosen), abs=0.02)
            half = np.diff(np.quantile(chosen, norm.cdf([-1, 1])))[0] / 2
            assert result.resolution.value[number, cell] == pytest.approx(half, rel=0.02)
    assert list(result.coverage) == [0.16, 0.5, 0.84]
    with h5py.File(folder / "s/scores.h5") as file:
        below = file["targets/mass"][:] <= file["scores/pred_mass_q84"][:]
    assert result.coverage[0.84].value[0, 0] == pytest.approx(below.mean())

"""Scores beyond the terms: distances in the latent space, and averages over draws from the posterior."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import OAS

import models
from honeyguide.data.batch import Batch
from honeyguide.data.model_inputs import ModelInputs, list_inputs
from honeyguide.data.streams import BatchStream
from honeyguide.errors import StoreError
from honeyguide.inference.run import infer
from honeyguide.inference.settings import InferenceSettings
from honeyguide.io.scores import Scores, read_scores
from honeyguide.training.latents import read_latent_gaussian
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.weights import load_model
from tests.planted import write_inputs, write_sample

CONFIG: dict[str, Any] = {"family": "vae", "hidden": [16], "latent_dim": 3, "terms": {"kl": 0.1}}


def build(config: dict[str, Any]) -> Any:
    return functools.partial(models.build, models.parse(config))


def run(folder: Path, config: dict[str, Any]) -> Path:
    """A folder with model inputs, of which a part of the training events is signal, and a training on them."""
    inputs = write_inputs(folder / "inputs")
    write_sample(inputs, "svj", "train", num_events=150, first_id=1_000_000, signal=True)
    (folder / "training").mkdir()
    settings = TrainingSettings(epochs=8, batch_size=90, learning_rate=0.1, tensorboard=False, num_threads=1)
    train(inputs, folder / "training", build_model=build(config), settings=settings, seed=1, provenance={})
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return run(tmp_path_factory.mktemp("scores"), CONFIG)


def scored(trained: Path, folder: Path, config: dict[str, Any] = CONFIG, **settings) -> Scores:
    folder.mkdir()
    chosen = InferenceSettings(num_threads=1, root=False, **settings)
    test = trained / "inputs" / "qcd_herwig" / "test.h5"
    infer(trained / "training", test, folder, build_model=build(config), settings=chosen)
    return read_scores(folder / "scores.h5")


def whole(paths: list[Path]) -> Batch:
    (batch,) = BatchStream([ModelInputs.open(path) for path in paths], batch_size=10**6).batches()
    return batch


@pytest.mark.parametrize("which", ["best", "last"])
def test_the_distance_is_that_from_the_training_background_of_the_same_weights(trained, tmp_path, which):
    found = scored(trained, tmp_path / "s", weights=which)
    model = load_model(trained / "training", build(CONFIG), which=which)
    batch = whole(list(list_inputs(trained / "inputs", "train").values()))
    latents = model.latent(batch).detach().double().numpy()[batch.label.numpy() == 0]
    assert len(latents) == 600 == read_latent_gaussian(trained / "training", which=which).num_events
    fit = OAS().fit(latents)
    inverse = np.linalg.inv(fit.covariance_)
    expected = [mahalanobis(latent, fit.location_, inverse) for latent in found.latent.astype(np.float64)]
    np.testing.assert_allclose(found.scores["mahalanobis"], expected, rtol=1e-4)
    gaussians = [read_latent_gaussian(trained / "training", which=name).mean for name in ("best", "last")]
    assert not np.allclose(*gaussians)


def test_scores_are_averages_over_the_draws_of_each_event(trained, tmp_path):
    mean, three, other = (
        scored(trained, tmp_path / str(number), draws=draws, batch_size=size)
        for number, (draws, size) in enumerate([(0, 1024), (3, 1024), (3, 17)])
    )
    model, batch = load_model(trained / "training", build(CONFIG)), whole([trained / "inputs/qcd_herwig/test.h5"])
    with torch.no_grad():
        drawn = [model._terms(batch, model(batch, draw=draw))["reconstruction"] for draw in range(3)]
    assert not torch.isclose(drawn[0], drawn[1], rtol=1e-3).all()
    np.testing.assert_allclose(three.scores["reconstruction"], torch.stack(drawn).mean(0).numpy(), rtol=1e-4)
    for name, values in three.scores.items():
        np.testing.assert_allclose(values, other.scores[name], rtol=1e-4)
    np.testing.assert_allclose(
        three.scores["total"], three.scores["reconstruction"] + 0.1 * three.scores["kl"], rtol=1e-4
    )
    assert np.isclose(three.scores["reconstruction"], mean.scores["reconstruction"], rtol=1e-3).mean() < 0.1
    np.testing.assert_array_equal(three.latent, mean.latent)
    np.testing.assert_array_equal(three.scores["mahalanobis"], mean.scores["mahalanobis"])


def test_a_plain_autoencoder_has_nothing_to_draw(tmp_path):
    config = {**CONFIG, "posterior": "none", "terms": {}}
    folder = run(tmp_path, config)
    mean, three = (scored(folder, tmp_path / str(draws), config, draws=draws) for draws in (0, 3))
    assert set(mean.scores) == {"total", "reconstruction", "mahalanobis"}
    for name, values in mean.scores.items():
        np.testing.assert_array_equal(three.scores[name], values)


def test_latents_that_are_all_the_same_have_no_distances_but_the_training_ends_well(tmp_path):
    def collapsed(spec):
        model = build(CONFIG)(spec)
        model.latent = lambda batch: torch.zeros(len(batch), 3)
        return model

    inputs = write_inputs(tmp_path / "inputs", num_train=60, num_validation=0)
    (tmp_path / "training").mkdir()
    settings = TrainingSettings(epochs=1, tensorboard=False)
    with pytest.warns(UserWarning, match="all latent vectors of the background are the same"):
        train(inputs, tmp_path / "training", build_model=collapsed, settings=settings, seed=1, provenance={})
    assert json.loads((tmp_path / "training/latent_gaussian.json").read_text()) == {"best": None, "last": None}
    assert set(scored(tmp_path, tmp_path / "s").scores) == {"total", "reconstruction", "kl"}


def test_a_training_without_the_gaussian_is_a_readable_error(trained, tmp_path):
    for content in (None, "{}", '{"best": {"mean": [1]}}'):
        if content is not None:
            (tmp_path / "latent_gaussian.json").write_text(content)
        with pytest.raises(StoreError, match="TrainingTask"):
            read_latent_gaussian(tmp_path, which="best")

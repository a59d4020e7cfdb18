"""Inference: the scores are the model's, in order, and find a planted signal."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import uproot
from safetensors.torch import load_file, save_file
from scipy.stats import rankdata

import models
from honeyguide.data.model_inputs import ModelInputs, write_spec
from honeyguide.data.streams import BatchStream
from honeyguide.errors import ModelError
from honeyguide.inference import run as inference
from honeyguide.inference.run import infer
from honeyguide.inference.settings import InferenceSettings
from honeyguide.io.scores import read_scores
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.weights import load_model
from tests.planted import make_spec, write_inputs, write_sample

build = functools.partial(
    models.build, models.parse({"family": "vae", "hidden": [32, 16], "latent_dim": 3, "terms": {"kl": 1e-3}})
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with model inputs and a training on them."""
    folder = tmp_path_factory.mktemp("inference")
    write_inputs(folder / "inputs", num_train=1500, num_validation=300, num_test=600)
    (folder / "training").mkdir()
    settings = TrainingSettings(epochs=15, batch_size=50, learning_rate=3e-3, tensorboard=False, num_threads=1)
    train(folder / "inputs", folder / "training", build_model=build, settings=settings, seed=1, provenance={})
    return folder


def score(trained: Path, sample: str, folder: Path, **settings):
    folder.mkdir()
    path = trained / "inputs" / sample / "test.h5"
    chosen = InferenceSettings(num_threads=1, **settings)
    done = []
    result = infer(
        trained / "training",
        path,
        folder,
        build_model=build,
        settings=chosen,
        progress=lambda *counts: done.append(counts),
    )
    assert done[-1] == (result.num_events, result.num_events)
    return result, ModelInputs.open(path)


def test_scores_are_those_of_the_model_event_by_event(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "BLOCK_ROWS", 100)
    result, source = score(trained, "qcd_pythia", tmp_path / "s", batch_size=64)
    stored = read_scores(tmp_path / "s" / "scores.h5")
    assert result.num_events == len(stored) == len(source) == 400
    for name in ("event_id", "weight", "label", "process", "generator", "signal_point"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(source, name))
    assert stored.processes == ("qcd", "svj")
    assert stored.signal_points == ("mass=3500",)
    model = load_model(trained / "training", build)
    with torch.inference_mode():
        batch = next(BatchStream([source], batch_size=10**6).batches())
        scores, latent = model.outputs(batch)
    assert set(stored.scores) == {"total", "reconstruction", "kl", "mahalanobis"}
    for name, values in scores.items():
        np.testing.assert_allclose(stored.scores[name], values.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(stored.latent, latent.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", ["best", "last"])
def test_the_weights_are_those_that_were_asked_for(trained, tmp_path, which):
    shutil.copytree(trained / "inputs", tmp_path / "inputs")
    shutil.copytree(trained / "training", tmp_path / "training")
    other = tmp_path / "training" / ("last" if which == "best" else "best")
    constant = {name: 0 * tensor for name, tensor in load_file(other.with_suffix(".safetensors")).items()}
    save_file(constant, other.with_suffix(".safetensors"))
    score(tmp_path, "svj", tmp_path / "s", weights=which)
    assert np.ptp(read_scores(tmp_path / "s" / "scores.h5").latent) > 0  # all latents of the other are 0


def test_root_file_holds_the_same_as_the_hdf5_file(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "BLOCK_ROWS", 100)
    score(trained, "svj", tmp_path / "s", batch_size=50)
    stored = read_scores(tmp_path / "s" / "scores.h5")
    with uproot.open(tmp_path / "s" / "scores.root") as file:
        tree = file["events"]
        truth = ["event_id", "weight", "label", "process", "generator", "signal_point"]
        assert set(tree.keys()) == {
            *truth,
            "score_total",
            "score_reconstruction",
            "score_kl",
            "score_mahalanobis",
            "latent",
        }
        assert tree["latent"].typename == "float[3]"
        columns = tree.arrays(library="np")
        assert file["signal_points"] == '["mass=3500"]'
    for name in truth:
        np.testing.assert_array_equal(columns[name], getattr(stored, name))
    for name, values in stored.scores.items():
        np.testing.assert_array_equal(columns[f"score_{name}"], values)
    np.testing.assert_array_equal(columns["latent"], stored.latent)


def test_without_root_there_is_no_root_file(trained, tmp_path):
    score(trained, "svj", tmp_path / "s", root=False)
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["scores.h5"]


def test_a_planted_signal_scores_higher(trained, tmp_path):
    """Signal and background differ in correlations alone, so nothing but a learnt background can tell them apart."""
    for sample in ("qcd_pythia", "svj"):
        score(trained, sample, tmp_path / sample)
    background, signal = (read_scores(tmp_path / name / "scores.h5") for name in ("qcd_pythia", "svj"))
    num_background, num_signal = len(background), len(signal)
    deviation = ((num_background + num_signal + 1) / (12 * num_background * num_signal)) ** 0.5  # of the AUC of noise
    for name in ("total", "reconstruction"):
        ranks = rankdata(np.concatenate([background.scores[name], signal.scores[name]]))
        auc = (ranks[num_background:].mean() - (num_signal + 1) / 2) / num_background
        assert auc > 0.5 + 8 * deviation
    before = build(make_spec())  # untrained weights do not find it: it is the training that does
    with torch.inference_mode():
        untrained = [
            before.eval().score(
                next(BatchStream([ModelInputs.open(trained / f"inputs/{s}/test.h5")], batch_size=10**6).batches())
            )
            for s in ("qcd_pythia", "svj")
        ]
    ranks = rankdata(torch.cat([scores["total"] for scores in untrained]).numpy())
    assert abs((ranks[num_background:].mean() - (num_signal + 1) / 2) / num_background - 0.5) < 8 * deviation


def test_inputs_of_another_form_are_an_error(trained, tmp_path):
    spec = make_spec(num_features=2)
    (tmp_path / "other").mkdir()
    write_spec(tmp_path / "other", spec)
    path = write_sample(tmp_path / "other", "qcd", "test", num_events=5, first_id=1, spec=spec)
    with pytest.raises(ModelError, match="columns differs") as caught:
        infer(trained / "training", path, tmp_path, build_model=build, settings=InferenceSettings())
    assert "f0, f1, f2" in str(caught.value)


def test_a_nan_score_names_the_event(trained, tmp_path):
    def broken(spec):
        model = build(spec)
        outputs = model.outputs

        def with_nan(batch, draws):
            scores, latent = outputs(batch, draws=draws)
            return {**scores, "kl": scores["kl"].masked_fill(batch.event_id == 900_123, torch.nan)}, latent

        model.outputs = with_nan
        return model

    with pytest.raises(ModelError, match="'kl' is NaN") as caught:
        infer(
            trained / "training",
            trained / "inputs/svj/test.h5",
            tmp_path,
            build_model=broken,
            settings=InferenceSettings(),
        )
    assert "900123" in str(caught.value)

"""A tagger is trained, killed, spread over processes and applied: it finds planted truths, and loses no row."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uproot
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import models
from honeyguide.data import length_buckets
from honeyguide.data.input_spec import InputSpec
from honeyguide.data.model_inputs import ModelInputs, list_inputs, read_spec
from honeyguide.data.streams import BatchStream
from honeyguide.errors import ConfigError, ModelError
from honeyguide.inference.run import infer
from honeyguide.inference.settings import InferenceSettings
from honeyguide.io.scores import Scores, read_scores
from honeyguide.nn.model import Model
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.weights import load_model, save_weights
from tests.forked import run_script
from tests.planted import ROW_TRUTHS, write_row_inputs

NETWORKS: dict[str, dict[str, Any]] = {
    "DeepJet": {"family": "DeepJet", "hidden": [32, 16]},
    "MLP": {"family": "MLP", "hidden": [64, 32]},
}


def build(config: dict[str, Any]) -> Any:
    return functools.partial(models.build, models.parse(config))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    return write_row_inputs(
        tmp_path_factory.mktemp("tagger") / "inputs", num_train=2400, num_validation=600, num_test=900
    )


@pytest.fixture(scope="module", params=NETWORKS)
def trained(request, inputs, tmp_path_factory) -> tuple[dict[str, Any], Path]:
    """The config and the folder of a training."""
    config, folder = NETWORKS[request.param], tmp_path_factory.mktemp("trained")
    settings = TrainingSettings(epochs=12, batch_size=100, learning_rate=5e-3, tensorboard=False, num_threads=1)
    train(inputs, folder, build_model=build(config), settings=settings, seed=1, provenance={})
    return config, folder


def scored(trained: tuple[dict[str, Any], Path], path: Path, folder: Path, **settings: Any) -> Scores:
    folder.mkdir(exist_ok=True)
    chosen = InferenceSettings(num_threads=1, **settings)
    infer(trained[1], path, folder, build_model=build(trained[0]), settings=chosen)
    return read_scores(folder / "scores.h5")


def flat(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Everything side by side, and the truth: what a model without products of features can be given."""
    sources = [ModelInputs.open(path) for path in list_inputs(folder, split).values()]
    parts = [
        np.concatenate([source.event, *(item.features.reshape(len(source), -1) for item in source.sets.values())], 1)
        for source in sources
    ]
    return np.concatenate(parts), np.concatenate([source.truth for source in sources])


def test_it_finds_what_a_linear_classifier_can_not(trained, inputs, tmp_path):
    """Truths b and c differ in the sign of a product; spectra and vertices tell a linear classifier a part of it."""
    parts = [scored(trained, path, tmp_path / name) for name, path in list_inputs(inputs, "test").items()]
    truth = np.concatenate([part.truth for part in parts])
    found = {name: np.concatenate([part.scores[f"prob_{name}"] for part in parts]) for name in ROW_TRUTHS}
    linear = LogisticRegression(max_iter=500).fit(*flat(inputs, "train"))
    features, same_truth = flat(inputs, "test")
    np.testing.assert_array_equal(truth, same_truth)
    limit = linear.predict_proba(features)
    heavy = truth < 2
    b_against_c = roc_auc_score(truth[heavy] == 0, (found["b"] / (found["b"] + found["c"]))[heavy])
    linear_auc = roc_auc_score(truth[heavy] == 0, (limit[:, 0] / (limit[:, 0] + limit[:, 1]))[heavy])
    assert b_against_c > 0.85
    assert b_against_c > linear_auc + 0.1
    for number, name in enumerate(ROW_TRUTHS):
        assert roc_auc_score(truth == number, found[name]) > roc_auc_score(truth == number, limit[:, number])


def test_scores_are_those_of_the_model_row_by_row(trained, inputs, tmp_path):
    path = list_inputs(inputs, "test")["ttbar"]
    stored, source = scored(trained, path, tmp_path, batch_size=77), ModelInputs.open(path)
    for name in ("event_id", "weight", "process", "truth", "pt", "eta"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(source, name))
    assert stored.truths == ROW_TRUTHS
    assert stored.classes == ROW_TRUTHS
    assert list(stored.scores) == sorted(f"prob_{name}" for name in ROW_TRUTHS)
    np.testing.assert_allclose(sum(stored.scores.values()), 1, rtol=1e-6)
    model = load_model(trained[1], build(trained[0]))
    with torch.inference_mode():
        scores, latent = model.outputs(next(BatchStream([source], batch_size=10**6).batches()))
    for name, values in scores.items():
        np.testing.assert_allclose(stored.scores[name], values.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(stored.latent, latent.numpy(), rtol=1e-4, atol=1e-5)
    with uproot.open(tmp_path / "scores.root") as file:
        columns = file["events"].arrays(library="np")
        assert json.loads(file["classes"]) == json.loads(file["truths"]) == list(ROW_TRUTHS)
    for name in ("event_id", "truth", "pt", "eta"):
        np.testing.assert_array_equal(columns[name], getattr(stored, name))
    for name in ROW_TRUTHS:
        np.testing.assert_array_equal(columns[f"score_prob_{name}"], stored.scores[f"prob_{name}"])


def test_the_log_has_the_share_of_rows_that_are_right(trained, inputs):
    log = json.loads((trained[1] / "metrics.json").read_text())
    assert log["weights"] == {"cross_entropy": 1.0, "accuracy": 0.0}
    sources = [ModelInputs.open(path) for path in list_inputs(inputs, "validation").values()]
    model = load_model(trained[1], build(trained[0]))
    (batch,) = BatchStream(sources, batch_size=10**6).batches()
    with torch.inference_mode():
        probabilities = torch.stack(list(model.score(batch).values()), 1)
    expected = (probabilities.argmax(1) == batch.truth).float().mean().item()
    best = log["epochs"][log["best_epoch"]]["validation"]
    assert best["accuracy"] == pytest.approx(expected, abs=1e-5)
    assert best["total"] == best["cross_entropy"] == min(one["validation"]["total"] for one in log["epochs"])
    assert not (trained[1] / "latent_gaussian.json").exists()


def test_inputs_of_another_form_are_an_error(trained, inputs, tmp_path):
    spec = json.loads((inputs / "spec.json").read_text())
    path = tmp_path / "other" / "qcd" / "test.h5"
    path.parent.mkdir(parents=True)
    path.write_bytes(list_inputs(inputs, "test")["qcd"].read_bytes())
    other_set = {**spec["sets"][0], "columns": spec["sets"][0]["columns"][::-1]}
    for changes, what in (
        ({"truths": ["c", "b", "light"]}, "truths differs"),
        ({"sets": spec["sets"][:2]}, "sets differs"),
        ({"sets": [other_set, *spec["sets"][1:]]}, "columns of cpf differs"),
    ):
        (tmp_path / "other/spec.json").write_text(json.dumps(spec | changes))
        with pytest.raises(ModelError, match=what):
            scored(trained, path, tmp_path / "s")


def test_classes_may_be_groups_of_truths_and_leave_others_out(inputs, tmp_path):
    config = {"family": "MLP", "hidden": [16], "classes": {"charm": ["c"], "beauty": ["b"]}, "unclassified": "drop"}
    settings = TrainingSettings(epochs=1, tensorboard=False, num_threads=1)
    (tmp_path / "t").mkdir()
    train(inputs, tmp_path / "t", build_model=build(config), settings=settings, seed=1, provenance={})
    stored = scored((config, tmp_path / "t"), list_inputs(inputs, "test")["qcd"], tmp_path / "s", root=False)
    assert stored.classes == ("charm", "beauty")
    assert set(stored.scores) == {"prob_charm", "prob_beauty"}
    assert set(stored.truth) == {0, 1, 2}  # light jets are scored, and keep their truth


def test_length_buckets_are_for_models_that_take_any_number_of_objects(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(length_buckets, "STEP", 1)
    seen = set()

    def watched(spec: InputSpec) -> Model:
        model = build(NETWORKS["DeepJet"])(spec)
        model.network.register_forward_pre_hook(lambda _, given: seen.add(given[0].sets["cpf"].mask.shape[1]))
        return model

    settings = TrainingSettings(epochs=2, tensorboard=False, num_threads=1, length_buckets=True, learning_rate=5e-3)
    (tmp_path / "t").mkdir()
    train(inputs, tmp_path / "t", build_model=watched, settings=settings, seed=1, provenance={})
    first, last = json.loads((tmp_path / "t/metrics.json").read_text())["epochs"]
    assert last["validation"]["cross_entropy"] < first["validation"]["cross_entropy"] < 1.2
    assert len(seen) > 3
    with pytest.raises(ConfigError, match="needs all slots"):
        train(inputs, tmp_path, build_model=build(NETWORKS["MLP"]), settings=settings, seed=1, provenance={})


SETTINGS = {
    "epochs": 3, "batch_size": 96, "learning_rate": 0.003, "device": "cpu", "num_threads": 1, "tensorboard": False,
    "checkpoint_seconds": 0,
}  # fmt: skip
FROZEN = r"network\.readers\.0"
TUNED = {  # all that follows weights or treats some of them in another way
    "optimizer": "ranger", "lookahead_steps": 2, "ema_decay": 0.9, "weight_decay": 0.1, "weight_decay_of": "matrices",
    "learning_rates": {"to_logits": 5.0}, "scheduler": "one_cycle", "learning_rate": 0.02,
    "adversarial": {"attack": "pgd", "epsilon": 0.05, "steps": 2},
}  # fmt: skip


def job(inputs: Path, place: Path, model: dict[str, Any], **changes: Any) -> dict[str, Any]:
    place.mkdir()
    return {
        "inputs": str(inputs), "folder": str(place / "t"), "checkpoint": str(place / "checkpoint"), "lives": [None],
        "model": model, "settings": SETTINGS,
    } | changes  # fmt: skip


@pytest.fixture(scope="module")
def lives(tmp_path_factory) -> Path:
    """The folder of a training in one life, of one in several, and of one in two processes."""
    folder = tmp_path_factory.mktemp("lives")
    inputs = write_row_inputs(folder / "inputs", num_train=301, num_validation=95, num_test=0)
    deepjet = {"family": "DeepJet", "hidden": [16, 8]}
    with torch.random.fork_rng():
        save_weights(build(deepjet)(read_spec(inputs)).state_dict(), folder / "start.safetensors")
    start = {"weights": str(folder / "start.safetensors"), "exclude": ["to_logits"], "freeze": [FROZEN]}
    tuned = SETTINGS | TUNED | {"start": start}
    killed = [["SIGKILL", "step", 2], ["SIGTERM", "validation", 1], ["SIGKILL", "step", 3], None]
    jobs = [
        job(inputs, folder / "whole", deepjet, settings=tuned),
        job(inputs, folder / "killed", deepjet, settings=tuned, lives=killed),
        job(inputs, folder / "two", deepjet, settings=tuned | {"processes": 2}),
    ]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = run_script(Path(__file__).with_name("killed_training.py"), folder / "jobs.json", folder=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[0], [-9, 3, -9, 0], [0]], done.stderr
    return folder


def test_a_training_that_was_killed_ends_with_the_same_weights(lives):
    for which in ("best", "last"):
        one, other = (lives / name / f"t/{which}.safetensors" for name in ("whole", "killed"))
        assert one.read_bytes() == other.read_bytes()


def test_what_is_frozen_is_the_same_in_every_life_and_process(lives):
    start = load_file(lives / "start.safetensors")
    for name in ("whole", "killed", "two"):
        last = load_file(lives / name / "t/last.safetensors")
        stayed = {key for key, value in start.items() if torch.equal(value, last[key])}
        assert stayed >= {key for key in start if re.match(FROZEN, key)}
        assert not any(key.startswith(("to_logits", "network.readers.1.recurrent")) for key in stayed)


def test_two_processes_train_a_tagger(lives):
    one, other = (json.loads((lives / name / "t/metrics.json").read_text()) for name in ("whole", "two"))
    assert load_file(lives / "two/t/last.safetensors").keys() == load_file(lives / "whole/t/last.safetensors").keys()
    # each process normalises over its own half of a batch: not the same steps, but the same training
    first, last = other["epochs"][0], other["epochs"][-1]
    assert last["train"]["cross_entropy"] < first["train"]["cross_entropy"]
    for split in ("train", "validation"):
        assert last[split]["cross_entropy"] == pytest.approx(one["epochs"][-1][split]["cross_entropy"], rel=0.2)

"""Trainings on rows that are reweighted: by weights or by sampling, killed, in several processes, in folds."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import models
from honeyguide.data.folds import Fold
from honeyguide.data.model_inputs import ModelInputs, list_inputs
from honeyguide.data.reweighting import JetBlock
from honeyguide.data.reweighting_settings import JetBinning, ReweightingSettings
from honeyguide.data.row_reweighting import read_row_reweighting
from honeyguide.preprocess.spectra import write_reweighting
from honeyguide.training.run import _open_streams, train
from honeyguide.training.settings import TrainingSettings
from tests.forked import run_script
from tests.planted import ROW_TRUTHS, write_row_inputs

ROOT = Path(__file__).parents[2]
MODEL = {"family": "tagger", "network": "mlp", "hidden": [16], "dropout": 0.1}
SETTINGS = {"epochs": 3, "batch_size": 32, "tensorboard": False, "num_threads": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    folder = write_row_inputs(tmp_path_factory.mktemp("rows") / "inputs", num_train=900)
    bins = JetBinning(pt=(20, 50, 90, 1000), eta=(0, 2.5))
    write_reweighting(folder, ROW_TRUTHS, ReweightingSettings(reference="light", bins=bins, normalise="reference"))
    return folder


def streams_of(inputs: Path | Fold, **settings: Any) -> Any:
    chosen = TrainingSettings.model_validate({"batch_size": 64, **settings})
    return _open_streams(inputs, chosen, seed=5, device=torch.device("cpu"), part=(0, 1))


def run(inputs: Path | Fold, folder: Path, **settings: Any) -> dict[str, Any]:
    folder.mkdir()
    build = functools.partial(models.build, models.parse(MODEL))
    chosen = TrainingSettings.model_validate(SETTINGS | settings)
    train(inputs, folder, build_model=build, settings=chosen, seed=1, provenance={})
    return json.loads((folder / "provenance.json").read_text())["training"]


def factors(inputs: Path, split: str) -> dict[int, float]:
    """The factor of every row of a split, scaled to the mean 1."""
    found = {}
    for path in list_inputs(inputs, split).values():
        part = ModelInputs.open(path)
        weights = read_row_reweighting(inputs).weights(JetBlock(part.truth, part.pt, part.eta))
        found |= dict(zip(part.event_id.tolist(), weights.tolist(), strict=True))
    mean = np.mean(list(found.values()))
    return {event_id: weight / mean for event_id, weight in found.items()}


@pytest.mark.parametrize("loss_weighting", [True, False])
def test_what_validates_is_weighted_and_what_trains_is_as_the_settings_say(inputs, loss_weighting):
    training, validation = streams_of(inputs, loss_weighting=loss_weighting)
    for split, stream in (("train", training), ("validation", validation)):
        expected = factors(inputs, split)
        is_sampled = split == "train" and not loss_weighting
        seen = {}
        for batch in stream.batches(1):
            seen |= dict(zip(batch.event_id.tolist(), batch.weight.tolist(), strict=True))
        if is_sampled:
            assert set(seen.values()) == {1.0}
            assert len(seen) < 0.8 * len(expected)
        else:
            assert seen == pytest.approx(expected, rel=1e-5)


def test_without_a_reweighting_the_setting_changes_nothing(tmp_path):
    plain = write_row_inputs(tmp_path / "plain")
    for loss_weighting in (True, False):
        training, _ = streams_of(plain, loss_weighting=loss_weighting)
        assert training.num_events == 600
        assert {w for batch in training.batches() for w in batch.weight.tolist()} == {1.0}


def test_sampling_takes_fewer_steps_of_the_same_size(inputs):
    weighted, _ = streams_of(inputs, loss_weighting=True)
    sampled, _ = streams_of(inputs)
    assert len(sampled) == -(-sampled.num_events // 64) < len(weighted)
    assert sampled.events_in(0) > 55


def test_memory_budget_does_not_change_the_weights(inputs, tmp_path):
    about = [run(inputs, tmp_path / name, resident_mb=mb) for name, mb in (("a", 0), ("b", 100))]
    assert [part["resident"] for part in about] == [False, True]
    one, other = (load_file(tmp_path / name / "last.safetensors") for name in ("a", "b"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_weighting_and_sampling_are_two_trainings(inputs, tmp_path):
    about = [run(inputs, tmp_path / str(how), loss_weighting=how) for how in (True, False)]
    assert about[0]["num_events"] == {"train": 900, "validation": 201}
    assert about[1]["num_events"]["train"] < 800
    assert about[1]["num_events"]["validation"] == 201


@pytest.mark.parametrize("event_weights", ["none", "physics"])
def test_folds_are_reweighted_by_what_trains_in_them(inputs, event_weights):
    fold = Fold(inputs, 0, 3)
    training, validation = streams_of(fold, loss_weighting=True, event_weights=event_weights)
    batches = list(training.batches())
    pt = np.concatenate([60 * np.exp(batch.event[:, 0].numpy()) for batch in batches])
    truth, weight = (np.concatenate([getattr(b, name).numpy() for b in batches]) for name in ("truth", "weight"))
    found = np.array(
        [np.histogram(pt[truth == t], (20, 50, 90, 1000), weights=weight[truth == t])[0] for t in range(3)]
    )
    np.testing.assert_allclose(found, np.broadcast_to(found[2], found.shape), rtol=1e-3)
    assert weight.mean() == pytest.approx(1, rel=1e-5)
    assert np.concatenate([b.weight.numpy() for b in validation.batches()]).mean() == pytest.approx(1, rel=1e-5)


KILLED = [("SIGKILL", "step", 5), ("SIGTERM", "step", 3), ("SIGKILL", "step", 14)]
CASES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "streamed": ({"checkpoint_seconds": 0, "resident_mb": 0}, KILLED),
    "two processes": ({"checkpoint_seconds": 0, "processes": 2}, KILLED),
    "weights": ({"checkpoint_seconds": 0, "loss_weighting": True}, KILLED[:1]),
}


@pytest.fixture(scope="module")
def lived(inputs, tmp_path_factory) -> Path:
    """The folder of all cases, killed and whole."""
    folder = tmp_path_factory.mktemp("lived")
    jobs = []
    for name, (settings, places) in CASES.items():
        for kind, lives in (("whole", [None]), ("killed", [*places, None])):
            case = folder / f"{name} {kind}"
            case.mkdir()
            jobs.append({
                "inputs": str(inputs), "folder": str(case / "t"), "checkpoint": str(case / "checkpoint"),
                "model": MODEL, "settings": SETTINGS | settings, "lives": lives,
            })  # fmt: skip
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = run_script(Path(__file__).with_name("killed_training.py"), folder / "jobs.json", folder=folder)
    assert done.returncode == 0, done.stderr
    endings = [[3 if place[0] == "SIGTERM" else -9 for place in job["lives"][:-1]] + [0] for job in jobs]
    assert json.loads(done.stdout) == endings, done.stderr
    return folder


@pytest.mark.parametrize("name", CASES)
def test_a_training_that_is_killed_within_an_epoch_ends_with_the_same_bits(lived, name):
    for which in ("best", "last"):
        killed, whole = ((lived / f"{name} {kind}/t/{which}.safetensors").read_bytes() for kind in ("killed", "whole"))
        assert killed == whole

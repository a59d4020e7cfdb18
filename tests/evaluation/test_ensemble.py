"""An ensemble has mean and spread of every event's scores, in files that everything else reads."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot

from honeyguide.errors import DataError
from honeyguide.evaluation.ensemble import average_trainings, evaluate_ensemble
from honeyguide.evaluation.events import read_events
from honeyguide.evaluation.settings import RocSettings
from honeyguide.io.scores import ScoresWriter, read_scores
from tests.planted import make_spec

NUM = 300


def training(folder: Path, seed: int, *, first_id: int = 0, name: str = "total") -> dict[str, Path]:
    """Scores of a training: the truth about an event, which all trainings share, and noise of their own."""
    files, rng = {}, np.random.default_rng(seed)
    for sample, signal in (("qcd", 0), ("svj", 1)):
        truth = np.random.default_rng(99 + signal).normal(signal, 1, NUM)
        known = {
            "event_id": np.arange(NUM) + 1000 * signal + first_id,
            "weight": np.ones(NUM),
            "label": np.full(NUM, signal),
            "process": np.full(NUM, signal),
            "generator": np.zeros(NUM),
            "signal_point": np.full(NUM, 0 if signal else -1),
        }
        scores = {name: truth + rng.normal(0, 2, NUM), "kl": rng.normal(0, 1, NUM)}
        (folder / f"{seed}" / sample).mkdir(parents=True)
        with ScoresWriter(
            folder / f"{seed}" / sample, num_events=NUM, score_names=list(scores), latent_dim=2, spec=make_spec()
        ) as writer:
            writer.append(known, scores, rng.normal(size=(NUM, 2)))
        files[sample] = folder / f"{seed}" / sample / "scores.h5"
    return files


def test_mean_spread_and_error_of_every_event(tmp_path, monkeypatch):
    monkeypatch.setattr("honeyguide.evaluation.ensemble._BLOCK", 128)
    members = {seed: training(tmp_path, seed) for seed in (1, 2, 3, 4)}
    (tmp_path / "mean").mkdir()
    found = average_trainings(members, tmp_path / "mean", spec=make_spec())
    assert list(found) == ["qcd", "svj"]
    single = [read_scores(files["svj"]) for files in members.values()]
    values = np.stack([part.scores["total"] for part in single])
    mean = read_scores(found["svj"])
    np.testing.assert_array_equal(mean.event_id, single[0].event_id)
    np.testing.assert_allclose(mean.scores["total"], values.mean(0), atol=1e-5)
    np.testing.assert_allclose(mean.scores["spread_total"], values.std(0, ddof=1), atol=1e-5)
    np.testing.assert_allclose(mean.scores["error_total"], values.std(0, ddof=1) / 2, atol=1e-5)
    np.testing.assert_array_equal(mean.latent[:, 2:4], single[1].latent)
    with uproot.open(found["svj"].with_suffix(".root")) as file:
        np.testing.assert_array_equal(
            file["events"]["score_spread_total"].array(library="np"), mean.scores["spread_total"]
        )
    assert len(read_events(found, RocSettings(scores=("total",))).label) == 2 * NUM


def test_the_mean_is_better_than_one_training_whose_noise_is_its_own(tmp_path):
    members = {seed: training(tmp_path, seed) for seed in (1, 2, 3, 4)}
    (tmp_path / "out").mkdir()
    settings = RocSettings(scores=("total",), background_efficiencies=(0.1,))
    text = evaluate_ensemble(members, tmp_path / "out", spec=make_spec(), settings=settings, root=False)
    assert text.count("one training") == 4
    with h5py.File(tmp_path / "out" / "roc.h5") as file:
        assert {(c.attrs["training"], int(c.attrs["seed"])) for c in file["curves"].values()} == {
            ("mean of 4", 0), *(("one training", seed) for seed in members),
        }  # fmt: skip
    areas = [float(line.split(" ± ")[0].split()[-1]) for line in text.splitlines()[1:]]
    # noise of 2 and of 2 / sqrt(4) beside a width of 1: Phi(1 / sqrt(10)) = 0.624, Phi(1 / sqrt(4)) = 0.691
    assert areas[0] == pytest.approx(0.691, abs=0.05)
    assert np.mean(areas[1:]) == pytest.approx(0.624, abs=0.03)
    assert areas[0] > max(areas[1:])
    assert (tmp_path / "out" / "overlay_roc_total_mass=3500.png").is_file()


def test_trainings_of_other_events_or_scores_are_no_ensemble(tmp_path):
    first = training(tmp_path, 1)
    for folder, changes, message in (
        ("a", {"first_id": 7}, "different events"),
        ("b", {"name": "emd"}, "different scores"),
    ):
        (tmp_path / folder).mkdir()
        with pytest.raises(DataError, match=message):
            average_trainings(
                {1: first, 2: training(tmp_path / folder, 2, **changes)}, tmp_path / folder, spec=make_spec()
            )
    with pytest.raises(DataError, match="two trainings or more"):
        average_trainings({1: first}, tmp_path, spec=make_spec())

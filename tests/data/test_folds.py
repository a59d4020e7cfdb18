"""Folds: every event validates once, and is trained on in all the others."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest

import models
from honeyguide.data.folds import Fold, fold_of, split_fold
from honeyguide.data.model_inputs import ModelInputs, list_inputs
from honeyguide.data.streams import BatchStream
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
from tests.planted import write_inputs, write_row_inputs


@pytest.fixture
def sources(tmp_path) -> list[ModelInputs]:
    folder = write_inputs(tmp_path / "inputs")
    return [ModelInputs.open(p) for s in ("train", "validation") for p in list_inputs(folder, s).values()]


@pytest.mark.parametrize("count", [2, 5])
def test_no_event_is_counted_twice_and_none_is_lost(tmp_path, sources, count):
    everything = sorted(i for source in sources for i in source.event_id.tolist())
    validated = []
    for number in range(count):
        parts = split_fold(sources, Fold(tmp_path, number, count))
        training, validating = (
            [i for batch in BatchStream(part, batch_size=64, shuffle_seed=1).batches() for i in batch.event_id.tolist()]
            for part in parts
        )
        assert sorted(training + validating) == everything
        assert len(validating) == pytest.approx(len(everything) / count, abs=5 * np.sqrt(len(everything) / count))
        validated += validating
    assert sorted(validated) == everything


@pytest.mark.parametrize("resident", [0, 10**9])
def test_rows_stay_together(tmp_path, sources, resident):
    whole = {}
    for source in sources:
        whole |= {int(i): (source.objects[n], source.mask[n]) for n, i in enumerate(source.event_id)}
    training, _ = split_fold(sources, Fold(tmp_path, 1, 3))
    for batch in BatchStream(training, batch_size=50, shuffle_seed=2, resident_bytes=resident).batches():
        for event, objects, mask in zip(batch.event_id.tolist(), batch.objects, batch.mask, strict=True):
            assert np.array_equal(objects, whole[event][0])
            assert np.array_equal(mask, whole[event][1])


def test_a_fold_depends_on_the_id_alone():
    ids = np.arange(10_000)
    order = np.random.default_rng(1).permutation(ids)
    assert np.array_equal(fold_of(ids, count=4)[order], fold_of(order, count=4))


def test_a_training_takes_its_fold(tmp_path):
    inputs = write_inputs(tmp_path / "inputs")
    build = functools.partial(models.build, models.parse({"family": "vae", "hidden": [8], "latent_dim": 2}))
    settings = TrainingSettings(epochs=1, tensorboard=False, folds=3, event_weights="balance_generators", device="cpu")
    validated = 0
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        train(Fold(inputs, number, 3), folder, build_model=build, settings=settings, seed=1, provenance={})
        about = json.loads((folder / "provenance.json").read_text())["training"]
        assert sum(about["num_events"].values()) == 801
        assert about["fold"] == [number, 3]
        validated += about["num_events"]["validation"]
    assert validated == 801


def test_folds_of_rows_keep_sets_and_truth(tmp_path):
    folder = write_row_inputs(tmp_path / "rows")
    sources = [ModelInputs.open(path) for path in list_inputs(folder, "train").values()]
    truths = {int(i): int(t) for s in sources for i, t in zip(s.event_id, s.truth, strict=True)}
    masks = {int(i): m for s in sources for i, m in zip(s.event_id, s.sets["sv"].mask, strict=True)}
    for part in split_fold(sources, Fold(folder, 0, 3)):
        for batch in BatchStream(part, batch_size=50, shuffle_seed=2).batches():
            assert batch.truth.tolist() == [truths[i] for i in batch.event_id.tolist()]
            for event, mask in zip(batch.event_id.tolist(), batch.sets["sv"].mask, strict=True):
                assert np.array_equal(mask, masks[event])


def test_rows_of_a_group_are_on_one_side_of_every_fold(tmp_path):
    folder = write_row_inputs(tmp_path / "rows")
    sources = [ModelInputs.open(path) for path in list_inputs(folder, "train").values()]
    assert len(np.unique(np.concatenate([s.group for s in sources]))) < 310  # of 600 rows
    for number in range(3):
        sides = [{int(i) for s in part for i in s.group} for part in split_fold(sources, Fold(folder, number, 3))]
        assert all(len(side) > 50 for side in sides)
        assert not sides[0] & sides[1]

"""Whoever watches a training may end it after any epoch but the last."""

from __future__ import annotations

import functools

import pytest

import models
from honeyguide.training.run import Session, train
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.stopping import AbandonedError
from tests.planted import write_inputs


def test_a_training_is_given_up_after_the_epoch_that_was_one_too_many(tmp_path):
    inputs = write_inputs(tmp_path / "inputs")
    (tmp_path / "training").mkdir()
    seen = []

    def gives_up_after(last: int):
        def gives_up(record) -> bool:
            seen.append(record["epoch"])
            assert record["validation"]["total"] > 0
            return record["epoch"] >= last

        return train(
            inputs,
            tmp_path / "training",
            build_model=functools.partial(models.build, models.parse({"family": "vae", "hidden": [8]})),
            settings=TrainingSettings(epochs=4, tensorboard=False, num_threads=1),
            seed=1,
            provenance={},
            session=Session(gives_up=gives_up),
        )

    with pytest.raises(AbandonedError, match="after epoch 2"):
        gives_up_after(1)
    assert seen == [0, 1]
    assert not (tmp_path / "training" / "best.safetensors").exists()
    assert gives_up_after(3).num_epochs == 4  # there was nothing left to be given up

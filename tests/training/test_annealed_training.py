"""Annealing reaches the loss: the weight of each epoch is the one that was multiplied in, and moves the network."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import models
from honeyguide.errors import ConfigError
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
from tests.planted import write_inputs

CONFIG = {"family": "vae", "hidden": (12,), "latent_dim": 3, "terms": {"reconstruction": 1.0, "kl": 0.5}}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("annealed") / "inputs")


def trained(inputs: Path, folder: Path, **settings: object) -> list[dict]:
    folder.mkdir()
    build = functools.partial(models.build, models.parse(CONFIG))
    fixed = {"epochs": 4, "batch_size": 64, "tensorboard": False, "device": "cpu", "weight_decay": 0.0}
    train(inputs, folder, build_model=build, settings=TrainingSettings(**fixed | settings), seed=1, provenance={})
    return json.loads((folder / "metrics.json").read_text())["epochs"]


def test_the_weight_of_the_schedule_is_the_one_in_the_loss(inputs: Path, tmp_path: Path) -> None:
    annealing = {"kl": {"shape": "linear", "start": 0.0, "end": 3.0}}
    epochs = trained(inputs, tmp_path / "a", annealing=annealing)
    for epoch, record in enumerate(epochs):
        assert record["weights"] == {"reconstruction": 1.0, "kl": pytest.approx(epoch)}
        terms = record["train"]
        assert terms["total"] == pytest.approx(terms["reconstruction"] + epoch * terms["kl"], rel=1e-5)
        # validation, and so early stopping, compares epochs by one and the same loss
        terms = record["validation"]
        assert terms["total"] == pytest.approx(terms["reconstruction"] + 0.5 * terms["kl"], rel=1e-5)


def test_weights_of_zero_move_nothing(inputs: Path, tmp_path: Path) -> None:
    off = {"shape": "steps", "values": (0.0, 1.0), "at": (0, 1)}
    annealing = {"kl": off, "reconstruction": off}
    (first,) = trained(inputs, tmp_path / "slow", annealing=annealing, epochs=1)
    trained(inputs, tmp_path / "fast", annealing=annealing, epochs=1, learning_rate=0.5)
    trained(inputs, tmp_path / "on", annealing=annealing, epochs=2)
    slow, fast, on = (load_file(tmp_path / name / "last.safetensors") for name in ("slow", "fast", "on"))
    assert first["gradient_norm"] == 0.0
    assert all(torch.equal(slow[name], fast[name]) for name in slow)
    assert all(not torch.equal(slow[name], on[name]) for name in slow)


def test_a_term_that_the_model_does_not_have_is_an_error(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        trained(inputs, tmp_path / "a", annealing={"k": {"shape": "linear", "end": 1.0}})
    assert caught.value.details["nearest"] == "kl"

"""Annealing reaches the loss: the weight of each epoch is the one that was multiplied in, and moves the network."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import models
from honeyguide.data.model_inputs import ModelInputs, list_inputs
from honeyguide.data.streams import BatchStream
from honeyguide.errors import ConfigError
from honeyguide.losses.contrastive import supervised_contrastive
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.weights import load_model
from tests.planted import make_spec, write_inputs

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"family": "vae", "hidden": (12,), "latent_dim": 3, "terms": {"reconstruction": 1.0, "kl": 0.5}}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("annealed") / "inputs")


def trained(inputs: Path, folder: Path, model: dict = CONFIG, **settings: object) -> list[dict]:
    folder.mkdir()
    build = functools.partial(models.build, models.parse(model))
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


CONTRASTIVE = {
    "family": "vae",
    "hidden": (12,),
    "latent_dim": 3,
    "posterior": "none",
    "terms": {"supervised_contrastive": 0.1},
    "contrastive_temperature": 0.2,
}


def test_the_temperature_of_the_schedule_is_the_one_in_the_loss(inputs: Path, tmp_path: Path) -> None:
    """One batch and next to no learning rate: what the term must be is known from the latents of the first weights."""
    annealing = {"contrastive_temperature": {"shape": "steps", "values": (0.5, 0.1), "at": (1, 2)}}
    epochs = trained(inputs, tmp_path / "a", CONTRASTIVE, annealing=annealing, batch_size=10**4, learning_rate=1e-12)
    model = load_model(tmp_path / "a", functools.partial(models.build, models.parse(CONTRASTIVE)))
    for split in ("train", "validation"):
        sources = [ModelInputs.open(path) for path in list_inputs(inputs, split).values()]
        (batch,) = BatchStream(sources, batch_size=10**4).batches()
        latent = model.latent(batch).detach()
        for epoch, temperature in enumerate((0.2, 0.5, 0.1, 0.1)):
            used = temperature if split == "train" else 0.2
            expected = supervised_contrastive(latent, batch.generator, temperature=used).mean().item()
            assert epochs[epoch][split]["supervised_contrastive"] == pytest.approx(expected, rel=1e-4)
            assert epochs[epoch]["weights"]["contrastive_temperature"] == temperature
    summary = json.loads((tmp_path / "a" / "metrics.json").read_text())["weights"]
    assert summary == {"reconstruction": 1.0, "supervised_contrastive": 0.1, "contrastive_temperature": 0.2}


def test_the_strength_of_the_schedule_is_the_one_in_the_gradient(inputs: Path, tmp_path: Path) -> None:
    config = {**CONTRASTIVE, "terms": {"reconstruction": 0.0, "adversary": 1.0}}
    annealing = {"adversary_strength": {"shape": "steps", "values": (0.0, 2.0), "at": (0, 1)}}
    for epochs, moved in ((1, False), (2, True)):
        folder = tmp_path / str(epochs)
        trained(inputs, folder, config, annealing=annealing, epochs=epochs)
        before, after = (load_file(folder / f"{name}.safetensors") for name in ("initial", "last"))
        assert torch.equal(before["mean.weight"], after["mean.weight"]) is not moved
        assert not torch.equal(before["adversary.classifier.1.weight"], after["adversary.classifier.1.weight"])


def test_what_the_adversary_loses_is_no_gain_of_the_validated_loss(inputs: Path, tmp_path: Path) -> None:
    config = {**CONTRASTIVE, "terms": {"adversary": 2.0}}
    for record in trained(inputs, tmp_path / "a", config, epochs=2):
        terms = record["train"]
        assert terms["total"] == pytest.approx(terms["reconstruction"] + 2 * terms["adversary"], rel=1e-5)
        terms = record["validation"]
        assert terms["total"] == pytest.approx(terms["reconstruction"], rel=1e-5)
        assert terms["adversary"] > 0.1


# a process of its own, without the tests' checks of shapes, which can't be compiled
COMPILED = """
import json, sys, torch, torch._dynamo.testing
import models
from honeyguide.data.batch import Batch
from tests.planted import make_spec

model = models.build(models.parse(json.loads(sys.argv[1])), make_spec())
numbers = torch.arange(8)
parts = torch.randn(8, 4, 3), torch.ones(8, 4, dtype=torch.bool), torch.randn(8, 1), torch.ones(8)
batch = Batch(*parts, label=0 * numbers, generator=numbers % 2, event_id=numbers)
counter = torch._dynamo.testing.CompileCounter()
loss = torch.compile(model.loss, backend=counter)
for temperature in (0.1, 0.2, 0.4):
    model.anneal({"contrastive_temperature": temperature, "adversary_strength": temperature})
    terms = loss(batch)
    sum(terms.values()).backward()
    plain = model.loss(batch)
    print(json.dumps([counter.frame_count, *(t["supervised_contrastive"].item() for t in (terms, plain))]))
"""


def test_another_value_is_not_compiled_again() -> None:
    config = {**CONTRASTIVE, "terms": {"supervised_contrastive": 0.1, "adversary": 0.1}}
    command = [sys.executable, "-c", COMPILED, json.dumps(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=300)
    counts, compiled, plain = zip(*map(json.loads, done.stdout.splitlines()), strict=True)
    assert counts[0] == counts[1] == counts[2] > 0
    assert len(set(plain)) == 3
    assert compiled == pytest.approx(plain, rel=1e-5)


def test_annealed_values_are_no_weights() -> None:
    model = models.build(models.parse(CONTRASTIVE), make_spec())
    assert set(model.annealable) == {"contrastive_temperature"}
    assert not set(model.annealable) & set(model.state_dict())


def test_a_term_that_the_model_does_not_have_is_an_error(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        trained(inputs, tmp_path / "a", annealing={"k": {"shape": "linear", "end": 1.0}})
    assert caught.value.details["nearest"] == "kl"

"""Trainings that begin with given weights: what is taken over, what is new, what stays to the last bit."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import models
from honeyguide.errors import ConfigError, ModelError, StoreError
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.start_settings import StartSettings
from tests.planted import write_row_inputs

DEEPJET = {"family": "DeepJet", "hidden": [16, 8]}
TWO = {**DEEPJET, "classes": {"heavy": ["b", "c"], "light": ["light"]}}
SETTINGS = {"epochs": 2, "batch_size": 100, "tensorboard": False, "num_threads": 1, "device": "cpu"}
HEAD = "to_logits"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    return write_row_inputs(tmp_path_factory.mktemp("start") / "inputs", num_train=300, num_validation=90, num_test=0)


def run(inputs: Path, folder: Path, model: dict[str, Any] = DEEPJET, **settings: Any) -> dict[str, dict[str, Tensor]]:
    """Returns the weights before the training and after it."""
    folder.mkdir()
    build = functools.partial(models.build, models.parse(model))
    train(
        inputs, folder, build_model=build, settings=TrainingSettings(**SETTINGS | settings), seed=2, provenance={}
    )  # fmt: skip
    return {which: load_file(folder / f"{which}.safetensors") for which in ("initial", "best", "last")}


@pytest.fixture(scope="module")
def base(inputs, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "t"
    run(inputs, folder)
    return folder


def split(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns the weights of the network and of the head."""
    head = {name: value for name, value in weights.items() if name.startswith(HEAD)}
    return {name: value for name, value in weights.items() if name not in head}, head


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_it_begins_where_the_other_was_best(inputs, base, tmp_path):
    found = run(inputs, tmp_path / "t", start=StartSettings(weights=str(base)))
    assert same(found["initial"], load_file(base / "best.safetensors"))
    assert not same(found["last"], found["initial"])


def test_a_new_head_on_a_frozen_network(inputs, base, tmp_path):
    """With everything that could move a weight: decay, slow weights, an average."""
    options = {"optimizer": "ranger", "weight_decay": 0.1, "ema_decay": 0.9}
    start = StartSettings(weights=str(base), exclude=(HEAD,), freeze=("network",))
    found = run(inputs, tmp_path / "t", TWO, start=start, **options)
    before, new = split(load_file(base / "best.safetensors"))
    for which in ("initial", "best", "last"):
        network, head = split(found[which])
        assert same(before, network)  # the running means of its normalisations, too
        assert head["to_logits.weight"].shape[0] == 2 != new["to_logits.weight"].shape[0]
    assert not same(split(found["initial"])[1], split(found["last"])[1])
    about = json.loads((tmp_path / "t/provenance.json").read_text())["training"]["start"]
    assert about["new"] == ["to_logits.bias", "to_logits.weight"]
    assert set(about["frozen"]) == set(before)


def test_a_normalisation_that_is_frozen_in_part_goes_on(inputs, base, tmp_path):
    start = StartSettings(weights=str(base), freeze=(r".*\.weight$",))
    found = run(inputs, tmp_path / "t", start=start)
    first, last = found["initial"], found["last"]
    moved = {name.split(".")[-1] for name in first if not torch.equal(first[name], last[name])}
    assert {"bias", "running_mean", "running_var"} <= moved
    assert "weight" not in moved


def test_torch_files_are_read_without_running_code(inputs, base, tmp_path):
    state = load_file(base / "best.safetensors")
    torch.save(state, tmp_path / "plain.pt")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "checkpoint.pt")
    for file in ("plain.pt", "checkpoint.pt"):
        found = run(inputs, tmp_path / file[:-3], start=StartSettings(weights=str(tmp_path / file)))
        assert same(found["initial"], state)
    torch.save({"weights": Path("x"), "call": print}, tmp_path / "code.pt")
    with pytest.raises(StoreError, match="can't be read"):
        run(inputs, tmp_path / "c", start=StartSettings(weights=str(tmp_path / "code.pt")))


def test_weights_that_do_not_fit_are_named(inputs, base, tmp_path):
    with pytest.raises(ModelError, match=r"(?s)another shape: to_logits.weight \(3, 8\).*\(2, 8\).*exclude"):
        run(inputs, tmp_path / "head", TWO, start=StartSettings(weights=str(base)))
    state = load_file(base / "best.safetensors")
    state["extra"] = state.pop("to_logits.bias")
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"missing in the file: to_logits.bias; unknown to the model: extra"):
        run(inputs, tmp_path / "names", start=StartSettings(weights=str(tmp_path / "other.pt")))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude": ("to_logit$",)}, "no weight"),
        ({"freeze": ("netwrk",)}, "no weight"),
        ({"freeze": (".",)}, "nothing to train"),
    ],
)
def test_expressions_that_can_not_be_meant_are_errors(inputs, base, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        run(inputs, tmp_path / "t", start=StartSettings(weights=str(base), **options))


def test_the_same_network_with_a_faster_head(inputs, base, tmp_path):
    """Of gradient descent, one step with a rate twice as large goes twice as far."""
    options = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "epochs": 1, "batch_size": 300}
    start = StartSettings(weights=str(base))
    plain = run(inputs, tmp_path / "plain", start=start, **options)
    fast = run(inputs, tmp_path / "fast", start=start, learning_rates={HEAD: 2.0}, **options)
    (network, head), (same_network, fast_head) = split(plain["last"]), split(fast["last"])
    assert same(network, same_network)
    before = split(plain["initial"])[1]
    for name, value in head.items():
        assert torch.allclose(fast_head[name] - before[name], 2 * (value - before[name]), rtol=1e-3, atol=1e-7)
    logs = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("plain", "fast")]
    assert logs[0]["epochs"][0]["learning_rate"] == logs[1]["epochs"][0]["learning_rate"] == 1e-3

"""Attacks do what their equations say and no more, and training against them makes a tagger hold."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional

import models
from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.model_inputs import ModelInputs, ModelInputsWriter, list_inputs, read_spec, write_spec
from honeyguide.data.streams import BatchStream
from honeyguide.errors import ConfigError
from honeyguide.inference.run import infer
from honeyguide.inference.settings import InferenceSettings
from honeyguide.io.scores import Scores, read_scores
from honeyguide.nn.model import Model
from honeyguide.training.adversarial import Attack
from honeyguide.training.adversarial_settings import AdversarialSettings, AttackSettings
from honeyguide.training.loss import WeightedLoss
from honeyguide.training.run import train
from honeyguide.training.settings import TrainingSettings
from tests.planted import make_row_spec, make_rows, write_row_inputs

MLP = {"family": "MLP", "hidden": [32], "dropout": 0.0}
DEEPJET = {"family": "DeepJet", "hidden": [16, 8]}
WIDTHS = np.array([1.0, *[0.15] * 10])
SHIFTS = np.array([1.0, *[0.12] * 10])
EPSILON = 0.2


def build(config: dict[str, Any]) -> Any:
    return functools.partial(models.build, models.parse(config))


def column_inputs(folder: Path, sizes: Mapping[str, int]) -> Path:
    """One feature that an attack of 0.2 hardly moves, and ten which it turns into those of the other truth."""
    names = tuple(f"x{i}" for i in range(len(WIDTHS)))
    spec = InputSpec(
        level="row", shape=(0,), columns=(), processes=("p",), generators=("g",), truths=("b", "c"),
        event_columns=tuple(Column(name=name, feature=name, kind="continuous") for name in names),
    )  # fmt: skip
    folder.mkdir()
    write_spec(folder, spec)
    for number, (split, size) in enumerate(sizes.items()):
        rng = np.random.default_rng(number)
        truth = rng.integers(0, 2, size)
        zeros = np.zeros(size)
        rows = dict.fromkeys(("label", "process", "generator", "signal_point", "eta", "group"), zeros) | {
            "objects": np.zeros((size, 0, 0)),
            "mask": np.zeros((size, 0), bool),
            "event": (1 - 2 * truth[:, None]) * SHIFTS + WIDTHS * rng.normal(size=(size, len(WIDTHS))),
            "event_id": np.arange(size) + 1_000_000 * number,
            "weight": np.ones(size),
            "truth": truth,
            "pt": zeros + 50,
        }
        with ModelInputsWriter(folder / "s" / f"{split}.h5", num_events=size, spec=spec) as writer:
            writer.append(rows)
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    return column_inputs(
        tmp_path_factory.mktemp("attacked") / "inputs", {"train": 2000, "validation": 400, "test": 1500}
    )


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Path:
    return write_row_inputs(tmp_path_factory.mktemp("rows") / "inputs", num_train=200, num_validation=0, num_test=0)


def batch_of(folder: Path, split: str = "train") -> Batch:
    (batch,) = BatchStream([ModelInputs.open(list_inputs(folder, split)["s"])], batch_size=10**6).batches()
    return batch


class Line(Model):
    """A logistic regression: every gradient is known."""

    classes = ("b", "c")

    def __init__(self, config: Any, spec: InputSpec, weight: torch.Tensor) -> None:
        super().__init__(config, spec)
        self.weight = nn.Parameter(weight)

    def logit(self, batch: Batch) -> torch.Tensor:
        """Returns w x."""
        return batch.event @ self.weight

    def loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Returns the cross-entropy."""
        sign = 1.0 - 2.0 * batch.truth
        return {"cross_entropy": (batch.weight * functional.softplus(-sign * self.logit(batch))).mean()}

    def score(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Returns both probabilities."""
        probability = self.logit(batch).sigmoid()
        return {"prob_b": probability, "prob_c": 1 - probability}

    def latent(self, batch: Batch) -> torch.Tensor:
        """Returns the inputs."""
        return batch.event


def line(folder: Path) -> Line:
    weight = torch.tensor([1.5, *[-0.3, 0.4] * 5])
    return Line(models.parse({**MLP, "terms": {"cross_entropy": 1.0}}), read_spec(folder), weight)


def attacked(model: Model, batch: Batch, **settings: Any) -> Batch:
    attack = Attack(model, AttackSettings(**settings), where="here")
    return attack(batch, lambda b: model.loss(b)["cross_entropy"])


@pytest.mark.parametrize("kind", [{"attack": "fgsm"}, {"attack": "pgd", "steps": 8}])
def test_a_line_moves_by_epsilon_times_the_sum_of_its_weights(inputs, kind):
    """The worst change is known: every feature goes by epsilon against the truth, however steep or weighted."""
    model, batch = line(inputs), batch_of(inputs)
    batch = replace(batch, weight=torch.linspace(-1, 2, len(batch)))
    moved = attacked(model, batch, epsilon=0.3, **kind)
    expected = -(1.0 - 2.0 * batch.truth) * 0.3 * model.weight.detach().abs().sum()
    torch.testing.assert_close((model.logit(moved) - model.logit(batch)).detach(), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(moved.weight, batch.weight)


def test_factors_and_relative_limits(inputs):
    model, batch = line(inputs), batch_of(inputs)
    for attack in ("fgsm", "pgd"):
        moved = attacked(model, batch, attack=attack, epsilon=0.3, factors={"x0": 0.0, "x1": 2.0}, relative_limit=0.5)
        change = (moved.event - batch.event).abs()
        assert (change[:, 0] == 0).all()
        limits = torch.minimum(torch.tensor([0.6] + [0.3] * 9), 0.5 * batch.event[:, 1:].abs())
        torch.testing.assert_close(change[:, 1:], limits, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("config", [MLP, DEEPJET], ids=["MLP", "DeepJet"])
def test_stronger_attacks_raise_the_loss_more_and_stay_in_the_box(rows, config):
    torch.manual_seed(3)
    model = build(config)(read_spec(rows)).train()
    source = [ModelInputs.open(path) for path in list_inputs(rows, "train").values()]
    (batch,) = BatchStream(source, batch_size=10**6).batches()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = {"clean": batch}
    for name, settings in {
        "fgsm": {"attack": "fgsm"},
        "pgd": {"attack": "pgd", "steps": 20},
    }.items():
        torch.manual_seed(1)
        found[name] = attacked(model, batch, epsilon=0.3, **settings)
        for part, value in found[name].tensors().items():
            if not value.numel():
                continue
            change = (value.float() - batch.tensors()[part].float()).abs()
            is_input = part.endswith("features") or part == "event"
            assert change.max() <= 0.3 + 1e-6 if is_input else change.max() == 0, part
            if part.endswith("features"):
                mask = batch.tensors()[part.replace("features", "mask")]
                assert (change[~mask] == 0).all()
                assert (change[mask] > 0).any()
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    with torch.no_grad():
        loss = {name: model.loss(batch)["cross_entropy"].item() for name, batch in found.items()}
    assert loss["clean"] < loss["fgsm"] <= loss["pgd"]


def test_what_is_no_continuous_feature_stays():
    spec = make_row_spec()
    first = spec.sets[0]
    columns = tuple(
        c.model_copy(update={"kind": k})
        for c, k in zip(first.columns, ("binary", "continuous", "category"), strict=True)
    )
    spec = spec.model_copy(update={"sets": (first.model_copy(update={"columns": columns}), *spec.sets[1:])})
    torch.manual_seed(2)
    model = build(MLP)(spec)
    arrays = {name: torch.from_numpy(np.asarray(value)) for name, value in make_rows(30, first_id=5).items()}
    tensors = {name: arrays[name] for name in ("event_id", "label", "generator", "objects", "mask", "event")}
    tensors |= {
        name: value.float() if name.endswith("features") else value for name, value in arrays.items() if "/" in name
    }
    batch = Batch.from_tensors(tensors | {"weight": torch.ones(30), "truth": arrays["truth"].long()})
    moved = attacked(model, batch, attack="pgd", epsilon=0.3, factors={"cpf/cpf1": 0.5})
    change = (moved.sets["cpf"].features - batch.sets["cpf"].features).abs()
    assert change[..., [0, 2]].max() == 0
    assert 0 < change[..., 1].max() <= 0.15 + 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factors": {"x00": 1.0}}, "(?s)'x00' is no continuous column.*nearest: x0"),
        ({"factors": dict.fromkeys((f"x{i}" for i in range(11)), 0.0)}, "no column"),
    ],
)
def test_impossible_attacks_are_errors(inputs, settings, message):
    with pytest.raises(ConfigError, match=message):
        Attack(line(inputs), AttackSettings(epsilon=0.1, **settings), where="here")


def test_fgsm_has_no_step_size():
    with pytest.raises(ValidationError, match="step_size"):
        AttackSettings(epsilon=0.1, step_size=0.1)


def run(inputs: Path, folder: Path, **settings: Any) -> None:
    folder.mkdir()
    chosen = {"epochs": 6, "batch_size": 200, "learning_rate": 0.01, "tensorboard": False, "num_threads": 1, **settings}
    train(inputs, folder, build_model=build(MLP), settings=TrainingSettings(**chosen), seed=1, provenance={})


def test_a_step_is_that_of_clean_and_attacked_rows_in_their_proportion(inputs, tmp_path):
    settings = AdversarialSettings(epsilon=0.1, share=0.3)
    options = {"epochs": 1, "batch_size": 10**6, "optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0}
    run(inputs, tmp_path / "t", adversarial=settings, **options)
    model = build(MLP)(read_spec(inputs))
    model.load_state_dict(load_file(tmp_path / "t/initial.safetensors"))
    batch, loss = batch_of(inputs), WeightedLoss(model, weights=model.config.terms)
    moved = Attack(model.train(), settings, where="here")(batch, loss.plain)
    (0.7 * loss(batch)["total"] + 0.3 * loss(moved)["total"]).backward()
    found = load_file(tmp_path / "t/last.safetensors")
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], (parameter - 0.01 * parameter.grad).detach(), rtol=1e-4, atol=1e-6)
    for name, buffer in model.named_buffers():
        if name in found:  # running means have seen both
            torch.testing.assert_close(found[name], buffer, rtol=1e-4, atol=1e-6)


def scored(inputs: Path, training: Path, folder: Path, **settings: Any) -> Scores:
    folder.mkdir()
    chosen = InferenceSettings(num_threads=1, root=False, **settings)
    infer(training, list_inputs(inputs, "test")["s"], folder, build_model=build(MLP), settings=chosen)
    return read_scores(folder / "scores.h5")


def test_training_against_attacks_holds_against_them(inputs, tmp_path):
    found = {}
    attack = AttackSettings(attack="pgd", epsilon=EPSILON, steps=5)
    for name, settings in {
        "plain": {},
        "hardened": {"adversarial": AdversarialSettings(attack="pgd", epsilon=EPSILON, steps=3, share=1.0)},
    }.items():
        run(inputs, tmp_path / name, **settings)
        for kind, given in (("clean", None), ("attacked", attack)):
            scores = scored(inputs, tmp_path / name, tmp_path / f"{name}-{kind}", attack=given)
            found[name, kind] = roc_auc_score(scores.truth == 0, scores.scores["prob_b"])
    assert found["plain", "clean"] > 0.97
    assert found["plain", "attacked"] < 0.6
    assert found["hardened", "attacked"] > 0.72
    assert found["hardened", "clean"] > 0.8


def test_attacked_scores_are_those_of_the_event_in_any_batch(inputs, tmp_path):
    run(inputs, tmp_path / "t", epochs=1)
    attack = AttackSettings(attack="pgd", epsilon=EPSILON, steps=1, step_size=0.01)  # which depends on its start
    found = []
    for size in (77, 1000):
        torch.manual_seed(size)
        found.append(scored(inputs, tmp_path / "t", tmp_path / f"{size}", attack=attack, batch_size=size))
    np.testing.assert_allclose(found[0].scores["prob_b"], found[1].scores["prob_b"], rtol=1e-4, atol=1e-6)


def test_it_goes_with_low_precision_and_parts_of_batches(inputs, tmp_path):
    settings = AdversarialSettings(attack="pgd", epsilon=EPSILON, steps=2)
    run(inputs, tmp_path / "t", epochs=3, precision="bf16", accumulate=3, adversarial=settings)
    scores = scored(inputs, tmp_path / "t", tmp_path / "s")
    assert roc_auc_score(scores.truth == 0, scores.scores["prob_b"]) > 0.75

"""The training loop: what it writes is what happened, and the same seed gives the same weights."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import models
from honeyguide.data.batch import Batch
from honeyguide.data.model_inputs import ModelInputs, list_inputs, read_spec
from honeyguide.data.streams import BatchStream
from honeyguide.errors import ConfigError, DataError, ModelError, StoreError
from honeyguide.nn.model import weighted_sum
from honeyguide.training.run import Session, train
from honeyguide.training.settings import TrainingSettings
from honeyguide.training.weights import load_model
from tests.planted import make_spec, write_inputs, write_sample

CONFIG = {"family": "vae", "hidden": [16], "latent_dim": 3}


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("training") / "inputs")


def build(**changes):
    return functools.partial(models.build, models.parse(CONFIG | changes))


def run(inputs: Path, folder: Path, *, model=None, seed: int = 1, progress=None, **settings):
    folder.mkdir()
    chosen = TrainingSettings(**{"epochs": 2, "batch_size": 64, "tensorboard": False, "num_threads": 1, **settings})
    return train(
        inputs,
        folder,
        build_model=model or build(),
        settings=chosen,
        seed=seed,
        provenance={"git": "abc"},
        session=Session(progress=progress),
    )


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def whole_split(inputs: Path, split: str) -> Batch:
    sources = [ModelInputs.open(path) for path in list_inputs(inputs, split).values()]
    return next(BatchStream(sources, batch_size=10**6).batches())


def means(model, batch: Batch) -> dict[str, float]:
    terms = model.eval().loss(batch)
    return {name: value.item() for name, value in {**terms, "total": weighted_sum(terms, model.config.terms)}.items()}


def test_the_same_seed_gives_the_same_bytes_whatever_happened_before(inputs, tmp_path):
    weights = []
    for number, (seed, noise) in enumerate([(1, 0), (1, 99), (2, 0)]):
        torch.manual_seed(noise)
        run(inputs, tmp_path / str(number), seed=seed, model=build(dropout=0.1))
        weights.append((tmp_path / str(number) / "last.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_memory_budget_does_not_change_the_weights(inputs, tmp_path):
    run(inputs, tmp_path / "resident")
    run(inputs, tmp_path / "streamed", resident_mb=0)
    resident, streamed = (load_file(tmp_path / name / "last.safetensors") for name in ("resident", "streamed"))
    assert all(torch.equal(resident[name], streamed[name]) for name in resident)
    assert json.loads((tmp_path / "resident/provenance.json").read_text())["training"]["resident"]
    assert not json.loads((tmp_path / "streamed/provenance.json").read_text())["training"]["resident"]


def test_random_state_and_threads_of_the_caller_are_left_alone(inputs, tmp_path):
    torch.manual_seed(5)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    run(inputs, tmp_path / "t", num_threads=2, epochs=1)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("weights", [{"reconstruction": 1.0, "kl": 0.001}, {"reconstruction": 0.3, "kl": 2.0}])
def test_a_step_goes_along_the_gradient_of_the_weighted_terms(inputs, tmp_path, weights):
    """One batch, plain gradient descent: the difference of the weights is the gradient, term weights included."""
    model = build(terms=weights)
    run(inputs, tmp_path / "t", model=model, epochs=1, batch_size=10**4, optimizer="sgd", momentum=0.0,
        weight_decay=0.0, learning_rate=0.1)  # fmt: skip
    torch.manual_seed(1)
    reference = model(read_spec(inputs))
    before = {name: value.clone() for name, value in reference.state_dict().items()}
    sources = [ModelInputs.open(path) for path in list_inputs(inputs, "train").values()]
    terms = reference.train().loss(next(BatchStream(sources, batch_size=10**4, shuffle_seed=1).batches()))
    (weights["reconstruction"] * terms["reconstruction"] + weights["kl"] * terms["kl"]).backward()
    trained = load_file(tmp_path / "t" / "last.safetensors")
    for name, parameter in reference.named_parameters():
        torch.testing.assert_close(trained[name], before[name] - 0.1 * parameter.grad)
    recorded = metrics(tmp_path / "t")["epochs"][0]
    norm = torch.cat([parameter.grad.flatten() for parameter in reference.parameters()]).norm().item()
    assert recorded["gradient_norm"] == pytest.approx(norm, rel=1e-5)


def test_the_gradient_is_clipped(inputs, tmp_path):
    run(inputs, tmp_path / "t", epochs=1, batch_size=10**4, optimizer="sgd", momentum=0.0, weight_decay=0.0,
        learning_rate=1.0, gradient_clip=1e-3)  # fmt: skip
    torch.manual_seed(1)
    before = build()(read_spec(inputs)).state_dict()
    after = load_file(tmp_path / "t" / "last.safetensors")
    step = torch.cat([(after[name] - before[name]).flatten() for name in after]).norm().item()
    assert step == pytest.approx(1e-3, rel=1e-3)


def test_logged_means_are_those_of_the_whole_epoch(inputs, tmp_path):
    """A learning rate of next to nothing: every batch sees the same weights, so the epoch's mean is known."""
    run(inputs, tmp_path / "t", model=build(posterior="none"), epochs=1, learning_rate=1e-12, batch_size=90)
    model = load_model(tmp_path / "t", build(posterior="none"), which="last")
    recorded = metrics(tmp_path / "t")["epochs"][0]
    assert recorded["train"] == pytest.approx(means(model, whole_split(inputs, "train")), rel=1e-5)
    assert recorded["validation"] == pytest.approx(means(model, whole_split(inputs, "validation")), rel=1e-5)


def test_total_is_the_weighted_sum_of_the_logged_terms(inputs, tmp_path):
    run(inputs, tmp_path / "t", model=build(terms={"kl": 0.7}))
    log = metrics(tmp_path / "t")
    assert log["weights"] == {"reconstruction": 1.0, "kl": 0.7}
    for record in log["epochs"]:
        for split in (record["train"], record["validation"]):
            assert split["total"] == pytest.approx(split["reconstruction"] + 0.7 * split["kl"], rel=1e-6)


def test_early_stopping_keeps_the_best_weights(tmp_path):
    inputs = write_inputs(tmp_path / "inputs", num_train=40, num_validation=40)  # so few that it overfits
    result = run(inputs, tmp_path / "t", model=build(posterior="none", hidden=[64, 64], latent_dim=8), epochs=200,
                 batch_size=20, learning_rate=5e-3, early_stopping_patience=3)  # fmt: skip
    log = metrics(tmp_path / "t")
    totals = [record["validation"]["total"] for record in log["epochs"]]
    assert result.stopped_early
    assert log["best_epoch"] == result.best_epoch == int(np.argmin(totals))
    assert len(totals) == result.num_epochs == result.best_epoch + 1 + 3
    validation = whole_split(inputs, "validation")
    for which, epoch in (("best", result.best_epoch), ("last", -1)):
        model = load_model(tmp_path / "t", build(posterior="none", hidden=[64, 64], latent_dim=8), which=which)
        assert means(model, validation)["total"] == pytest.approx(totals[epoch], rel=1e-5)
    assert totals[-1] > totals[result.best_epoch]


def test_event_weights_reach_the_loss(tmp_path):
    """Of two generators with unlike events, the loss follows the one that has the weight."""
    inputs = write_inputs(tmp_path / "inputs", num_train=300)
    write_sample(inputs, "other", "train", num_events=300, first_id=5000, generator=1, signal=True, weight=1e6)
    losses = {}
    for kind in ("none", "physics"):
        run(inputs, tmp_path / kind, model=build(posterior="none"), epochs=1, learning_rate=1e-12, event_weights=kind)
        losses[kind] = metrics(tmp_path / kind)["epochs"][0]["train"]["reconstruction"]
    model = load_model(tmp_path / "none", build(posterior="none"))
    source = ModelInputs.open(list_inputs(inputs, "train")["other"])
    other = next(BatchStream([source], batch_size=10**6).batches())
    assert losses["physics"] == pytest.approx(means(model, other)["reconstruction"], rel=1e-4)
    assert losses["none"] == pytest.approx(means(model, whole_split(inputs, "train"))["reconstruction"], rel=1e-4)
    assert abs(losses["none"] - losses["physics"]) > 1e-3


@pytest.mark.parametrize(
    ("scheduler", "expected"), [("none", [0.01] * 4), ("cosine", [0.01, 0.0085355, 0.005, 0.0014645])]
)
def test_learning_rate_follows_its_schedule(inputs, tmp_path, scheduler, expected):
    run(inputs, tmp_path / "t", epochs=4, learning_rate=0.01, scheduler=scheduler)
    assert [r["learning_rate"] for r in metrics(tmp_path / "t")["epochs"]] == pytest.approx(expected, rel=1e-4)


def test_plateau_lowers_the_learning_rate_when_nothing_improves(inputs, tmp_path):
    settings = {"learning_rate": 1e-6, "scheduler_patience": 0, "scheduler_factor": 0.2}
    run(inputs, tmp_path / "t", model=build(posterior="none"), epochs=4, **settings)
    rates = [record["learning_rate"] for record in metrics(tmp_path / "t")["epochs"]]
    assert rates == pytest.approx([1e-6, 1e-6, 2e-7, 4e-8])


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "radam", "sgd", "rmsprop", "adagrad"])
def test_every_optimizer_lowers_the_loss(inputs, tmp_path, optimizer):
    run(inputs, tmp_path / "t", optimizer=optimizer, epochs=4, learning_rate=0.003)
    epochs = metrics(tmp_path / "t")["epochs"]
    assert epochs[-1]["validation"]["total"] < epochs[0]["validation"]["total"]


def test_a_nan_names_epoch_term_and_event(tmp_path):
    inputs = write_inputs(tmp_path / "inputs", num_train=60)
    spec = make_spec()
    write_sample(inputs, "bad", "train", num_events=1, first_id=4242)
    source = ModelInputs.open(list_inputs(inputs, "train")["bad"])
    path = list_inputs(inputs, "train")["bad"]
    values = np.fromfile(path, dtype=np.uint8).tobytes().replace(source.event.tobytes(), np.float32([np.inf]).tobytes())
    path.write_bytes(values)
    assert spec.num_event_features == 1
    with pytest.raises(ModelError) as caught:
        run(inputs, tmp_path / "t", batch_size=1)
    assert "reconstruction is NaN" in str(caught.value)
    assert "epoch 1, training batch" in str(caught.value)
    assert "4242" in str(caught.value)


def test_terms_must_be_those_of_the_config(inputs, tmp_path):
    def mismatched(spec):
        model = build()(spec)
        terms = model.loss
        model.loss = lambda batch: {**terms(batch), "extra": torch.zeros(())}
        return model

    with pytest.raises(ModelError, match="extra"):
        run(inputs, tmp_path / "t", model=mismatched)


def test_without_training_events_it_is_an_error(tmp_path):
    inputs = write_inputs(tmp_path / "inputs", num_train=0)
    with pytest.raises(DataError, match="no training events"):
        run(inputs, tmp_path / "t")


def test_without_validation_events_the_training_loss_is_monitored(tmp_path):
    inputs = write_inputs(tmp_path / "inputs", num_train=2, num_validation=0)
    run(inputs, tmp_path / "t", epochs=1)
    log = metrics(tmp_path / "t")
    assert log["monitored"] == "train"
    assert log["epochs"][0]["validation"] is None


def test_an_unknown_device_is_an_error(inputs, tmp_path):
    with pytest.raises(ConfigError, match="device"):
        run(inputs, tmp_path / "t", device="cudda")


def test_files_tell_what_was_done(inputs, tmp_path):
    run(inputs, tmp_path / "t", epochs=1, tensorboard=True)
    assert {path.name for path in (tmp_path / "t").iterdir()} == {
        "initial.safetensors", "best.safetensors", "last.safetensors",
        "latent_gaussian.json", "model.json", "metrics.json", "provenance.json", "tensorboard",
    }  # fmt: skip
    provenance = json.loads((tmp_path / "t/provenance.json").read_text())
    assert provenance["git"] == "abc"
    assert provenance["training"]["seed"] == 1
    assert provenance["training"]["num_events"] == {"train": 600, "validation": 201}
    assert provenance["training"]["model"]["config"]["latent_dim"] == 3


def test_tensorboard_files_hold_every_term(inputs, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(inputs, tmp_path / "t", tensorboard=True)
    events = EventAccumulator(str(tmp_path / "t/tensorboard")).Reload()
    expected = {f"{term}/{split}" for term in ("reconstruction", "kl", "total") for split in ("train", "validation")}
    assert expected | {"training/learning_rate", "training/gradient_norm"} <= set(events.Tags()["scalars"])
    logged = [scalar.value for scalar in events.Scalars("kl/validation")]
    assert logged == pytest.approx([r["validation"]["kl"] for r in metrics(tmp_path / "t")["epochs"]])


def test_loading_executes_no_code_and_names_what_is_wrong(inputs, tmp_path):
    run(inputs, tmp_path / "t", epochs=1)
    with pytest.raises(ModelError, match="latent_dim = 4, trained was 3"):
        load_model(tmp_path / "t", build(latent_dim=4))
    description = json.loads((tmp_path / "t/model.json").read_text())
    del description["config"]["dropout"]  # as if the field had been added since
    (tmp_path / "t/model.json").write_text(json.dumps(description))
    load_model(tmp_path / "t", build())
    marker = tmp_path / "executed"
    torch.save(_Executes(marker), tmp_path / "t/best.safetensors")
    with pytest.raises(StoreError, match="weights"):
        load_model(tmp_path / "t", build())
    assert not marker.exists()
    (tmp_path / "t/model.json").write_text("{")
    with pytest.raises(StoreError, match="description"):
        load_model(tmp_path / "t", build())


class _Executes:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_validation_batches_are_mixed_and_always_the_same(tmp_path):
    """The events of a sample lie together in their files; in batches like that no generator would meet another."""
    inputs = write_inputs(tmp_path / "inputs", num_validation=1000)
    seen = []

    def noting(spec):
        model = build()(spec)
        plain = model.loss

        def noted(batch):
            if not model.training:
                seen.append(batch)
            return plain(batch)

        model.loss = noted
        return model

    run(inputs, tmp_path / "t", model=noting, epochs=2, batch_size=200)
    assert [batch.event_id.tolist() for batch in seen[:5]] == [batch.event_id.tolist() for batch in seen[5:]]
    assert sorted(torch.cat([batch.event_id for batch in seen[:5]])) == sorted(
        whole_split(inputs, "validation").event_id
    )
    for batch in seen:
        assert batch.generator.double().mean().item() == pytest.approx(1 / 3, abs=0.17)

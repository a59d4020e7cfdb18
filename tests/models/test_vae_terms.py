"""Each term of the autoencoder does what it is for, whatever the other terms are, and on any number of ranks."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

import models
from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.errors import ConfigError
from honeyguide.losses.regularisation import earth_movers_distance
from honeyguide.nn.model import Model, weighted_sum
from tests.planted import make_spec
from tests.unchecked import unchecked_shapes

ROOT = Path(__file__).resolve().parents[2]
SPEC = make_spec("jet", shape=(4,), num_features=3, num_event_features=1)
VIEWS = {"emd_feature": "f1", "augmentation": {"smear": {"f0": 0.5, "f1": 0.5, "f2": 0.5}, "drop": 0.2}}
COMPARING = ("supervised_contrastive", "ntxent", "mmd", "adversary")
OTHERS = ("emd", "l1", "l2")


def make_batch(num_events: int, seed: int = 0, shift: float = 3.0) -> Batch:
    """Events of two generators, of which the second has larger values of one feature."""
    torch.manual_seed(seed)
    mask = torch.rand(num_events, 4) < 0.8
    generator = torch.arange(num_events) % 2
    objects = torch.randn(num_events, 4, 3) + torch.randn(num_events, 1, 3)
    objects[..., 0] += shift * generator[:, None]
    return Batch(
        objects=objects.masked_fill(~mask[..., None], 0),
        mask=mask,
        event=torch.randn(num_events, 1),
        weight=torch.ones(num_events),
        label=torch.zeros(num_events, dtype=torch.int64),
        generator=generator,
        event_id=torch.arange(num_events) + 1000 * seed,
    )


def make_model(*names: str, weight: float = 1.0, **values: object) -> Model:
    torch.manual_seed(1)
    config = {
        "family": "vae",
        "hidden": [16],
        "latent_dim": 4,
        **VIEWS,
        "terms": dict.fromkeys(names, weight),
        **values,
    }
    return models.build(models.parse(config), SPEC)


def trained(*names: str, weight: float, steps: int = 160, **values: object) -> Model:
    model, batch = make_model(*names, weight=weight, **values), make_batch(256)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.loss(batch)
    with unchecked_shapes():
        for step in range(steps):
            part = batch.rows((step % 4) * 64, (step % 4) * 64 + 64)
            optimizer.zero_grad()
            weighted_sum(model.loss(part), model.config.terms).backward()
            optimizer.step()
    return model.eval()


# gradients


@pytest.mark.parametrize("style", [{"posterior": "none"}, {}, {"flow": "planar"}, {"prior": "dirichlet"}])
@pytest.mark.parametrize("name", [*COMPARING, *OTHERS])
def test_the_gradient_of_every_term_reaches_the_encoder(name, style):
    model = make_model(name, **style)
    model.loss(make_batch(32))[name].backward()
    for parameter in [*model.encoder.parameters(), *model.mean.parameters()]:
        if parameter.ndim > 1 or name not in ("l1", "l2"):  # biases are left free
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 0


def test_the_adversary_goes_down_its_loss_and_the_encoder_up_by_the_strength():
    batch = make_batch(64)
    gradients = {}
    for strength in (1.0, 3.0):
        model = make_model("adversary", posterior="none", adversary_strength=strength)
        own, encoders = model.adversary.classifier[-1].weight, model.mean.weight
        gradients[strength] = torch.autograd.grad(model.loss(batch)["adversary"], [own, encoders])
    plain = functional.cross_entropy(model.adversary.classifier(model(batch).latent), batch.generator)
    direct = torch.autograd.grad(plain, [own, encoders])
    for strength, (of_adversary, of_encoder) in gradients.items():
        torch.testing.assert_close(of_adversary, direct[0])
        torch.testing.assert_close(of_encoder, -strength * direct[1])


# values


def test_weights_of_events_weight_the_terms_that_compare_them():
    model, batch = make_model(*COMPARING, posterior="none").eval(), make_batch(40)
    halves = replace(batch, weight=(torch.arange(40) < 20).float())
    whole, first = model.loss(halves), batch.rows(0, 20)
    torch.testing.assert_close(whole["adversary"], 0.5 * model.loss(first)["adversary"])
    # of the events without weight nothing is left but their distances, which set the kernel's width
    doubled = replace(batch, weight=2 * halves.weight)
    torch.testing.assert_close(model.loss(doubled)["mmd"], whole["mmd"])
    for name in ("supervised_contrastive", "ntxent"):
        torch.testing.assert_close(model.loss(doubled)[name], 2 * whole[name])
    nothing = model.loss(replace(batch, weight=torch.zeros(40)))
    assert [nothing[name].item() for name in COMPARING] == [0, 0, 0, 0]
    assert math.isfinite(model.loss(replace(batch, weight=batch.weight - 2 * halves.weight))["mmd"].item())


def test_sizes_are_those_of_all_weights_but_the_adversarys():
    model = make_model("l1", "l2", "adversary")
    terms = model.loss(make_batch(8))
    weights = [w for part in (model.encoder, model.mean, model.log_variance, model.decoder) for w in part.parameters()]
    flat = torch.cat([weight.flatten() for weight in weights if weight.ndim > 1])
    torch.testing.assert_close(terms["l1"], flat.abs().sum())
    torch.testing.assert_close(terms["l2"], flat.square().sum())


def test_the_earth_movers_distance_is_that_of_the_named_feature():
    model, batch = make_model("emd", emd_feature="f2").eval(), make_batch(30)
    decoded = model(batch).objects[..., 2]
    expected = earth_movers_distance(decoded, batch.objects[..., 2], batch.mask, batch.mask)
    torch.testing.assert_close(model.score(batch)["emd"], expected)
    assert expected.min() > 0


def test_scores_are_the_terms_that_an_event_has_by_itself():
    model = make_model(*COMPARING, *OTHERS, flow="planar", weight=0.3)
    assert model.score_terms == ("reconstruction", "kl", "flow", "emd")
    assert set(model.eval().score(make_batch(5))) == {"total", *model.score_terms}


def test_views_differ_in_training_and_stay_the_same_in_evaluation():
    model, batch = make_model("ntxent", posterior="none"), make_batch(30)
    assert model.loss(batch)["ntxent"] != model.loss(batch)["ntxent"]
    model.eval()
    assert model.loss(batch)["ntxent"] == model.loss(batch)["ntxent"]
    one, other = model._views(batch)
    assert not torch.isclose(one, other).all(1).any()
    some = batch.map(lambda tensor: tensor[[7, 3]])
    torch.testing.assert_close(model._views(some)[0], one[[7, 3]])


def test_a_term_of_weight_zero_is_computed_and_moves_nothing():
    batch, results = make_batch(32), {}
    for names in ((), ("supervised_contrastive", "mmd")):
        model = make_model(*names, weight=0.0, posterior="none")
        terms = model.loss(batch)
        weighted_sum(terms, model.config.terms).backward()
        results[names] = [parameter.grad for parameter in model.parameters()]
    assert terms["supervised_contrastive"] > 0
    for one, other in zip(*results.values(), strict=True):
        torch.testing.assert_close(one, other)


# what they are for: each, alone, against the same training without it


def told_apart(model: Model) -> float:
    """Accuracy of a classifier of generators on latents that it has not seen."""
    batch = make_batch(2000, seed=5)
    latent = model.latent(batch).detach().numpy()
    latent = (latent - latent.mean(0)) / latent.std(0)
    features = np.concatenate([latent, latent**2], 1)
    classifier = LogisticRegression(max_iter=1000).fit(features[:1000], batch.generator[:1000])
    return classifier.score(features[1000:], batch.generator[1000:])


def cosines(model: Model) -> float:
    """How much more latents of one generator look into one direction than those of two."""
    batch = make_batch(400, seed=5)
    directions = functional.normalize(model.latent(batch).detach(), dim=1)
    same = batch.generator[:, None] == batch.generator
    products = directions @ directions.T
    return (products[same].mean() - products[~same].mean()).item()


def views_found(model: Model) -> float:
    """Share of events whose other view is the nearest of 200."""
    first, second = (functional.normalize(view.detach(), dim=1) for view in model._views(make_batch(200, seed=5)))
    return ((first @ second.T).argmax(1) == torch.arange(200)).float().mean().item()


def mean_of(name: str) -> Callable[[Model], float]:
    return lambda model: model.loss(make_batch(500, seed=5))[name].item()


@pytest.mark.parametrize(
    ("name", "weight", "measure", "gain"),
    [
        ("mmd", 100.0, told_apart, -0.2),
        ("adversary", 3.0, told_apart, -0.2),
        ("supervised_contrastive", 3.0, cosines, 0.5),
        ("ntxent", 3.0, views_found, 0.07),
        ("emd", 1.0, mean_of("emd"), -0.02),
        ("l1", 1e-3, mean_of("l1"), -20),
        ("l2", 1e-2, mean_of("l2"), -10),
    ],
)
def test_each_term_does_what_it_is_for(name, weight, measure: Callable[[Model], float], gain):
    temperature = 1.0 if name == "supervised_contrastive" else 0.3
    values = {"contrastive_temperature": temperature, "adversary_strength": 3.0, "flow": "planar"}
    without, with_it = (measure(trained(name, weight=chosen, **values)) for chosen in (0.0, weight))
    assert (with_it - without) * math.copysign(1, gain) > abs(gain), f"{without} without, {with_it} with it"


# what can't be


@pytest.mark.parametrize(
    ("values", "spec", "message"),
    [
        ({"terms": {"mmd": 1.0}}, "one generator", "compares generators"),
        ({"terms": {"adversary": 1.0}}, "one generator", "compares generators"),
        ({"terms": {"supervised_contrastive": 1.0}}, "one generator", "compares generators"),
        ({"terms": {"emd": 1.0}}, "jets", "'eta' is no continuous column"),
        ({"terms": {"emd": 1.0}, "emd_feature": "btag"}, "btag", "'btag' is no continuous column"),
        ({"terms": {"ntxent": 1.0}}, "jets", "'pt' is no continuous column"),
        ({"terms": {"ntxent": 1.0}, "augmentation": {"smear": {}}}, "phi", "not given as sine and cosine"),
        ({"terms": {"ntxent": 1.0}, "augmentation": {"smear": {}}}, "event", "none to lose"),
        ({"terms": {"ntxent": 1.0}, "augmentation": {"smear": {}, "drop": 0.0}}, "jets", "would be the same"),
        ({"terms": {"ntxent": 1.0}, "augmentation": {"smear": {}, "drop": 0.0, "rotate": False}}, "phi", "the same"),
    ],
)
def test_terms_that_the_inputs_do_not_allow_are_readable_errors(values, spec, message):
    phi, btag = Column(name="phi", feature="phi", kind="continuous"), Column(name="btag", feature="btag", kind="binary")
    specs = {
        "jets": SPEC,
        "one generator": SPEC.model_copy(update={"generators": ("pythia",)}),
        "phi": SPEC.model_copy(update={"event_columns": (phi,)}),
        "btag": SPEC.model_copy(update={"columns": (btag, *SPEC.columns)}),
        "event": InputSpec(**{**SPEC.model_dump(), "level": "event", "shape": (1,)}),
    }
    config = models.parse({"family": "vae", **values})
    with pytest.raises(ConfigError, match=message):
        models.build(config, specs[spec])


def test_without_the_term_what_it_needs_is_not_asked_for():
    models.build(models.parse({"family": "vae"}), SPEC.model_copy(update={"generators": ("pythia",)}))


# two processes

SIZES = (13, 9)
PROGRAM = """
import json, sys
import torch
from torch import distributed
import models
from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import InputSpec
from honeyguide.nn.model import weighted_sum

rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
case = torch.load(f"{folder}/case.pt")
model = models.build(models.parse(json.loads(case["config"])), InputSpec.model_validate_json(case["spec"])).double()
model.load_state_dict(case["state"])
start = sum(case["sizes"][:rank])
part = slice(start, start + case["sizes"][rank])
batch = Batch(**{name: tensor[part] for name, tensor in case["batch"].items()})
terms = model.loss(batch)
# the share of this rank in the joined batch; DDP averages the gradients over ranks
scale = 2 * case["sizes"][rank] / sum(case["sizes"])
(scale * weighted_sum(terms, model.config.terms)).backward()
for parameter in model.parameters():
    distributed.all_reduce(parameter.grad)
    parameter.grad /= 2
total = torch.stack(list(terms.values())).detach() * scale / 2
distributed.all_reduce(total)
torch.save(([parameter.grad for parameter in model.parameters()], total), f"{folder}/{rank}.pt")
distributed.destroy_process_group()
"""


def double(value: Tensor) -> Tensor:
    return value.double() if value.is_floating_point() else value


def test_two_processes_have_the_terms_and_gradient_of_the_joined_batch(tmp_path):
    # views of training are drawn on each rank; so small a difference between them is none
    values = {"posterior": "none", "augmentation": {"smear": {"f0": 1e-12}, "drop": 0.0}, "adversary_strength": 2.0}
    model = make_model(*COMPARING, *OTHERS, weight=0.4, **values).double()
    batch = make_batch(sum(SIZES))
    tensors = batch.map(double).tensors()
    tensors["weight"] = torch.rand(sum(SIZES), dtype=torch.float64) + 0.5
    case = {"batch": tensors, "sizes": SIZES, "state": model.state_dict(), "spec": SPEC.model_dump_json()}
    torch.save({**case, "config": model.config.model_dump_json()}, tmp_path / "case.pt")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(rank), str(tmp_path)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    terms = model.loss(Batch(**tensors))
    weighted_sum(terms, model.config.terms).backward()
    for rank in range(2):
        gradients, means = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(means, torch.stack(list(terms.values())).detach(), rtol=1e-8, atol=1e-10)
        for found, parameter in zip(gradients, model.parameters(), strict=True):
            torch.testing.assert_close(found, parameter.grad, rtol=1e-7, atol=1e-9)

"""Parameters and operations are those that one counts by hand."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import torch

import models
from honeyguide.data.input_spec import Column, InputSpec, ObjectSet
from honeyguide.nn.cost import cost, flops, full_batch, parameters
from honeyguide.nn.model import Model
from tests.planted import make_row_spec, make_spec

# of planted rows: 2 features of the row, and 6 x 3, 4 x 2, 2 x 2 of the sets, each slot with its mask
NUM_INPUTS = 2 + 6 * (3 + 1) + 4 * (2 + 1) + 2 * (2 + 1)


def tagger(spec: InputSpec, **settings: object) -> Model:
    return models.build(models.parse({"family": "tagger", **settings}), spec)


def test_a_dense_network_has_the_operations_of_its_matrices() -> None:
    model = tagger(make_row_spec(), network="mlp", hidden=[20, 10])
    products = NUM_INPUTS * 20 + 20 * 10 + 10 * 3
    found = cost(model)
    assert found.flops == products
    # each hidden layer has a bias, and two parameters of its normalisation
    assert found.parameters == parameters(model) == products + 3 * 20 + 3 * 10 + 3
    assert flops(model, full_batch(model.spec, num_rows=7)) == 7 * products
    assert {part.name: part.flops for part in found.parts} == {
        "network": NUM_INPUTS * 20 + 20 * 10,
        "network.dense": NUM_INPUTS * 20 + 20 * 10,
        "to_logits": 30,
    }
    assert found.inputs == {"row": (2,), "cpf": (6, 3), "npf": (4, 2), "sv": (2, 2)}


def test_a_recurrent_layer_is_counted_at_every_step() -> None:
    spec = make_row_spec().model_copy(update={"sets": make_row_spec().sets[:1]})
    model = tagger(spec, network="deepjet", hidden=[5], sets={"cpf": {"layers": [4], "recurrent": 7}})
    found = cost(model)
    recurrent = 6 * 4 * 7 * (4 + 7)
    assert {part.name: part.flops for part in found.parts}["network.readers"] == 6 * 3 * 4 + recurrent
    assert found.flops == 6 * 3 * 4 + 6 * 4 * 7 * (4 + 7) + (7 + 2) * 5 + 5 * 3


def test_an_anomaly_detector_is_counted_too() -> None:
    model = models.build(models.parse({"family": "vae", "hidden": [6], "latent_dim": 2, "flow": "planar"}), make_spec())
    found = cost(model)
    assert found.flops > 0
    assert found.inputs == {"objects": (4, 3), "event": (1,)}


def test_counting_leaves_the_model_and_the_random_numbers_alone() -> None:
    model = tagger(make_row_spec(), network="deepjet", hidden=[5]).train()
    state, weights = torch.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}
    cost(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_particlenet_is_no_dearer_than_published() -> None:
    """Published are 540 million operations for 128 particles (arXiv:2202.03772), all maps being those of edges."""
    names = ("deta", "dphi", "pt", "e", "a", "b", "c")
    columns = tuple(Column(name=name, feature=name, kind="continuous") for name in names)
    spec = make_row_spec().model_copy(
        update={"sets": (ObjectSet(name="particles", size=128, columns=columns),), "event_columns": ()}
    )
    found = cost(tagger(spec, preset="ParticleNet"))
    edges, points = 128 * 16, 128
    widths = (32, 64, 128, 256)
    first = [points * 2 * before * after for before, after in pairwise(widths)]
    other = [edges * 2 * after * after for after in widths[1:]]
    shortcut = [points * before * after for before, after in pairwise(widths)]
    distances = points**2 * (2 + 64 + 128)  # in eta and phi, then in what the blocks have made
    by_hand = sum(first) + sum(other) + sum(shortcut) + distances + points * 7 * 32 + 256 * 256 + 256 * 3
    assert found.flops == pytest.approx(by_hand, rel=1e-3)
    assert found.flops < 540e6


def test_what_is_said_of_it() -> None:
    found = cost(tagger(make_row_spec(), network="mlp", hidden=[20, 10]))
    numbers = f"{found.parameters:,} parameters, 1.1e3 FLOPs per row"
    assert found.line() == f"{numbers} (row 2, cpf 6 x 3, npf 4 x 2, sv 2 x 2)"
    assert "network.dense" in found.table()
    assert found.table().startswith(found.line())
    assert json.loads(found.to_json())["flops"] == found.flops

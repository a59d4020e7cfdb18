"""Steps are profiled as they are, and leave the model alone."""

from __future__ import annotations

import gzip
import json

import pytest
import torch

import models
from honeyguide.diagnostics.profile import STEPS, inference_step, profile_steps, training_step
from tests.models.test_contract import SPECS, make_batch

CPU = torch.device("cpu")


@pytest.fixture
def model():
    config = models.parse({"family": "vae", "encoder": "dense", "hidden": (8,), "latent_dim": 2, "posterior": "none"})
    torch.manual_seed(1)
    return models.build(config, SPECS["jet"]).eval()


def test_training_step_leaves_the_model_as_it_is(model):
    batch = make_batch("jet")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step = training_step(model)
    step(batch)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_operators_are_counted(model):
    linear = sum(isinstance(module, torch.nn.Linear) for module in model.modules())
    found = profile_steps(inference_step(model), make_batch("jet"), device=CPU)
    calls = {item.name: item.calls for item in found.operators}
    assert calls["aten::linear"] == linear * STEPS
    assert calls["inference"] == STEPS
    times = [item.cpu_ms for item in found.operators]
    assert times == sorted(times, reverse=True)
    assert found.step_ms > 0


def test_trace_is_chromes(model):
    found = profile_steps(training_step(model), make_batch("jet"), device=CPU)
    events = json.loads(gzip.decompress(found.trace))["traceEvents"]
    names = [event.get("name") for event in events if event.get("ph") == "X"]
    for part in ("forward", "backward", "optimizer"):
        assert names.count(part) == STEPS
    assert any("AddmmBackward" in str(name) for name in names)


def test_traces_lie_beside_the_page(looked, page):
    for name in ("trace_training.json.gz", "trace_inference.json.gz"):
        assert (page / name).read_bytes() == looked.sections["profile"].files[name]
        assert name in (page / "index.html").read_text()

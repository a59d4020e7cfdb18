"""Activation maps of a model whose activations are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from honeyguide.data.model_inputs import ModelInputs
from honeyguide.diagnostics.activations import map_activations, section, warnings
from honeyguide.diagnostics.inspected import Events
from honeyguide.plotting.activations import Panel, activation_figure
from tests.planted import make_spec

NUM = 50
CPU = torch.device("cpu")


class Known(nn.Module):
    """Gives the first object, without its second feature; an image; and what a norm of a flat set gives."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3, bias=False)
        self.inside = nn.ModuleDict({"relu": nn.ReLU()})
        self.image = nn.Conv2d(1, 2, 1)
        self.each = nn.Linear(3, 1)
        with torch.no_grad():
            self.first.weight.copy_(torch.diag(torch.tensor([1.0, 0.0, -1.0])))
            self.image.weight.copy_(torch.tensor([1.0, 2.0]).reshape(2, 1, 1, 1))
            self.image.bias.copy_(torch.tensor([0.0, 5.0]))

    def outputs(self, batch):
        """Runs the layers."""
        self.inside["relu"](self.first(batch.objects[:, 0]))
        self.image(batch.objects[:, None])
        self.each(batch.objects.flatten(0, 1))  # events and objects in one axis
        return {}, batch.event


@pytest.fixture
def events() -> Events:
    rng = np.random.default_rng(1)
    inputs = ModelInputs(
        objects=(1 + rng.random((NUM, 4, 3))).astype(np.float32),
        mask=np.ones((NUM, 4), bool),
        event=np.zeros((NUM, 1), np.float32),
        event_id=np.arange(NUM),
        weight=np.ones(NUM),
        label=np.zeros(NUM, np.int8),
        process=np.zeros(NUM, np.int16),
        generator=(np.arange(NUM) % 2).astype(np.int16),
        signal_point=np.full(NUM, -1, np.int16),
    )
    return Events(make_spec(), inputs, ("s",), np.zeros(NUM, np.int64), np.full(NUM, 2))


@pytest.fixture
def layers(events):
    model = Known()
    found = map_activations(model, events, events.generators(), batch_size=7, device=CPU)
    assert not any(module._forward_hooks for module in model.modules()), "hooks are removed"
    return {layer.name: layer for layer in found}


def test_means_are_those_of_each_group(events, layers):
    assert list(layers) == ["first", "inside.relu", "image", "each"]
    first = events.inputs.objects[:, 0].astype(float)
    for row, chosen in enumerate(events.generators().values()):
        expected = first[chosen].mean(0) * [1, 0, -1]
        np.testing.assert_allclose(layers["first"].mean[row], expected, rtol=1e-5)
        np.testing.assert_allclose(layers["inside.relu"].mean[row], np.maximum(expected, 0), rtol=1e-5)
    np.testing.assert_allclose(layers["first"].deviation, first.std(0) * [1, 0, 1], rtol=1e-5)


def test_events_with_nan_change_no_map(looked):
    inspected = looked.context.inspected
    bad = np.zeros(len(inspected.events), bool)
    for split in ("train", "test"):  # one that is in no map, and one that would be in one
        bad[np.flatnonzero(inspected.events.in_split(split))[0]] = True
    inputs = inspected.events.inputs
    objects, latent = inputs.objects.copy(), inspected.trained["latent"].copy()
    objects[bad], latent[bad] = np.nan, np.nan
    events = dataclasses.replace(inspected.events, inputs=dataclasses.replace(inputs, objects=objects))
    seen = dataclasses.replace(inspected, events=events, trained={**inspected.trained, "latent": latent})
    for layer in section(dataclasses.replace(looked.context, inspected=seen)).data.values():
        assert np.isfinite(layer["deviation"]).all()
        assert np.isfinite(list(layer["mean"].values())).all()


def test_units_of_an_image_are_its_channels(events, layers):
    values = events.inputs.objects.astype(float)
    for row, chosen in enumerate(events.generators().values()):
        np.testing.assert_allclose(
            layers["image"].mean[row], [values[chosen].mean(), 5 + 2 * values[chosen].mean()], rtol=1e-5
        )


def test_objects_in_the_batch_axis_are_averaged_per_event(layers):
    assert layers["each"].mean.shape == (2, 1)


def test_dead_units_are_those_that_never_change(layers):
    np.testing.assert_array_equal(layers["first"].dead, [False, True, False])
    np.testing.assert_array_equal(layers["inside.relu"].dead, [False, True, True])
    np.testing.assert_array_equal(layers["image"].dead, [False, False])
    (text,) = warnings(list(layers.values()))
    assert text.startswith("3 of 9 units")
    assert "2 in inside.relu" in text
    assert warnings([layers["image"]]) == ()


def test_shift_is_in_standard_deviations(events, layers):
    first = events.inputs.objects[:, 0, 0].astype(float)
    a, b = events.generators().values()
    expected = abs(first[a].mean() - first[b].mean()) / first.std()
    assert layers["first"].shift[0] == pytest.approx(expected, rel=1e-4)
    assert layers["first"].shift[1] == 0


def test_figure_names_groups_and_marks_dead_units():
    panels = [Panel("a", np.array([[0.0, 1.0], [0.5, 1.0]]), np.array([True, False]))]
    ax = activation_figure(panels, ["pythia", "mass=1000"]).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["pythia", "$m$ = 1000 GeV"]
    assert "1 dead" in ax.get_title(loc="left")
    assert list(ax.lines[0].get_xdata()) == [0]


def test_every_layer_of_a_trained_model_is_seen(looked):
    model, data = looked.context.model, looked.sections["activations"].data
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    assert set(linear) <= set(data)
    assert set(data[linear[0]]["mean"]) == {"pythia", "herwig", "mass=3500"}

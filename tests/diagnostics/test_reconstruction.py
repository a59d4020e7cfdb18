"""Reconstructions are compared in physical units, object by object."""

from __future__ import annotations

import numpy as np
import pytest

from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.model_inputs import ModelInputs
from honeyguide.diagnostics.inspected import Events
from honeyguide.diagnostics.reconstruction import Pairs, judge, make_pairs
from honeyguide.plotting.reconstruction import confusion_figure, pairs_figure, residual_figure
from honeyguide.preprocess.chain import Chain, Scalers, scale_columns

NUM, SLOTS = 400, 3


@pytest.fixture
def planted() -> tuple[Events, Scalers, dict[str, np.ndarray]]:
    """Constituents with known pt, phi and class in the filled slots, and met; scaled as PreprocessTask does."""
    rng = np.random.default_rng(3)
    mask = rng.random((NUM, SLOTS)) < 0.7
    size = int(mask.sum())
    values = {
        "pt": rng.lognormal(3, 1, size),
        "phi": rng.uniform(-np.pi, np.pi, size),
        "pdg_class": rng.integers(0, 6, size).astype(float),
        "met": rng.lognormal(5, 0.5, NUM),
    }
    objects = (
        Chain("pt", ("log", "standard")).fit(values["pt"]),
        Chain("phi", ("sincos",)).fit(values["phi"]),
        Chain("pdg_class", ("onehot",), num_categories=6).fit(values["pdg_class"]),
    )
    scalers = Scalers(objects, (Chain("met", ("log", "standard")).fit(values["met"]),))
    inputs = ModelInputs(
        objects=filled(mask, scale(scalers, values)),
        mask=mask,
        event=scale_columns(scalers.event, [values["met"]]),
        event_id=np.arange(NUM),
        weight=np.ones(NUM),
        label=np.zeros(NUM, np.int8),
        process=np.zeros(NUM, np.int16),
        generator=np.arange(NUM, dtype=np.int16) % 2,
        signal_point=np.full(NUM, -1, np.int16),
    )
    columns = tuple(Column(name=f"c{i}", feature="c", kind="continuous") for i in range(9))
    spec = InputSpec(level="constituent", shape=(SLOTS,), columns=columns, processes=("qcd",), generators=("a", "b"))
    events = Events(spec, inputs, ("s",), np.zeros(NUM, np.int64), np.full(NUM, 2))
    return events, scalers, values


def scale(scalers: Scalers, values: dict[str, np.ndarray]) -> np.ndarray:
    return scale_columns(scalers.objects, [values[name] for name in ("pt", "phi", "pdg_class")])


def filled(mask: np.ndarray, rows: np.ndarray, empty: float = 0.0) -> np.ndarray:
    full = np.full((*mask.shape, rows.shape[1]), empty, np.float32)
    full[mask] = rows
    return full


def compared(planted, empty: float = 0.0, **changed: np.ndarray) -> dict[str, Pairs]:
    """The pairs of a model that gives back the values, but for those that are changed."""
    events, scalers, values = planted
    after = values | changed
    objects = filled(events.inputs.mask, scale(scalers, after), empty)
    event = scale_columns(scalers.event, [after["met"]])
    return {pair.key: pair for pair in make_pairs(events, objects, event, scalers)}


def test_perfect_reconstruction_has_no_residual(planted):
    for key, pair in compared(planted, empty=1e6).items():  # what is decoded into empty slots does not count
        np.testing.assert_allclose(pair.original, planted[2][key.removeprefix("event.")], rtol=1e-4, atol=1e-5)
        found = judge(pair, np.ones(NUM, bool))
        assert found.num_objects == len(pair.original)
        if pair.discrete:
            assert found.accuracy == 1
        else:
            assert abs(found.bias) < 1e-3
            assert found.resolution < 1e-3 * found.spread


def test_bias_and_resolution_are_in_units_of_the_feature(planted):
    met = planted[2]["met"]
    noise = np.random.default_rng(5).normal(7, 20, NUM)
    pair = compared(planted, met=np.maximum(met + noise, 1))["event.met"]
    found = judge(pair, np.ones(NUM, bool))
    assert pair.feature.unit == "GeV"
    assert found.bias == pytest.approx(7, abs=4 * 20 * 1.25 / np.sqrt(NUM))
    assert found.resolution == pytest.approx(20, rel=0.2)
    assert found.spread > 50


def test_angles_are_compared_around_the_circle(planted):
    phi = planted[2]["phi"] + 0.3
    pair = compared(planted, phi=np.remainder(phi + np.pi, 2 * np.pi) - np.pi)["phi"]
    np.testing.assert_allclose(pair.residual, 0.3, atol=1e-3)


def test_classes_have_an_accuracy_and_groups_their_own(planted):
    events, _, values = planted
    row = np.nonzero(events.inputs.mask)[0]
    of_b = events.inputs.generator[row] == 1
    wrong = np.where(of_b, (values["pdg_class"] + 1) % 6, values["pdg_class"])
    pair = compared(planted, pdg_class=wrong)["pdg_class"]
    groups = events.generators()
    assert judge(pair, groups["a"]).accuracy == 1
    assert judge(pair, groups["b"]).accuracy == 0
    assert judge(pair, groups["a"]).num_objects == int(np.sum(~of_b))
    (axes,) = confusion_figure({"b": (pair.original[of_b], pair.reconstructed[of_b])}, pair.feature).axes
    np.testing.assert_allclose(axes.images[0].get_array(), np.roll(np.eye(6), 1, axis=1))


def test_overflow_is_counted_and_kept_out(planted):
    events, scalers, values = planted
    event = scale_columns(scalers.event, [values["met"]]).copy()
    event[0] = 1e6
    objects = filled(events.inputs.mask, scale(scalers, values))
    pair = make_pairs(events, objects, event, scalers)[-1]
    found = judge(pair, np.ones(NUM, bool))
    assert found.not_usable == 1
    assert found.num_objects == NUM - 1
    assert abs(found.bias) < 1e-3


def test_map_has_every_pair_and_plain_ticks(planted):
    pair = compared(planted)["pt"]
    figure = pairs_figure({"background": (pair.original, pair.reconstructed)}, pair.feature, log=True)
    mesh = figure.axes[0].collections[0].get_array()
    low, high = np.quantile(pair.original, [0.002, 0.998])
    inside = (pair.original >= low) & (pair.original <= high)
    assert np.nansum(mesh) == pytest.approx(inside.sum(), abs=2)
    assert figure.axes[0].get_xscale() == "log"
    assert "GeV" in figure.get_supxlabel()


def test_residuals_of_signals_do_not_stretch_the_axis(planted):
    rng = np.random.default_rng(1)
    pair = compared(planted)["event.met"]
    figure = residual_figure({"a": rng.normal(size=500)}, {"s": rng.normal(0, 1000, 500)}, pair.feature, {"a": "blue"})
    low, high = figure.axes[0].get_xlim()
    assert -10 < low < -2
    assert 2 < high < 10
    assert "[GeV]" in figure.axes[0].get_xlabel()


def test_section_has_every_feature_of_every_group(looked):
    section = looked.sections["reconstruction"]
    assert set(section.data) == {"f0", "f1", "f2", "event.e0"}
    test = looked.context.inspected.events.in_split("test")
    mask = looked.context.inspected.events.inputs.mask
    for name, rows in looked.context.inspected.events.generators().items():
        assert section.data["f0"][name]["num_objects"] == mask[rows & test].sum()
        assert section.data["event.e0"][name]["num_objects"] == (rows & test).sum()
    assert {"reconstruction_f0", "residual_f0", "residual_event_e0"} <= {plot.name for plot in section.plots}

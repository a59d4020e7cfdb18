"""Figures of taggers show the numbers that they are given, and nothing where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from honeyguide.data.reweighting_settings import JetBinning
from honeyguide.evaluation.confusion import confusion_matrix
from honeyguide.evaluation.discriminators import discriminators
from honeyguide.evaluation.efficiencies import make_jets
from honeyguide.evaluation.tagging_points import tagging_points
from honeyguide.evaluation.tagging_settings import DiscriminatorSettings, TaggingSettings, WorkingPointSettings
from honeyguide.plotting.tagging import confusion_figure, efficiency_figure

TRUTHS = ("b", "c", "light")


@pytest.fixture
def jets():
    """Two tau jets only, which the model does not know."""
    rng = np.random.default_rng(2)
    truth = np.append(rng.integers(0, 3, 3000), [3, 3])
    pt = rng.choice([30.0, 60, 120], 3002)
    return make_jets(truth, (*TRUTHS, "tau"), pt, np.zeros(3002))


@pytest.fixture
def probabilities(jets):
    p = np.exp(np.random.default_rng(3).normal(0, 1, (3002, 3)) + 2 * np.eye(4)[jets.truth][:, :3])
    return p / p.sum(1, keepdims=True)


def test_confusion_figure(jets, probabilities):
    matrix = confusion_matrix(probabilities, jets, TRUTHS, confidence_level=0.68, min_jets=10)
    axes = confusion_figure(matrix).axes[0]
    drawn = {text.get_position(): text.get_text().split("\n")[0] for text in axes.texts}
    assert len(drawn) == 9  # none in the row of tau
    for (column, row), text in drawn.items():
        assert text == f"{100 * matrix.sumw[row, column] / matrix.sumw[row].sum():.1f}"
    assert [text.get_text() for text in axes.get_yticklabels()] == ["b", "c", "light", "tau"]
    assert [text.get_text() for text in axes.get_xticklabels()] == list(TRUTHS)


def test_efficiency_figure(jets, probabilities):
    bins = JetBinning(pt=(20, 50, 100, 200), eta=(0, 2.5))
    options = TaggingSettings(bins=bins)
    found = discriminators(options, TRUTHS, jets.truths)["BvsL"]
    values = found.values(probabilities)
    values[(jets.truth == 2) & (jets.pt == 60)] = 0  # no light jet passes in the second bin
    points = WorkingPointSettings(points={"loose": 0.1, "tight": 0.001})
    result = tagging_points(values, jets, discriminator=found, points=points, settings=options)
    figure = efficiency_figure(result, 0, against="pt", title="net")
    (axes,) = figure.axes
    drawn = {container.get_label(): container.lines[0] for container in axes.containers if container.lines[0]}
    labels = ["b", "c", "light"]  # tau has too few jets
    assert axes.get_title(loc="right") == "net, BvsL, loose"
    assert [label for label in drawn if not label.startswith("_")] == labels
    for code, label in enumerate(labels):
        x, y = drawn[label].get_data()
        expected = result.by_pt.value[0, code, :, 0]
        np.testing.assert_allclose(y, expected[expected > 0])
        shift = (code - 1) / 6  # of the width of the bin, so that bars do not hide each other
        centres = np.array([35, 75, 150]) + shift * np.array([30, 50, 100])
        np.testing.assert_allclose(x, centres[[0, 2]] if label == "light" else centres)
    limits = [container for container in axes.containers if container.lines[0] is None]
    assert len(limits) == 1
    (caret,) = limits[0].lines[1]
    np.testing.assert_allclose(caret.get_xdata(), 75 + 50 / 6)
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlabel().endswith("[GeV]")
    assert r"|\eta|" in efficiency_figure(result, 0, against="eta").axes[0].get_xlabel()


def test_no_two_of_many_truths_look_the_same():
    size = 24 * 40
    truth = np.arange(size) % 24
    jets = make_jets(truth, tuple(f"truth{code}" for code in range(24)), np.full(size, 50.0), np.zeros(size))
    options = TaggingSettings(
        bins=JetBinning(pt=(20, 100), eta=(0, 2.5)),
        definitions={"BvsL": DiscriminatorSettings(numerator=("truth0",), denominator=("all",))},
    )
    found = discriminators(options.model_copy(update={"discriminators": ("BvsL",)}), jets.truths)["BvsL"]
    values = np.random.default_rng(1).uniform(size=size)
    points = WorkingPointSettings(mistag="truth1", points={"loose": 0.5})
    result = tagging_points(values, jets, discriminator=found, points=points, settings=options)
    (axes,) = efficiency_figure(result, 0, against="pt").axes
    lines = [container.lines[0] for container in axes.containers]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 24

"""Signal points: known AUCs and efficiencies, grouped by their parameters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from honeyguide.diagnostics.signal_points import Measured, Metric, group_points, measure, parameters
from honeyguide.evaluation.events import ScoredEvents
from honeyguide.evaluation.settings import RocSettings
from honeyguide.plotting.signal_points import PointValue, groups_figure, overview_figure

SHIFT = 1.5
METRICS = [Metric("auc", "AUC", None), Metric("efficiency_0.1", "", 0.1), Metric("efficiency_0.0001", "", 1e-4)]
SETTINGS = RocSettings(background_efficiencies=(0.1, 1e-4))


def scored(num: int = 4000) -> ScoredEvents:
    """Normal scores: two generators at 0, one signal point at SHIFT."""
    rng = np.random.default_rng(7)
    label = np.repeat([0, 0, 1], num).astype(np.int8)
    ones = np.ones(3 * num)
    generator, signal = np.repeat([0, 1, -1], num), np.repeat([-1, -1, 0], num)
    scores = {"total": rng.normal(size=3 * num) + SHIFT * label}
    return ScoredEvents(label, ones, ones, ones, generator, signal, ["a", "b"], ["mass=1000"], scores)


def test_known_auc_and_efficiency():
    found = measure(scored(), "mass=1000", METRICS, SETTINGS, seed=1)
    for name, truth in (("auc", norm.cdf(SHIFT / np.sqrt(2))), ("efficiency_0.1", norm.sf(norm.isf(0.1) - SHIFT))):
        m = found[name]
        assert m.value == pytest.approx(truth, abs=2 * (m.high - m.low))
        assert m.low < m.value < m.high
        assert 0.2 < np.std(m.replicas) / (m.high - m.low) < 0.9  # 68 % of a normal distribution: half
        assert np.mean(m.replicas) == pytest.approx(m.value, abs=m.high - m.low)


def test_efficiency_without_enough_background_is_not_defined():
    assert measure(scored(), "mass=1000", METRICS, SETTINGS, seed=1)["efficiency_0.0001"].value is None


def test_parameters_are_those_of_the_name():
    assert parameters("mass=3500,r_inv=0.3") == {"mass": 3500, "r_inv": 0.3}
    assert parameters("wprime") == {}


def measured(value: float | None) -> dict[str, Measured]:
    return {"auc": Measured(value, 0, 1, np.array([0.5]))}


def test_groups_are_sorted_and_hold_points_of_all_other_parameters():
    found = {
        "mass=3000,r_inv=0.1": measured(0.6),
        "mass=500,r_inv=0.1": measured(0.7),
        "mass=500,r_inv=0.3": measured(0.8),
        "mass=500,r_inv=0.5": measured(None),
        "wprime": measured(0.9),
    }
    groups = group_points(found, "auc", "mass")
    assert list(groups) == [500, 3000]
    assert [signal for signal, _ in groups[500]] == ["mass=500,r_inv=0.1", "mass=500,r_inv=0.3"]
    assert list(group_points(found, "auc", "r_inv")) == [0.1, 0.3]


def point(label: str, value: float) -> PointValue:
    return PointValue(label, value, value - 0.1, value + 0.1, value + np.linspace(-0.1, 0.1, 50))


def test_only_groups_of_several_points_have_a_violin_and_a_box():
    groups = {
        500.0: [point("r_inv=0.1", 0.5), point("r_inv=0.3", 0.6), point("r_inv=0.5", 0.9)],
        1000.0: [point("r_inv=0.1", 0.7)],
    }
    figure = groups_figure(groups, parameter="mass", axis="AUC")
    ax = figure.axes[0]
    violins = [item for item in ax.collections if type(item).__name__ == "FillBetweenPolyCollection"]
    assert len(violins) == 1
    (box,) = [patch for patch in ax.patches if type(patch).__name__ == "PathPatch"]
    low, high = box.get_path().vertices[:, 1].min(), box.get_path().vertices[:, 1].max()
    pooled = np.concatenate([p.replicas for p in groups[500.0]])
    assert (low, high) == pytest.approx(tuple(np.quantile(pooled, [0.25, 0.75])))
    assert ax.get_xlabel() == "$m$ [GeV]"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["500", "1000"]
    assert len(ax.get_legend_handles_labels()[1]) == 3  # a colour per value of the other parameter


def test_overview_has_all_points_and_plain_ticks():
    rows = {f"mass={m}": {"AUC": point("", 0.1 * m)} for m in (1, 2, 3)}
    ax = overview_figure(rows, axis="AUC", reference=0.5, log=True).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["$m$ = 1 GeV", "$m$ = 2 GeV", "$m$ = 3 GeV"]
    np.testing.assert_allclose(np.concatenate([line.get_xdata() for line in ax.lines[:1]]), [0.1, 0.2, 0.3])


def test_planted_signal_has_its_auc(looked):
    section = looked.sections["signal_points"]
    auc = section.data["mass=3500"]["auc"]
    assert auc["low"] < auc["value"] < auc["high"]
    assert section.data["mass=3500"]["efficiency_0.0001"]["value"] is None
    assert "0.0001" in section.text

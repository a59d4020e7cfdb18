"""What is said of score distributions, with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from honeyguide.diagnostics.scores import BACKGROUND, merge, summarise
from honeyguide.plotting.scores import score_grid


def test_weights_count_as_repeated_events():
    rng = np.random.default_rng(1)
    scores, weights = rng.normal(size=300), rng.integers(1, 5, 300)
    heavy = summarise({"s": (scores, weights.astype(float))})["s"]
    often = summarise({"s": (np.repeat(scores, weights), np.ones(weights.sum()))})["s"]
    assert (heavy.low, heavy.median, heavy.high) == (often.low, often.median, often.high)
    assert heavy.num_events == 300


def test_normal_scores():
    rng = np.random.default_rng(2)
    groups = {f"{BACKGROUND}a": rng.normal(size=40_000), "signal": rng.normal(2, 1, 40_000)}
    found = summarise({name: (scores, np.ones(len(scores))) for name, scores in groups.items()})
    assert found["signal"].median == pytest.approx(2, abs=0.03)
    assert found["signal"].high - found["signal"].low == pytest.approx(2, abs=0.05)
    assert found["signal"].above == pytest.approx(norm.sf(norm.isf(0.01) - 2), abs=0.02)


def test_generators_count_the_same_in_the_cut():
    many, few = np.zeros(10_000), np.ones(10)
    found = summarise({f"{BACKGROUND}a": (many, np.ones(10_000)), f"{BACKGROUND}b": (few, np.full(10, 1e6))})
    assert found[f"{BACKGROUND}b"].above == 0  # b is half of the background, so the cut is at its score
    scores, weights = merge({"a": (many, np.ones(10_000)), "b": (few, np.full(10, 1e6))})
    assert weights[scores == 1].sum() == pytest.approx(1)
    assert weights[scores == 0].sum() == pytest.approx(1)


def test_every_signal_point_has_a_panel():
    fractions = {"all": np.full(4, 0.25)} | {f"mass={m}": np.full(4, 0.25) for m in range(5)}
    figure = score_grid(np.arange(5.0), fractions, reference="all", score="total", log=False, colours={})
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.axison]
    assert titles == [f"$m$ = {m} GeV" for m in range(5)]
    assert all(len(ax.patches) == 2 for ax in figure.axes if ax.axison)


def test_section_has_every_score_of_every_group(looked):
    data = looked.sections["scores"].data
    assert {"total", "reconstruction", "kl", "flow"} <= set(data)
    expected = {f"{BACKGROUND}pythia", f"{BACKGROUND}herwig", "mass=3500"}
    assert all(set(groups) == expected for groups in data.values())
    assert data["total"]["mass=3500"]["num_events"] == 450
    names = {plot.name for plot in looked.sections["scores"].plots}
    assert {f"scores_{score}" for score in data} <= names

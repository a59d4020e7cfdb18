"""The figure of a reweighting shows the spectra before and after, and what is outside."""

from __future__ import annotations

import numpy as np
import pytest

from honeyguide.data.reweighting import JetBlock, fill_spectra, make_reweighting
from honeyguide.data.reweighting_settings import JetBinning, ReweightingSettings
from honeyguide.plotting.reweighting import reweighting_figure

TRUTHS = ("b", "light", "tau")


@pytest.fixture
def reweighting():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 2, 2000)
    pt = 20 + rng.exponential(np.array([90, 40])[truth])
    bins = JetBinning(pt=(20, 40, 80, 200), eta=(0, 1, 2.5))
    options = ReweightingSettings(reference="b", bins=bins, outside="one")
    return make_reweighting(fill_spectra([JetBlock(truth, pt, rng.uniform(-2, 2, 2000))], TRUTHS, options), options)


def heights(axes):
    """Heights of the lines (not of the grey area), by drawing order."""
    return [patch.get_data().values for patch in axes.patches if not patch.get_fill()]


@pytest.mark.parametrize("how", ["weights", "sampling"])
def test_spectra_before_and_after(reweighting, how):
    figure = reweighting_figure(reweighting, how=how)
    before_pt, before_eta, after_pt, after_eta = figure.axes
    b, light = heights(before_pt)
    expected = reweighting.before.inside[1].sum(1) / reweighting.before.inside[1].sum()
    np.testing.assert_allclose(light * np.diff([20, 40, 80, 200]), expected)
    assert abs(light / b - 1).max() > 0.3
    for axes, reference in ((after_pt, b), (after_eta, heights(before_eta)[0])):
        assert len(heights(axes)) == 2  # there are no tau jets
        for drawn in heights(axes):
            np.testing.assert_allclose(drawn, reference)
    assert after_pt.get_xlabel().endswith("[GeV]")
    assert after_pt.get_xscale() == "log"
    assert "|" in after_eta.get_xlabel()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["b (reference)", "light"]
    total = reweighting.before.sumw.sum()
    percent = 100 * reweighting.before.outside.sum() / total
    assert before_eta.get_title(loc="right") == f"outside of the bins: {percent:.2g} %"

"""ROC figures of taggers have the axes that taggers are shown on, and say which jets they are of."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from honeyguide.errors import ConfigError
from honeyguide.evaluation.discriminators import sides
from honeyguide.evaluation.tagging_settings import DiscriminatorSettings, TaggingSettings, TaggingWindow
from honeyguide.plotting.roc import RocLine
from honeyguide.plotting.tagging_evaluation import mistag_figure, score_label, window_text


def line(label, *, lowest):
    mistag = np.geomspace(1e-6, 1, 300)
    efficiency = norm.cdf(2 + norm.ppf(mistag))
    return RocLine(label, mistag, efficiency, 0.9 * efficiency, np.minimum(1.1 * efficiency, 1), lowest)


def test_efficiency_is_on_the_horizontal_axis_and_mistag_on_a_logarithmic_vertical_one():
    lines = [line("one: AUC 0.921 ± 0.002", lowest=1e-3), line("two: AUC 0.921 ± 0.002", lowest=2e-3)]
    figure = mistag_figure(lines, labels=("b", "light"), title="BvsL, ttbar", needed=10)
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale(), axes.get_xlim()) == ("linear", "log", (0, 1))
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("efficiency: b", "mis-identification: light")
    drawn = {item.get_label(): item for item in axes.lines}
    x, y = drawn[lines[0].label].get_data()
    np.testing.assert_allclose(x, lines[0].signal_efficiency)
    np.testing.assert_allclose(y, lines[0].background_efficiency)
    np.testing.assert_allclose(*drawn["random"].get_data())
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == [lines[0].label, lines[1].label, "random", "fewer than 10 background jets"]
    (grey,) = [patch for patch in axes.patches if patch.get_label() == texts[-1]]
    assert grey.get_extents().transformed(axes.transData.inverted()).y1 == pytest.approx(1e-3)


@pytest.mark.parametrize(("lowest", "floor"), [(1e-5, 1e-4), (1e-2, 1e-2 / 15), (1.0, 1 / 15)])
def test_the_axis_ends_where_the_statistics_do_or_at_one_in_ten_thousand(lowest, floor):
    (axes,) = mistag_figure([line("one", lowest=lowest)], labels=("b", "c"), needed=10).axes
    assert axes.get_ylim() == pytest.approx((floor, 1))
    greys = [patch for patch in axes.patches if "fewer" in patch.get_label()]
    assert len(greys) == (lowest > floor)


def test_windows_and_sides_are_in_words():
    assert window_text(None) == window_text(TaggingWindow(process="qcd")) == ""
    assert window_text(TaggingWindow(pt=(20, 50))) == r"20 ≤ $p_\mathrm{T}$ < 50 GeV"
    assert window_text(TaggingWindow(eta=(0, 1.5))) == r"$|\eta|$ < 1.5"
    assert window_text(TaggingWindow(pt=(20, 50), eta=(1.5, 2.5))).endswith(r"GeV, 1.5 ≤ $|\eta|$ < 2.5")
    own = DiscriminatorSettings(numerator=("b", "c"), denominator=("b", "all"), veto=("tau",))
    settings = TaggingSettings(definitions={"mine": own})
    assert sides("BvsL", settings) == ("b", "light")
    assert sides("mine", settings) == ("b, c", "all others without tau")
    with pytest.raises(ConfigError, match="nearest: mine"):
        sides("mina", settings)
    assert (score_label("prob_b"), score_label("BvsL")) == ("P(b)", "BvsL")

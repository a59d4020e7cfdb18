"""Figures show what they say: labels with units, every sample in the legend, the grey region where it belongs."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from scipy.stats import norm

from honeyguide.errors import ConfigError
from honeyguide.evaluation.histograms import FeatureHistogram, HistogramSet
from honeyguide.evaluation.settings import HistogramSettings
from honeyguide.plotting.histograms import feature_figure
from honeyguide.plotting.roc import RocLine, roc_figure, significance_figure
from honeyguide.plotting.scores import score_figure
from honeyguide.plotting.style import save, signal_label, slug

KEY = ("jets", "pt")


@pytest.fixture
def lines():
    b = np.geomspace(1e-4, 1, 200)
    s = norm.cdf(1 - norm.ppf(1 - b))
    return [RocLine("vae: AUC 0.760 ± 0.002", b, s, 0.9 * s, np.minimum(1.1 * s, 1), 1e-3)]


def curve_of(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line.get_xdata(), line.get_ydata()


def test_rejection_figure(lines):
    (axes,) = roc_figure(lines, axes="rejection", needed=10).axes
    assert "signal efficiency" in axes.get_xlabel()
    assert "background rejection" in axes.get_ylabel()
    assert axes.get_yscale() == "log"
    x, y = curve_of(axes, lines[0].label)
    np.testing.assert_allclose(x, lines[0].signal_efficiency)
    np.testing.assert_allclose(y, 1 / lines[0].background_efficiency)
    x, y = curve_of(axes, "random")
    np.testing.assert_allclose(x * y, 1)
    (grey,) = [p for p in axes.patches if p.get_label() == "fewer than 10 background events"]
    assert grey.get_extents().transformed(axes.transData.inverted()).y0 == pytest.approx(1e3)


def test_efficiency_figure(lines):
    (axes,) = roc_figure(lines, axes="efficiency", needed=10).axes
    assert axes.get_xscale() == "log"
    x, y = curve_of(axes, "random")
    np.testing.assert_allclose(x, y)
    (grey,) = [p for p in axes.patches if p.get_label() == "fewer than 10 background events"]
    assert grey.get_extents().transformed(axes.transData.inverted()).x1 == pytest.approx(1e-3)


def test_significance_is_drawn_only_where_it_is_defined(lines):
    (axes,) = significance_figure(lines).axes
    x, y = curve_of(axes, lines[0].label)
    assert x.min() >= 1e-3 * (1 - 1e-9)
    np.testing.assert_allclose(y, np.interp(x, lines[0].background_efficiency, lines[0].signal_efficiency) / np.sqrt(x))
    x, y = curve_of(axes, "random")
    np.testing.assert_allclose(y, np.sqrt(x))
    assert "significance improvement" in axes.get_ylabel()


def test_score_figure_names_every_group():
    edges = np.linspace(0, 1, 6)
    fractions = {"background: pythia": np.full(5, 0.2), "mass=3500,r_inv=0.3": np.array([0, 0.1, 0.2, 0.3, 0.4])}
    errors = {name: 0.1 * values for name, values in fractions.items()}
    (axes,) = score_figure(edges, fractions, errors, score="total").axes
    assert axes.get_xlabel() == "anomaly score: total"
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["background: pythia", r"$m$ = 3500 GeV, $r_\mathrm{inv}$ = 0.3"]


@pytest.fixture
def histograms():
    edges = np.array([0.0, 10.0, 20.0, 40.0])

    def histogram(counts, weight):
        counts = np.array(counts, float)
        return {KEY: FeatureHistogram(counts, counts * weight, counts * weight**2, 0)}

    info = {"process": "qcd", "generator": "pythia", "label": "background", "signal": None}
    signal = {"process": "svj", "generator": "pythia", "label": "signal", "signal": "mass=3500,r_inv=0.3"}
    return HistogramSet(
        edges={KEY: edges},
        axis_labels={KEY: "jet pt [GeV]"},
        categories={KEY: ()},
        samples={"svj": signal, "qcd": info},
        histograms={"svj": histogram([0, 10, 30, 60, 0], 2.0), "qcd": histogram([10, 50, 30, 10, 0], 1e-6)},
    )


def test_histogram_figure_has_unit_area_units_and_the_ratio_to_the_background(histograms):
    top, bottom = feature_figure(histograms, KEY, settings=HistogramSettings()).axes
    assert bottom.get_xlabel() == "jet pt [GeV]"
    assert top.get_ylabel() == "normalised density"
    heights = {patch.get_label(): patch.get_data() for patch in top.patches}
    for label, inside in (("svj ($m$ = 3500 GeV, $r_\\mathrm{inv}$ = 0.3)", 1.0), ("qcd (pythia)", 0.9)):
        values, edges, _ = heights[label]
        assert np.sum(values * np.diff(edges)) == pytest.approx(inside)  # 10 % of qcd is underflow
    (points,) = [container.lines[0] for container in bottom.containers]
    np.testing.assert_allclose(points.get_ydata(), [0.1 / 0.5, 1, 6])


def test_histogram_figure_without_weights_and_norm_shows_counts(histograms):
    settings = HistogramSettings(weighted=False, normalise=False, log=False, reference="svj")
    top, _ = feature_figure(histograms, KEY, settings=settings).axes
    assert top.get_ylabel() == "entries / bin"
    assert top.get_yscale() == "linear"
    np.testing.assert_allclose(next(p for p in top.patches if "qcd" in p.get_label()).get_data()[0], [50, 30, 10])


@pytest.mark.parametrize("num_signals", [4, 7, 12])
def test_the_legend_of_a_histogram_covers_no_other_text(histograms, num_signals):
    signal = histograms.samples["svj"] | {"signal": "mass=3500,mass_x=500,mass_y=100"}
    for number in range(num_signals):
        name = f"wprime_with_a_long_name_{number}"
        histograms.samples[name] = signal
        histograms.histograms[name] = histograms.histograms["svj"]
    figure = feature_figure(histograms, KEY, settings=HistogramSettings())
    with mpl.rc_context({}):
        figure.draw_without_rendering()
    top = figure.axes[0]
    box = top.get_legend().get_window_extent()
    assert not box.overlaps(top.yaxis.label.get_window_extent())
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1
    highest = max(np.nanmax(patch.get_data()[0]) for patch in top.patches)
    assert box.y0 > top.transData.transform((0, highest))[1] or box.x0 > top.get_window_extent().x1


def test_unknown_reference_is_a_config_error(histograms):
    with pytest.raises(ConfigError, match="nearest: qcd"):
        feature_figure(histograms, KEY, settings=HistogramSettings(reference="qdc"))


def test_a_figure_without_entries_can_be_drawn(histograms, tmp_path):
    empty = {KEY: FeatureHistogram(np.zeros(5), np.zeros(5), np.zeros(5), 3)}
    histograms.histograms.update(svj=empty, qcd=empty)
    save(feature_figure(histograms, KEY, settings=HistogramSettings()), tmp_path, "empty")
    assert (tmp_path / "empty.png").stat().st_size > 0


def test_style_stays_in_the_figures(lines, tmp_path):
    before = dict(mpl.rcParams)
    save(roc_figure(lines, axes="rejection"), tmp_path, "mass=3500,r_inv=0.3")
    assert dict(mpl.rcParams) == before
    assert {path.name for path in tmp_path.iterdir()} == {"mass=3500,r_inv=0.3.png", "mass=3500,r_inv=0.3.pdf"}


def test_file_names_are_safe():
    assert slug("flow / v2", "score total") == "flow-v2_score-total"
    assert slug("../..", "") == "..-.._x"
    assert signal_label("all signals") == "all signals"
    assert signal_label("coupling=0.5") == "coupling = 0.5"
    assert signal_label("mass=3500,mass_x=500") == "$m$ = 3500 GeV, $m_X$ = 500 GeV"


def test_settings_load_nothing_heavy():
    code = (
        "import sys, honeyguide.evaluation.settings; "
        "print([m for m in ('numpy', 'matplotlib', 'h5py', 'scipy', 'torch') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"

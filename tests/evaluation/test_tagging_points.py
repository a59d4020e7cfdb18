"""Working points are exact on the data, with ties and weights; what too few jets carry is not defined."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from honeyguide.data.reweighting_settings import JetBinning
from honeyguide.errors import ConfigError, DataError
from honeyguide.evaluation.discriminators import discriminators
from honeyguide.evaluation.efficiencies import make_jets, truth_efficiencies
from honeyguide.evaluation.intervals import clopper_pearson
from honeyguide.evaluation.tagging_points import passing, plane_points, tagging_points
from honeyguide.evaluation.tagging_settings import PlanePoint, TaggingSettings, WorkingPointSettings

TRUTHS = ("b", "c", "light")
B, C, LIGHT = range(3)
BINS = JetBinning(pt=(20, 50, 100), eta=(0, 1.5, 2.5))


def toy(num_jets=3000, seed=1, weighted=False):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, num_jets)
    weight = rng.exponential(1, num_jets) if weighted else None
    return make_jets(truth, TRUTHS, rng.uniform(15, 110, num_jets), rng.uniform(-2.6, 2.6, num_jets), weight), rng


def one_dimension(values, jets, points, **more):
    options = TaggingSettings(bins=BINS, **more)
    found = discriminators(options, TRUTHS)["BvsL"]
    return tagging_points(
        np.asarray(values, float),
        jets,
        discriminator=found,
        points=WorkingPointSettings(points=points),
        settings=options,
    )


def two_dimensions(values, jets, points, **more):
    options = TaggingSettings(bins=BINS, plane_points=points, **more)
    found = discriminators(options, TRUTHS)
    return plane_points(values, jets, pair=(found["CvsL"], found["CvsB"]), settings=options)


def test_thresholds_of_separated_gaussians_are_their_quantiles():
    """Light jets N(0, 1), b jets N(2, 1), at evenly spaced quantiles: no statistical error."""
    n = 40_000
    grid = norm.ppf((np.arange(n) + 0.5) / n)
    values = np.concatenate([grid, grid + 2])
    truth = np.repeat([LIGHT, B], n)
    jets = make_jets(truth, TRUTHS, np.full(2 * n, 40.0), np.zeros(2 * n))
    result = one_dimension(values, jets, WorkingPointSettings().points)
    assert [point.name for point in result.points] == ["loose", "medium", "tight", "extra_tight"]
    for index, (point, target) in enumerate(zip(result.points, (0.1, 0.01, 0.001, 0.0005), strict=True)):
        assert point.reason is None
        assert point.thresholds[0] == pytest.approx(norm.isf(target), abs=0.02)
        assert point.mistag == pytest.approx((target,), rel=1e-9)
        assert result.inclusive.value[index, B] == pytest.approx(norm.sf(norm.isf(target) - 2), abs=2e-3)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.integers(0, 4)), min_size=3, max_size=40),
    st.sampled_from([0.05, 0.2, 0.25, 0.5, 0.8]),
)
def test_no_threshold_does_better(rows, target):
    """Values and weights of few digits: ties everywhere; all thresholds are tried."""
    truth, values, weight = np.array([*rows, (B, 3, 1), (LIGHT, 3, 1)]).T
    jets = make_jets(truth, TRUTHS, np.full(len(truth), 30.0), np.zeros(len(truth)), weight)
    (point,) = one_dimension(values, jets, {"wp": target}, min_jets=1).points

    def efficiency(code, threshold):
        mine = truth == code
        return weight[mine & (values >= threshold)].sum() / weight[mine].sum()

    mistag, best = efficiency(LIGHT, point.thresholds[0]), efficiency(B, point.thresholds[0])
    assert mistag <= target + 1e-9
    assert mistag == pytest.approx(point.mistag[0])
    for threshold in range(8):
        if efficiency(LIGHT, threshold) <= target + 1e-9:
            assert best >= efficiency(B, threshold) - 1e-9


@pytest.mark.parametrize("weighted", [False, True])
def test_efficiencies_of_every_truth_and_bin(weighted):
    jets, rng = toy(weighted=weighted)
    values = rng.normal(0, 1, len(jets)) + np.array([2, 1, 0])[jets.truth]
    result = one_dimension(values, jets, {"loose": 0.1})
    passed = values >= result.points[0].thresholds[0]
    for code in range(3):
        mine = jets.truth == code
        expected = np.average(passed[mine], weights=jets.weight[mine])
        assert result.inclusive.value[0, code] == pytest.approx(expected)
        for i, j in itertools.product(range(2), range(2)):
            cell = mine & (jets.pt >= BINS.pt[i]) & (jets.pt < BINS.pt[i + 1])
            cell &= (abs(jets.eta) >= BINS.eta[j]) & (abs(jets.eta) < BINS.eta[j + 1])
            w = jets.weight[cell]
            assert result.binned.value[0, code, i, j] == pytest.approx(np.average(passed[cell], weights=w))
            assert result.binned.effective[code, i, j] == pytest.approx(w.sum() ** 2 / (w**2).sum())
            if not weighted:
                interval = clopper_pearson(passed[cell].sum(), cell.sum(), 0.68)
                low, high = result.binned.low[0, code, i, j], result.binned.high[0, code, i, j]
                np.testing.assert_allclose((low, high), interval)
    assert result.inclusive.value[0, LIGHT] == pytest.approx(result.points[0].mistag[0])


def test_efficiencies_against_pt_and_eta():
    jets, rng = toy(weighted=True)
    values = rng.normal(0, 1, len(jets)) + np.array([2, 1, 0])[jets.truth]
    result = one_dimension(values, jets, {"loose": 0.1})
    passed = values >= result.points[0].thresholds[0]
    eta = np.abs(jets.eta)
    inside = (jets.pt >= 20) & (jets.pt < 100) & (eta < 2.5)
    for found, variable, edges in ((result.by_pt, jets.pt, BINS.pt), (result.by_eta, eta, BINS.eta)):
        for code in range(3):
            mine = inside & (jets.truth == code)
            total = np.histogram(variable[mine], edges, weights=jets.weight[mine])[0]
            through = np.histogram(variable[mine & passed], edges, weights=jets.weight[mine & passed])[0]
            np.testing.assert_allclose(found.value[0, code].ravel(), through / total)
    written = result.to_json()["working_points"]["loose"]["efficiencies"]["c"]
    assert [cell["efficiency"] for cell in written["by_pt"]] == result.by_pt.value[0, C].ravel().tolist()
    assert [cell["efficiency"] for cell in written["by_eta"]] == result.by_eta.value[0, C].ravel().tolist()


def test_the_interval_of_weighted_jets_covers_the_truth():
    """200 toys, weights between 0.1 and 2 that know nothing of the score."""
    inside = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        jets = make_jets(np.zeros(300), ("b",), np.full(300, 30.0), np.zeros(300), rng.uniform(0.1, 2, 300))
        found = truth_efficiencies(rng.random((1, 300)) < 0.7, jets, confidence_level=0.68, min_jets=10)
        inside += found.low[0, 0] <= 0.7 <= found.high[0, 0]
    assert 0.68 - 0.07 < inside / 200 < 0.68 + 0.13  # never below; Clopper-Pearson covers a bit more


def test_what_too_few_jets_carry_is_not_defined_and_says_why():
    jets, rng = toy(num_jets=600)
    values = rng.normal(0, 1, len(jets)) + np.array([2, 1, 0])[jets.truth]
    result = one_dimension(values, jets, {"loose": 0.1, "tight": 0.001}, min_jets=15)
    loose, tight = result.points
    assert loose.reason is None
    assert "effective background events pass, 15 are needed" in tight.reason
    assert np.isnan(result.inclusive.value[1]).all()
    values_json = json.loads(json.dumps(result.to_json(), allow_nan=False))["working_points"]
    assert values_json["tight"]["thresholds"] is None
    assert values_json["tight"]["reason"] == tight.reason
    cells = np.array(values_json["loose"]["efficiencies"]["b"]["by_pt_and_eta"])
    assert cells.shape == (2, 2)
    few = one_dimension(values, jets, {"loose": 0.1}, min_jets=30).to_json()["working_points"]["loose"]
    assert few["thresholds"] is None  # some 20 of 200 light jets pass
    sparse = jets.pt < 50
    kept = make_jets(np.where(sparse, jets.truth, -1), TRUTHS, jets.pt, jets.eta)
    cell = one_dimension(values, kept, {"wp": 0.3}).to_json()["working_points"]["wp"]["efficiencies"]["c"]
    assert cell["by_pt_and_eta"][1][0] == {
        "efficiency": None,
        "effective_jets": 0,
        "reason": "0 effective jets, 10 are needed",
    }
    assert cell["inclusive"]["low"] < cell["inclusive"]["efficiency"] < cell["inclusive"]["high"]


def test_a_mistag_that_is_signal_and_nan_are_errors():
    jets, rng = toy(200)
    options = TaggingSettings(bins=BINS)
    found = discriminators(options, TRUTHS)["BvsL"]
    for mistag, message in [("b", "is signal of BvsL"), ("ligth", "nearest: light")]:
        points = WorkingPointSettings(mistag=mistag)
        with pytest.raises(ConfigError, match=message):
            tagging_points(rng.random(200), jets, discriminator=found, points=points, settings=options)
    with pytest.raises(DataError, match="NaN"):
        one_dimension(np.full(200, np.nan), jets, {"loose": 0.1})
    with pytest.raises(DataError, match="truth codes without a name"):
        make_jets([0, 3], TRUTHS, [1, 1], [0, 0])
    with pytest.raises(DataError, match="1 of 2 weights"):
        make_jets([0, 1], TRUTHS, [1, 1], [0, 0], [1, -1])


small = st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 5), st.integers(0, 3))


@settings(max_examples=80, deadline=None)
@given(st.lists(small, max_size=30), st.sampled_from([0.1, 0.25, 0.5]), st.sampled_from([0.1, 0.25, 0.5]))
def test_no_pair_of_thresholds_does_better(rows, first, second):
    """All pairs are tried, with ties and weights."""
    truth, cvsl, cvsb, weight = np.array([*rows, (B, 2, 2, 1), (LIGHT, 2, 2, 1), (C, 2, 2, 1)]).T
    jets = make_jets(truth, TRUTHS, np.full(len(truth), 30.0), np.zeros(len(truth)), weight)
    values = (cvsl.astype(float), cvsb.astype(float))
    (point,) = two_dimensions(values, jets, {"wp": PlanePoint(first=first, second=second)}, min_jets=1).points

    def efficiency(code, t):
        mine = truth == code
        return weight[mine & (cvsl >= t[0]) & (cvsb >= t[1])].sum() / weight[mine].sum()

    def allowed(t):
        return efficiency(LIGHT, t) <= first + 1e-9 and efficiency(B, t) <= second + 1e-9

    best = max(efficiency(C, t) for t in itertools.product(range(7), range(7)) if allowed(t))
    assert allowed(point.thresholds)
    assert efficiency(C, point.thresholds) == pytest.approx(best)
    if best > 0:
        for wider in ((point.thresholds[0] + 1, point.thresholds[1]), (point.thresholds[0], point.thresholds[1] + 1)):
            assert efficiency(C, wider) < best  # thresholds are as tight as they can be


def test_plane_of_independent_gaussians_reaches_both_targets():
    """light: N(0,1) in CvsL, b: N(0,1) in CvsB, c: N(1.5,1) in both: the optimum is known from the marginals."""
    jets, rng = toy(30_000, seed=5)
    shift = {"l": np.array([1.5, 1.5, 0])[jets.truth], "b": np.array([0, 1.5, 1.5])[jets.truth]}
    values = (rng.normal(0, 1, len(jets)) + shift["l"], rng.normal(0, 1, len(jets)) + shift["b"])
    result = two_dimensions(values, jets, {"medium": PlanePoint(first=0.1, second=0.2)})
    grid = np.linspace(-3, 3, 400)
    light = norm.sf(grid)[:, None] * norm.sf(grid - 1.5)
    b = norm.sf(grid - 1.5)[:, None] * norm.sf(grid)
    c = norm.sf(grid - 1.5)[:, None] * norm.sf(grid - 1.5)
    best = c[(light <= 0.1) & (b <= 0.2)].max()
    (point,) = result.points
    assert point.mistag == pytest.approx((0.1, 0.2), rel=0.01)
    assert result.inclusive.value[0, C] == pytest.approx(best, abs=0.02)
    assert result.inclusive.value[0, LIGHT] == pytest.approx(point.mistag[0])
    assert result.inclusive.value[0, B] == pytest.approx(point.mistag[1])
    assert result.discriminators == ("CvsL", "CvsB")
    assert result.mistagged == (("light",), ("b",))
    both = (values[0] >= point.thresholds[0]) & (values[1] >= point.thresholds[1])
    np.testing.assert_array_equal(passing(values, result.points), both[None])


def test_plane_without_a_possible_point_says_why():
    truth = np.repeat([B, C, LIGHT], 20)
    jets = make_jets(truth, TRUTHS, np.full(60, 30.0), np.zeros(60))
    same = (np.ones(60), np.ones(60))  # one value: all or none
    result = two_dimensions(same, jets, {"wp": PlanePoint(first=0.5, second=0.5)})
    assert result.points[0].reason == "no signal passes within the targets"
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["working_points"]["wp"]["thresholds"] is None
    high = np.where(truth == C, 100, np.arange(60.0))  # c jets are the highest: 8 light jets pass, and no b jet
    few = two_dimensions((high, high), jets, {"wp": PlanePoint(first=0.4, second=0.5)}, min_jets=9)
    assert "effective background jets pass, 9 are needed" in few.points[0].reason
    none = make_jets(np.zeros(60), TRUTHS, np.full(60, 30.0), np.zeros(60))
    with pytest.raises(DataError, match="no jets of c"):
        two_dimensions(same, none, {"wp": PlanePoint(first=0.5, second=0.5)})
    with pytest.raises(DataError, match="60 jets have a discriminator that is NaN"):
        two_dimensions((np.ones(60), np.full(60, np.nan)), jets, {"wp": PlanePoint(first=0.5, second=0.5)})
    options = TaggingSettings(bins=BINS)
    found = discriminators(options, TRUTHS)
    with pytest.raises(ConfigError, match="different signals"):
        plane_points(same, jets, pair=(found["CvsL"], found["BvsL"]), settings=options)

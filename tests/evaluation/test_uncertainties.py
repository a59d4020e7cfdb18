"""Intervals cover what they claim, agree with independent computations, and say where they are not defined."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from honeyguide.evaluation.auc import auc, delong
from honeyguide.evaluation.bootstrap import bootstrap
from honeyguide.evaluation.intervals import clopper_pearson, efficiency_interval
from honeyguide.evaluation.result import roc_result, spread
from honeyguide.evaluation.roc import roc_curve, two_classes
from honeyguide.evaluation.settings import RocSettings
from honeyguide.evaluation.working_points import significance_improvement, working_points


def truth(distance, background_efficiency):
    return norm.cdf(distance - norm.ppf(1 - background_efficiency))


def test_clopper_pearson_agrees_with_scipy():
    for k, n in [(0, 7), (3, 7), (7, 7), (10, 10_000), (1, 1)]:
        expected = binomtest(k, n).proportion_ci(0.68, method="exact")
        low, high = clopper_pearson(k, n, 0.68)
        assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_interval_of_equal_weights_is_clopper_pearson_of_the_counts():
    for k, n in [(0, 7), (3, 7), (7, 7), (40, 1000)]:
        ours = efficiency_interval(k / n, k / n**2, 1 / n, 0.9)
        np.testing.assert_allclose(ours, clopper_pearson(k, n, 0.9), atol=1e-12)


def test_delong_variance_is_that_of_its_definition():
    """The pairwise definition of 1988, written out, without weights."""
    rng = np.random.default_rng(1)
    s, b = rng.normal(1, 1, 40).round(1), rng.normal(0, 1, 30).round(1)
    psi = (s[:, None] > b) + 0.5 * (s[:, None] == b)
    expected = np.var(psi.mean(1), ddof=1) / 40 + np.var(psi.mean(0), ddof=1) / 30
    assert delong(two_classes(s, b), 0.68).error == pytest.approx(np.sqrt(expected), rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
def test_auc_interval_covers_the_truth_as_often_as_it_says(weighted):
    """300 toys; the weights depend on the score, as generator weights do."""
    rng = np.random.default_rng(11)
    inside, pulls = 0, []
    for _ in range(300):
        s, b = rng.normal(1, 1, 150), rng.normal(0, 1, 250)
        w, v = None, None
        if weighted:  # sample 1 sigma too high, weight it back
            s, b = s + 0.5, b + 0.5
            w = norm.pdf(s, 1, 1) / norm.pdf(s, 1.5, 1)
            v = norm.pdf(b, 0, 1) / norm.pdf(b, 0.5, 1)
        estimate = delong(two_classes(s, b, w, v), 0.68)
        expected = norm.cdf(1 / np.sqrt(2))
        inside += estimate.low <= expected <= estimate.high
        pulls.append((estimate.value - expected) / estimate.error)
    assert 0.68 - 0.09 < inside / 300 < 0.68 + 0.09  # 3.3 binomial standard deviations
    assert np.std(pulls) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("weighted", [False, True])
def test_efficiency_interval_covers_the_true_curve(weighted):
    """The interval holds the error of the threshold, too: signal statistics alone would cover far too seldom."""
    rng = np.random.default_rng(12)
    target, inside, signal_only = 0.02, 0, 0
    for _ in range(300):
        s, b = rng.normal(1, 1, 5000), rng.normal(0, 1, 2000)
        v = None
        if weighted:
            b = b + 0.5
            v = norm.pdf(b, 0, 1) / norm.pdf(b, 0.5, 1)
        curve = roc_curve(two_classes(s, b, None, v))
        (point,) = working_points(curve, (target,), confidence_level=0.68, min_background_events=5)
        inside += point.low <= truth(1, target) <= point.high
        signal_only += point.signal_low <= truth(1, target) <= point.signal_high
    assert 0.62 < inside / 300 < 0.85  # Clopper-Pearson covers a little more than it says
    assert signal_only / 300 < 0.5


def test_bootstrap_agrees_with_delong_and_the_efficiency_interval():
    rng = np.random.default_rng(4)
    classes = two_classes(rng.normal(1, 1, 3000), rng.normal(0, 1, 3000), rng.exponential(1, 3000))
    settings = {"background_efficiencies": (0.01, 0.1)}
    analytic = roc_result(classes, RocSettings(**settings))
    replicas = roc_result(classes, RocSettings(**settings, method="bootstrap", num_replicas=300))
    assert replicas.auc.error == pytest.approx(analytic.auc.error, rel=0.2)
    for a, b in zip(analytic.working_points, replicas.working_points, strict=True):
        assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.35)
        assert b.low < a.signal_efficiency < b.high
    again = roc_result(classes, RocSettings(**settings, method="bootstrap", num_replicas=300))
    assert again.auc == replicas.auc
    assert again.working_points == replicas.working_points


def test_bootstrap_keeps_the_weights():
    """Weights that grow or fall with the score move the AUC by many of its errors, and the replicas with it."""
    rng = np.random.default_rng(5)
    s, b = rng.normal(0.5, 1, 400), rng.normal(0, 1, 400)
    for signal_weight, background_weight in ((np.exp(s), np.ones(400)), (np.ones(400), np.exp(-b))):
        classes = two_classes(s, b, signal_weight, background_weight)
        replicas = bootstrap(classes, (0.1,), num_replicas=100, seed=1, lowest_efficiency=None).auc
        assert abs(auc(classes) - roc_auc_score(np.repeat([1, 0], 400), np.concatenate([s, b]))) > 3 * replicas.std()
        assert replicas.mean() == pytest.approx(auc(classes), abs=0.5 * replicas.std())


def test_perfect_separation_has_a_bound_and_not_an_interval_of_no_width():
    estimate = delong(two_classes(np.arange(10.0) + 100, np.arange(20.0)), 0.68)
    assert estimate.value == estimate.high == 1
    assert estimate.low == pytest.approx(0.16 ** (1 / 10))
    flipped = delong(two_classes(np.arange(10.0), np.arange(20.0) + 100), 0.68)
    assert (flipped.low, flipped.high) == (0, pytest.approx(1 - 0.16 ** (1 / 10)))


def test_one_event_per_class_has_no_error():
    estimate = delong(two_classes([1.0], [0.0]), 0.68)
    assert np.isnan(estimate.error)
    assert (estimate.low, estimate.high) == (0, 1)


def test_working_points_are_exact_quantiles():
    """b-hive's grid of thresholds is off by up to 139 % in the tail; a sorted quantile is not."""
    rng = np.random.default_rng(0)
    background = -np.exp(-rng.exponential(12, 10_000))  # crowded at 0
    curve = roc_curve(two_classes(rng.uniform(-0.1, 0, 5000), background))
    for point in working_points(curve, (1e-3, 0.01, 0.05), confidence_level=0.68, min_background_events=10):
        assert np.count_nonzero(background >= point.threshold) == round(point.target * 10_000)
        assert point.reason is None


def test_a_point_that_the_background_does_not_carry_is_null_with_a_reason():
    rng = np.random.default_rng(0)
    result = roc_result(two_classes(rng.normal(1, 1, 500), rng.normal(0, 1, 5000)), RocSettings()).to_json()
    by_target = {entry["target_background_efficiency"]: entry for entry in result["signal_efficiencies"]}
    assert by_target[1e-4]["signal_efficiency"] is None
    assert "0 effective background events pass, 10 are needed" in by_target[1e-4]["reason"]
    assert by_target[1e-3]["signal_efficiency"] is None
    assert by_target[1e-2]["low"] < by_target[1e-2]["signal_efficiency"] < by_target[1e-2]["high"]
    json.dumps(result, allow_nan=False)


def test_heavy_weights_undefine_what_the_count_alone_would_carry():
    """20 events pass, but one of them has nearly all the weight."""
    rng = np.random.default_rng(0)
    background, weight = np.sort(rng.normal(0, 1, 1000))[::-1], np.ones(1000)
    weight[3] = 200.0
    curve = roc_curve(two_classes(rng.normal(1, 1, 500), background, background_weight=weight))
    (point,) = working_points(curve, (0.2,), confidence_level=0.68, min_background_events=10)
    assert point.reason is not None
    assert point.background_count < 2


def test_ties_that_leave_no_threshold_are_a_reason():
    background = np.r_[np.zeros(700), np.ones(300)]
    curve = roc_curve(two_classes(np.r_[np.zeros(50), np.ones(50)], background))
    near, far = working_points(curve, (0.3, 0.1), confidence_level=0.68, min_background_events=10)
    assert near.reason is None
    assert near.signal_efficiency == 0.5
    assert "ties" in far.reason


def test_significance_improvement_finds_the_planted_maximum():
    """Half of the signal stands above 99 % of the background: SIC = 0.5 / sqrt(0.01) = 5."""
    rng = np.random.default_rng(2)
    background = rng.uniform(0, 1, 20_000)
    signal = np.r_[rng.uniform(0.99, 0.9901, 5000), rng.uniform(0, 0.99, 5000)]
    curve = roc_curve(two_classes(signal, background))
    best = significance_improvement(curve, confidence_level=0.68, min_background_events=50)
    assert best is not None
    assert best.threshold == pytest.approx(0.99, abs=1e-3)
    assert abs(best.value - 5) < 3 * best.error
    assert best.low < best.value < best.high
    # sigma/value: 1 % from the signal, 3.5 % from 200 background events
    assert best.error / best.value == pytest.approx(np.hypot(0.01, 0.5 / np.sqrt(200)), rel=0.1)


def test_significance_improvement_stays_where_the_background_carries_it():
    """One lucky signal event above all background would give an infinite SIC."""
    rng = np.random.default_rng(2)
    signal, background = np.r_[rng.normal(0, 1, 500), 50.0], rng.normal(0, 1, 500)
    curve = roc_curve(two_classes(signal, background))
    best = significance_improvement(curve, confidence_level=0.68, min_background_events=10)
    assert best is not None
    assert best.defined_from == pytest.approx(10 / 500)
    assert best.background_efficiency >= best.defined_from
    assert significance_improvement(curve, confidence_level=0.68, min_background_events=501) is None


def test_spread_over_seeds():
    values = spread([0.7, 0.8, 0.9])
    assert (values.mean, values.spread, values.minimum, values.maximum) == pytest.approx((0.8, 0.1, 0.7, 0.9))
    assert spread([0.7]).spread is None
    assert spread([0.7, None]).mean is None
    assert "1 of 2 seeds" in spread([0.7, None]).reason


def test_auc_of_many_weighted_events_agrees_with_sklearn():
    rng = np.random.default_rng(8)
    s, b, w, v = rng.normal(1, 1, 2000), rng.normal(0, 1, 3000), rng.exponential(1, 2000), rng.exponential(1, 3000)
    expected = roc_auc_score(np.r_[np.ones(2000), np.zeros(3000)], np.r_[s, b], sample_weight=np.r_[w, v])
    assert auc(two_classes(s, b, w, v)) == pytest.approx(expected, abs=1e-10)

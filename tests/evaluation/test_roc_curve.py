"""ROC curve and AUC against closed forms and scikit-learn; weights, ties, infinities, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn import metrics

from honeyguide.errors import DataError
from honeyguide.evaluation.auc import auc, delong
from honeyguide.evaluation.roc import roc_curve, thin, two_classes

# few distinct values, so that ties within and between the classes are the rule
SCORES = st.lists(st.sampled_from([-np.inf, -2.0, -1.0, 0.0, 0.5, 1.0, 3.0, np.inf]), min_size=1, max_size=30)


@st.composite
def weighted_scores(draw):
    scores = np.array(draw(SCORES))
    weights = draw(st.lists(st.sampled_from([0.0, 0.1, 1.0, 2.5, 1e6]), min_size=len(scores), max_size=len(scores)))
    weights = np.array(weights)
    weights[0] = 1.0  # a class without any weight is an error, tested below
    return scores, weights


def sklearn_form(signal, background):
    """scikit-learn knows no infinite scores: ranks have the same order."""
    scores = np.concatenate([signal[0], background[0]])
    ranks = np.unique(scores, return_inverse=True)[1]
    labels = np.repeat([1, 0], [len(signal[0]), len(background[0])])
    return labels, ranks, np.concatenate([signal[1], background[1]])


@settings(max_examples=60, deadline=None)
@given(weighted_scores(), weighted_scores())
def test_auc_agrees_with_sklearn_with_weights_ties_and_infinities(signal, background):
    labels, ranks, weights = sklearn_form(signal, background)
    expected = metrics.roc_auc_score(labels, ranks, sample_weight=weights)
    classes = two_classes(signal[0], background[0], signal[1], background[1])
    assert auc(classes) == pytest.approx(expected, abs=1e-9)
    assert delong(classes, 0.68).value == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(weighted_scores(), weighted_scores())
def test_every_point_of_the_curve_agrees_with_sklearn(signal, background):
    labels, ranks, weights = sklearn_form(signal, background)
    fpr, tpr, _ = metrics.roc_curve(labels, ranks, sample_weight=weights, drop_intermediate=False)
    curve = roc_curve(two_classes(signal[0], background[0], signal[1], background[1]))
    expected = np.unique(np.round(np.stack([fpr, tpr], 1), 9), axis=0)
    ours = np.unique(np.round(np.stack([curve.background_efficiency, curve.signal_efficiency], 1), 9), axis=0)
    np.testing.assert_allclose(ours, expected, atol=2e-9)


@settings(max_examples=60, deadline=None)
@given(weighted_scores(), weighted_scores())
def test_each_threshold_selects_what_the_curve_says(signal, background):
    curve = roc_curve(two_classes(signal[0], background[0], signal[1], background[1]))
    assert curve.signal_efficiency[0] == curve.background_efficiency[0] == 0
    for i in range(1, len(curve)):
        for (scores, weights), efficiency in (
            (signal, curve.signal_efficiency),
            (background, curve.background_efficiency),
        ):
            passing = weights[scores >= curve.threshold[i]].sum() / weights.sum()
            assert efficiency[i] == pytest.approx(passing, abs=1e-9)


@pytest.mark.parametrize("distance", [0.0, 0.5, 1.5, 3.0])
def test_two_gaussians_have_the_auc_of_the_closed_form(distance):
    """AUC = Phi(d / sqrt 2)."""
    rng = np.random.default_rng(7)
    classes = two_classes(rng.normal(distance, 1, 40_000), rng.normal(0, 1, 60_000))
    estimate = delong(classes, 0.68)
    assert estimate.error < 0.003
    assert abs(estimate.value - norm.cdf(distance / np.sqrt(2))) < 4 * estimate.error


def test_two_gaussians_follow_the_whole_curve_of_the_closed_form():
    """Signal efficiency = Phi(d - Phi^-1(1 - eps)), with weights that must cancel an uneven sampling."""
    rng = np.random.default_rng(3)
    signal, background = rng.normal(1, 1, 200_000), rng.uniform(-6, 6, 200_000)
    curve = roc_curve(two_classes(signal, background, background_weight=norm.pdf(background)))
    at = curve.point_at(np.array([1e-3, 1e-2, 0.1, 0.3, 0.5, 0.9]))
    expected = norm.cdf(1 - norm.ppf(1 - curve.background_efficiency[at]))
    np.testing.assert_allclose(curve.signal_efficiency[at], expected, atol=0.006)
    np.testing.assert_allclose(curve.threshold[at], norm.ppf(1 - np.array([1e-3, 1e-2, 0.1, 0.3, 0.5, 0.9])), atol=0.03)


def test_a_duplicated_event_equals_an_event_of_weight_two():
    rng = np.random.default_rng(5)
    s, b = rng.normal(1, 1, 50).round(1), rng.normal(0, 1, 80).round(1)
    twice_s, twice_b = rng.integers(1, 4, 50), rng.integers(1, 4, 80)
    repeated = two_classes(np.repeat(s, twice_s), np.repeat(b, twice_b))
    weighted = two_classes(s, b, twice_s, twice_b)
    assert auc(repeated) == pytest.approx(auc(weighted), abs=1e-12)
    for name in ("threshold", "signal_efficiency", "background_efficiency"):
        np.testing.assert_allclose(getattr(roc_curve(repeated), name), getattr(roc_curve(weighted), name), atol=1e-12)


def test_scale_of_the_weights_does_not_matter_even_in_generator_units():
    rng = np.random.default_rng(5)
    s, b, w = rng.normal(1, 1, 500), rng.normal(0, 1, 500), rng.exponential(1, 500)
    reference = delong(two_classes(s, b, w, w), 0.68)
    for scale in (1e-200, 1e6, 1e200):
        scaled = delong(two_classes(s, b, w, w * scale), 0.68)
        assert scaled.value == pytest.approx(reference.value, abs=1e-12)
        assert scaled.error == pytest.approx(reference.error, rel=1e-9)


def test_events_of_weight_zero_change_nothing():
    rng = np.random.default_rng(5)
    s, b = rng.normal(1, 1, 50), rng.normal(0, 1, 80)
    weight = np.r_[np.ones(50), np.zeros(30)]
    padded = two_classes(np.r_[s, rng.normal(9, 1, 30)], b, weight)
    assert delong(padded, 0.68) == delong(two_classes(s, b), 0.68)
    assert len(roc_curve(padded)) == len(roc_curve(two_classes(s, b)))


def test_infinite_scores_are_ordered():
    """A -inf background event below everything, a +inf signal event above everything."""
    assert auc(two_classes([np.inf, 1.0], [-np.inf, 0.0])) == 1.0
    assert auc(two_classes([-np.inf], [np.inf])) == 0.0
    assert auc(two_classes([np.inf, np.inf], [np.inf])) == 0.5
    curve = roc_curve(two_classes([np.inf, 0.0], [np.inf, -np.inf]))
    np.testing.assert_array_equal(curve.threshold, [np.inf, np.inf, 0.0, -np.inf])
    np.testing.assert_array_equal(curve.signal_efficiency, [0, 0.5, 1, 1])
    np.testing.assert_array_equal(curve.background_efficiency, [0, 0.5, 0.5, 1])


def test_all_tied_scores_know_nothing():
    classes = two_classes(np.ones(10), np.ones(20))
    assert auc(classes) == 0.5
    assert len(roc_curve(classes)) == 2


@pytest.mark.parametrize(
    ("signal", "background", "weight", "message"),
    [
        ([], [1.0], None, "needs signal events"),
        ([1.0], [], None, "needs background events"),
        ([1.0, np.nan, np.nan], [1.0], None, "2 of 3 scores of the signal are NaN"),
        ([1.0], [np.nan], None, "1 of 1 scores of the background are NaN"),
        ([1.0, 2.0], [1.0], [1.0, -0.5], "1 of 2 event weights of the signal are negative"),
        ([1.0, 2.0], [1.0], [1.0, np.inf], "1 of 2 event weights of the signal are not finite"),
        ([1.0, 2.0], [1.0], [0.0, 0.0], "all 2 event weights of the signal are 0"),
        ([1.0, 2.0], [1.0], [1.0], "equal length"),
    ],
)
def test_bad_input_is_a_data_error_that_counts(signal, background, weight, message):
    with pytest.raises(DataError, match=message):
        two_classes(signal, background, weight)


def test_thinning_keeps_the_area_exactly_where_it_is_without_loss():
    rng = np.random.default_rng(0)
    curve = roc_curve(two_classes(rng.normal(4, 1, 2000), rng.normal(0, 1, 2000)))
    small = thin(curve, 2000)
    assert len(small) < len(curve) / 2
    for c in (curve, small):
        area = np.trapezoid(c.signal_efficiency, c.background_efficiency)
        assert area == pytest.approx(np.trapezoid(curve.signal_efficiency, curve.background_efficiency), abs=1e-12)


def test_thinning_caps_the_points_and_keeps_working_points_and_ends():
    rng = np.random.default_rng(0)
    curve = roc_curve(two_classes(rng.normal(1, 1, 30_000), rng.normal(0, 1, 30_000)))
    small = thin(curve, 300, [0.0123])
    assert len(small) <= 310
    assert curve.threshold[curve.point_at(0.0123)] in small.threshold
    assert small.signal_efficiency[0] == 0
    assert small.signal_efficiency[-1] == 1
    grid = np.geomspace(1e-3, 1, 50)
    full = np.interp(grid, curve.background_efficiency, curve.signal_efficiency)
    np.testing.assert_allclose(np.interp(grid, small.background_efficiency, small.signal_efficiency), full, atol=0.01)

"""Mahalanobis distances against scipy and the chi-squared distribution; the covariance against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis
from scipy.stats import chi2, kstest
from sklearn.covariance import OAS

from honeyguide.errors import DataError
from honeyguide.evaluation.latent import fit_latent_gaussian

RNG = np.random.default_rng(1)
MIXING = RNG.normal(size=(4, 4)) + 2 * np.eye(4)


def draw(num_events: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_events, 4)) @ MIXING + [5.0, 0.0, -3.0, 100.0]


def test_distances_are_those_of_scipy():
    latents, others = draw(300), draw(20, seed=3) + 1.5
    fit = fit_latent_gaussian([latents])
    expected = [mahalanobis(x, fit.mean, np.linalg.inv(fit.covariance)) for x in others]
    np.testing.assert_allclose(fit.mahalanobis(others), expected, rtol=1e-9)
    np.testing.assert_allclose(fit.mean, latents.mean(0), rtol=1e-12)


@pytest.mark.parametrize("num_events", [2, 3, 20, 5000])
def test_the_covariance_is_that_of_scikit_learn(num_events):
    latents = draw(num_events)
    fit, expected = fit_latent_gaussian([latents]), OAS().fit(latents)
    np.testing.assert_allclose(fit.covariance, expected.covariance_, rtol=1e-7, atol=1e-9)
    assert fit.shrinkage == pytest.approx(expected.shrinkage_)
    assert np.isfinite(fit.mahalanobis(latents)).all()


def test_squares_follow_the_chi_squared_distribution_for_the_background_and_not_for_others():
    fit = fit_latent_gaussian([draw(20_000)])
    background = fit.mahalanobis(draw(2000, seed=4))
    assert kstest(background**2, chi2(4).cdf).pvalue > 0.01
    signal = fit.mahalanobis(draw(2000, seed=5) + 3 * MIXING[0])
    assert kstest(signal**2, chi2(4).cdf).pvalue < 1e-6
    assert np.mean(signal[:, None] > background[None, :]) > 0.8


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 200), max_size=6))
def test_blocks_do_not_matter(cuts):
    latents = draw(200).astype(np.float32)
    whole = fit_latent_gaussian([latents])
    parts = fit_latent_gaussian(iter(np.split(latents, sorted(cuts))))
    assert parts.num_events == 200
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-9, atol=1e-9)


def test_a_collapsed_dimension_does_not_break_it():
    latents = draw(1000)
    latents[:, 1] = 0.25
    distances = fit_latent_gaussian([latents]).mahalanobis(latents)
    assert kstest(distances**2, chi2(3).cdf).pvalue > 1e-3


def test_what_can_not_be_fitted_is_an_error():
    with pytest.raises(DataError, match="two events"):
        fit_latent_gaussian([])
    with pytest.raises(DataError, match="two events"):
        fit_latent_gaussian([draw(1), draw(0)])
    with pytest.raises(DataError, match="all latent vectors"):
        fit_latent_gaussian([np.ones((9, 3))])
    with pytest.raises(DataError, match="NaN"):
        fit_latent_gaussian([draw(5), np.full((1, 4), np.nan)])

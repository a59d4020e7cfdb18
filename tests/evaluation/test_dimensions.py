"""Active dimensions and divergences have known answers."""

from __future__ import annotations

import numpy as np
import pytest

from honeyguide.evaluation.dimensions import latent_dimensions


def test_variance_and_divergence_are_the_closed_forms() -> None:
    rng = np.random.default_rng(1)
    mean = rng.normal(size=(5000, 3)) * [2.0, 0.05, 0.5]
    sigma = np.full((5000, 3), [0.3, 1.0, 0.9])
    found = latent_dimensions(mean, sigma, active_variance=0.01)
    assert found.variance == pytest.approx(mean.var(axis=0))
    assert found.active.tolist() == [True, False, True]
    expected = 0.5 * (np.mean(mean**2, axis=0) + sigma[0] ** 2 - 1) - np.log(sigma[0])
    assert found.kl == pytest.approx(expected)


def test_posterior_that_is_the_prior_carries_nothing() -> None:
    found = latent_dimensions(np.zeros((50, 2)), np.ones((50, 2)), active_variance=0.01)
    assert not found.active.any()
    assert found.kl == pytest.approx([0, 0])
    assert found.most_correlated() is None


def test_threshold_of_a_plain_autoencoder_has_no_scale() -> None:
    rng = np.random.default_rng(2)
    latent = rng.normal(size=(1000, 3)) * [1.0, 0.3, 0.05]
    for scale in (1e-4, 1, 1e4):
        found = latent_dimensions(latent * scale, None, active_variance=0.01)
        assert found.active.tolist() == [True, True, False]
        assert found.kl is None


def test_dimensions_that_say_the_same_are_found() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 500))
    found = latent_dimensions(np.stack([x, y, -2 * x + 0.01 * y, 1e-3 * x], axis=1), None, active_variance=0.01)
    first, second, correlation = found.most_correlated() or (0, 0, 0.0)
    assert (first, second) == (0, 2)
    assert correlation == pytest.approx(-1, abs=1e-3)
    assert found.correlation == pytest.approx(np.corrcoef(np.stack([x, y, -2 * x + 0.01 * y, x])), abs=1e-9)

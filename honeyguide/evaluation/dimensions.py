"""Which dimensions of a latent space are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Latents = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Dimensions:
    """What each latent dimension does.

    Attributes:
        variance: Variance of the posterior mean over the events, (latent,).
        threshold: A dimension of a larger variance is active.
        kl: Mean divergence of the posterior from a unit Gaussian, (latent,); None without a posterior.
        correlation: Pearson's correlation of the means, (latent, latent); NaN for dimensions that do not vary.
    """

    variance: Floats
    threshold: float
    kl: Floats | None
    correlation: Floats

    @property
    def active(self) -> NDArray[np.bool_]:
        """Which dimensions are active, (latent,)."""
        return np.asarray(self.variance > self.threshold)

    def most_correlated(self) -> tuple[int, int, float] | None:
        """Returns the two active dimensions with the strongest correlation, and it; None where fewer are active."""
        active = np.flatnonzero(self.active)
        if len(active) < 2:
            return None
        strength = np.abs(self.correlation[np.ix_(active, active)])
        np.fill_diagonal(strength, -1)
        first, second = np.unravel_index(np.argmax(strength), strength.shape)
        i, j = int(active[first]), int(active[second])
        return i, j, float(self.correlation[i, j])


def latent_dimensions(mean: Latents, sigma: Latents | None, *, active_variance: float) -> Dimensions:
    """Returns the use of every latent dimension.

    A dimension u is active where Cov_x(E[u | x]) > 0.01, after Burda, Grosse and Salakhutdinov, arXiv:1509.00519,
    section 5.2. Without a posterior nothing sets the scale of the latents, and the threshold is relative to the
    dimension of the largest variance.

    Args:
        mean: Means of the posterior (num_events, latent); of a plain autoencoder, the latents.
        sigma: Standard deviations of the posterior, of the same shape; None without one.
        active_variance: The threshold.
    """
    values = np.asarray(mean, dtype=np.float64)
    variance = values.var(axis=0)
    if sigma is None:
        kl, threshold = None, active_variance * float(variance.max())
    else:
        squares = np.asarray(sigma, dtype=np.float64) ** 2
        kl, threshold = 0.5 * (values**2 + squares - 1 - np.log(squares)).mean(axis=0), active_variance
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = (values - values.mean(axis=0)) / np.sqrt(variance)
        correlation = scaled.T @ scaled / len(values)
    return Dimensions(variance, threshold, kl, correlation)

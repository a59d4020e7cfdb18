"""How far events lie from the background in a model's latent space."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from honeyguide.errors import DataError

Latents = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LatentGaussian:
    """A Gaussian that was fitted to latent vectors.

    Attributes:
        mean: Mean, (latent,).
        covariance: Covariance after shrinkage, (latent, latent).
        shrinkage: Share of the spherical covariance in it, from 0 to 1.
        num_events: Latent vectors that were fitted.
    """

    mean: Floats
    covariance: Floats
    shrinkage: float
    num_events: int

    def mahalanobis(self, latents: Latents) -> Floats:
        """Returns the Mahalanobis distance of each latent vector from the mean, shape (num_events,).

        For latents from the Gaussian itself, the square follows a chi-squared distribution of as many degrees of
        freedom as there are latent dimensions.
        """
        factor = cholesky(self.covariance, lower=True)
        offsets = np.asarray(latents, dtype=np.float64) - self.mean
        distance: Floats = np.linalg.norm(solve_triangular(factor, offsets.T, lower=True), axis=0)
        return distance


def fit_latent_gaussian(blocks: Iterable[Latents]) -> LatentGaussian:
    """Returns the Gaussian fitted to latent vectors that come in blocks of shape (num_events, latent).

    Blocks are merged exactly (Chan, Golub and LeVeque, 1983), so that no more than one is in memory. The covariance is
    shrunk towards a multiple of the unit matrix with the weight of arXiv:0907.4698 (the oracle-approximating shrinkage
    estimator, as scikit-learn has it): it vanishes for many events, and makes the covariance of few events, or one
    with collapsed dimensions, invertible.

    Raises:
        DataError: There are fewer than two latent vectors, they are all the same, or one is not finite.
    """
    count, mean, scatter = 0, np.zeros(0), np.zeros((0, 0))
    for block in blocks:
        values = np.asarray(block, dtype=np.float64)
        if not len(values):
            continue
        if not np.isfinite(values).all():
            raise DataError("a latent vector of the background is NaN or infinite", hint="has the training diverged?")
        if not count:
            mean, scatter = np.zeros(values.shape[1]), np.zeros((values.shape[1],) * 2)
        centre = values.mean(0)
        total, offset = count + len(values), centre - mean
        scatter += (values - centre).T @ (values - centre) + np.outer(offset, offset) * (count * len(values) / total)
        mean = mean + offset * (len(values) / total)
        count = total
    if count < 2:
        raise DataError("a distance in the latent space needs two events of the background", got=count)
    return _shrunk(mean, scatter / count, count)


def _shrunk(mean: Floats, covariance: Floats, count: int) -> LatentGaussian:
    num_dims = len(mean)
    variance = float(np.trace(covariance)) / num_dims
    if not variance > 0:
        raise DataError("all latent vectors of the background are the same", hint="the model's latent space is empty")
    squares = float(np.mean(covariance**2))
    # 0 / 0 for a covariance that is spherical already
    spread = (count + 1) * (squares - variance**2 / num_dims)
    shrinkage = min(1.0, (squares + variance**2) / spread) if spread > 0 else 1.0
    shrunk = (1 - shrinkage) * covariance + shrinkage * variance * np.eye(num_dims)
    return LatentGaussian(mean, shrunk, shrinkage, count)

"""Kullback-Leibler divergences of posteriors from their priors."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def gaussian_kl(
    mean: Float[Tensor, "batch latent"], log_variance: Float[Tensor, "batch latent"]
) -> Float[Tensor, " batch"]:
    """Returns KL(N(mean, exp(log_variance)) || N(0, 1)) summed over the latent axes, shape (batch,).

    Equation 10 of arXiv:1312.6114 with the sign turned: ``(mean² + exp(log_variance) - 1 - log_variance) / 2``.
    """
    # expm1 keeps the digits that exp(x) - 1 loses near the prior
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance).sum(-1)

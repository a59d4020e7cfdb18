"""Kullback-Leibler divergences of posteriors from their priors."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

LARGEST_CONCENTRATION = 1e8
"""Beyond it the divergence is a small difference of values that double precision no longer tells apart."""


def gaussian_kl(
    mean: Float[Tensor, "batch latent"], log_variance: Float[Tensor, "batch latent"]
) -> Float[Tensor, " batch"]:
    """Returns KL(N(mean, exp(log_variance)) || N(0, 1)) summed over the latent axes, shape (batch,).

    Equation 10 of arXiv:1312.6114 with the sign turned: ``(mean² + exp(log_variance) - 1 - log_variance) / 2``.
    """
    # expm1 keeps the digits that exp(x) - 1 loses near the prior
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance).sum(-1)


def laplace_bridge(
    mean: Float[Tensor, "batch latent"], log_variance: Float[Tensor, "batch latent"]
) -> Float[Tensor, "batch latent"]:
    """Returns the logarithm of the concentrations of the Dirichlet distribution that stands for softmax of a Gaussian.

    The Laplace approximation of a Dirichlet distribution in the softmax basis (arXiv:1703.01488, section 3.2), solved
    for its concentrations (arXiv:1901.02739): ``(1 - 2/K + exp(mean) sum(exp(-mean)) / K²) / variance`` for K >= 2
    latent dimensions. In double precision, as large concentrations need.
    """
    size = mean.shape[-1]
    mean, log_variance = mean.double(), log_variance.double()
    mixed = mean + torch.logsumexp(-mean, -1, keepdim=True) - 2 * math.log(size)
    constant = torch.full_like(mixed, math.log(1 - 2 / size) if size > 2 else -math.inf)
    return torch.logaddexp(constant, mixed) - log_variance


def dirichlet_kl(
    mean: Float[Tensor, "batch latent"], log_variance: Float[Tensor, "batch latent"], *, concentration: float
) -> Float[Tensor, " batch"]:
    """Returns KL(Dir(a) || Dir(concentration, ...)), shape (batch,), with a from :func:`laplace_bridge`.

    Args:
        mean: Mean of the Gaussian before the softmax.
        log_variance: Logarithm of its variance.
        concentration: Concentration of the symmetric prior; below 1 it prefers the corners, above 1 the middle.
    """
    a = laplace_bridge(mean, log_variance).clamp(max=math.log(LARGEST_CONCENTRATION)).exp()
    size, total = a.shape[-1], a.sum(-1)
    prior = math.lgamma(size * concentration) - size * math.lgamma(concentration)
    own = torch.lgamma(total) - torch.lgamma(a).sum(-1)
    expected_log = torch.digamma(a) - torch.digamma(total).unsqueeze(-1)
    return (own - prior + ((a - concentration) * expected_log).sum(-1)).to(mean.dtype)

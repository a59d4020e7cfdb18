"""The Gaussian KL divergence against torch.distributions and a Monte Carlo estimate."""

from __future__ import annotations

import torch
from torch.distributions import Normal, kl_divergence

from honeyguide.losses.kl import gaussian_kl


def test_agrees_with_torch_distributions():
    torch.manual_seed(1)
    mean, log_variance = 2 * torch.randn(50, 6, dtype=torch.float64), 3 * torch.randn(50, 6, dtype=torch.float64)
    expected = kl_divergence(Normal(mean, torch.exp(0.5 * log_variance)), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected)


def test_agrees_with_monte_carlo():
    torch.manual_seed(2)
    mean, log_variance = torch.tensor([[0.5, -1.0]]), torch.tensor([[-1.0, 0.7]])
    posterior, prior = Normal(mean, torch.exp(0.5 * log_variance)), Normal(0.0, 1.0)
    draws = posterior.sample((200_000,))
    estimates = (posterior.log_prob(draws) - prior.log_prob(draws)).sum(-1)
    error = estimates.std() / len(estimates) ** 0.5
    assert abs(estimates.mean() - gaussian_kl(mean, log_variance).item()) < 5 * error


def test_is_zero_at_the_prior_and_exact_near_it():
    assert gaussian_kl(torch.zeros(1, 3), torch.zeros(1, 3)).item() == 0
    # second order: log_variance² / 4; exp(x) - 1 - x in float32 would give 0 or noise
    tiny = torch.full((1, 1), 1e-3)
    torch.testing.assert_close(gaussian_kl(torch.zeros(1, 1), tiny), tiny[0] ** 2 / 4, rtol=2e-2, atol=0)

"""KL divergences against torch.distributions and Monte Carlo estimates."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Dirichlet, Normal, kl_divergence

from honeyguide.losses.kl import dirichlet_kl, gaussian_kl, laplace_bridge


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


@pytest.mark.parametrize("size", [2, 3, 15])
@pytest.mark.parametrize("concentration", [0.2, 1.0, 5.0])
def test_the_dirichlet_divergence_agrees_with_torch_distributions(size, concentration):
    torch.manual_seed(3)
    mean, log_variance = torch.randn(40, size), torch.randn(40, size)
    # the bridge as the papers write it, in other words than the code's
    shares = (1 - 2 / size + mean.exp() * (-mean).exp().sum(1, keepdim=True) / size**2).double()
    posterior = Dirichlet(shares / log_variance.double().exp())
    expected = kl_divergence(posterior, Dirichlet(torch.full((40, size), concentration, dtype=torch.float64)))
    value = dirichlet_kl(mean, log_variance, concentration=concentration)
    assert value.dtype == mean.dtype
    torch.testing.assert_close(value, expected.float(), rtol=1e-4, atol=1e-4)


def test_the_bridge_goes_there_and_back():
    # from concentrations to the Gaussian: equation of section 3.2 of arXiv:1703.01488
    torch.manual_seed(4)
    a = 0.5 + 20 * torch.rand(30, 6, dtype=torch.float64)
    mean = a.log() - a.log().mean(1, keepdim=True)
    variance = (1 - 2 / 6) / a + (1 / a).sum(1, keepdim=True) / 36
    torch.testing.assert_close(laplace_bridge(mean, variance.log()).exp(), a)


def test_the_dirichlet_divergence_is_zero_at_the_prior_and_finite_far_from_it():
    size, concentration = 6, 5.0
    variance = (1 - 1 / size) / concentration
    mean, log_variance = torch.zeros(1, size), torch.full((1, size), variance).log()
    torch.testing.assert_close(
        dirichlet_kl(mean, log_variance, concentration=concentration), torch.zeros(1), atol=1e-5, rtol=0
    )
    for spread, level in ((60.0, 0.0), (0.0, -30.0), (0.0, 30.0)):
        mean = torch.linspace(-spread, spread, size)[None].requires_grad_()
        log_variance = torch.full((1, size), level).requires_grad_()
        value = dirichlet_kl(mean, log_variance, concentration=concentration)
        value.sum().backward()
        assert torch.isfinite(value).all()
        assert value > 1
        assert torch.isfinite(mean.grad).all()
        assert torch.isfinite(log_variance.grad).all()

"""The maximum mean discrepancy against loops and Gaussian closed forms; the reversed gradient against autograd."""

from __future__ import annotations

import math

import pytest
import torch

from honeyguide.losses.invariance import maximum_mean_discrepancy, reverse_gradient


def kernel(a: torch.Tensor, b: torch.Tensor, bandwidths: list[float]) -> float:
    square = float((a - b).square().sum())
    return sum(math.exp(-square / (2 * h * h)) for h in bandwidths) / len(bandwidths)


def looped(x: torch.Tensor, y: torch.Tensor, bandwidths: list[float], *, unbiased: bool) -> float:
    def within(z: torch.Tensor) -> float:
        pairs = [(i, j) for i in range(len(z)) for j in range(len(z)) if i != j or not unbiased]
        return sum(kernel(z[i], z[j], bandwidths) for i, j in pairs) / len(pairs)

    between = sum(kernel(a, b, bandwidths) for a in x for b in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * between


def expected_kernel(shift: torch.Tensor, variance: float, bandwidth: float) -> float:
    """E exp(-|d|² / 2h²) for d ~ N(shift, variance): (h² / (h² + v))^(D/2) exp(-|shift|² / 2(h² + v))."""
    total = bandwidth**2 + variance
    return (bandwidth**2 / total) ** (len(shift) / 2) * math.exp(-float(shift.square().sum()) / (2 * total))


@pytest.mark.parametrize("unbiased", [True, False])
def test_agrees_with_a_loop_for_each_pair_of_generators(unbiased):
    torch.manual_seed(1)
    latent = torch.randn(14, 3, dtype=torch.float64) + 100
    # generator 1 has one event, generator 3 none
    generator = torch.tensor([0, 2, 4, 0, 2, 4, 0, 2, 4, 0, 2, 1, 0, 0])
    latent[generator == 2] += 0.7
    bandwidths = [0.5, 1.0, 3.0]
    taking_part = [0, 2, 4] if unbiased else [0, 1, 2, 4]
    groups = [latent[generator == code] for code in taking_part]
    pairs = [(a, b) for i, a in enumerate(groups) for b in groups[i + 1 :]]
    expected = sum(looped(a, b, bandwidths, unbiased=unbiased) for a, b in pairs) / len(pairs)
    found = maximum_mean_discrepancy(latent, generator, num_generators=6, bandwidths=bandwidths, unbiased=unbiased)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_an_event_of_weight_two_is_two_events_when_biased():
    torch.manual_seed(2)
    latent, generator = torch.randn(8, 2, dtype=torch.float64), torch.arange(8) % 2
    weight = torch.tensor([1.0, 2, 1, 3, 2, 1, 0, 1])
    times = weight.int()
    settings = {"num_generators": 2, "bandwidths": [1.0], "unbiased": False}
    weighted = maximum_mean_discrepancy(latent, generator, weight=weight, **settings)
    repeated = maximum_mean_discrepancy(
        latent.repeat_interleave(times, 0), generator.repeat_interleave(times), **settings
    )
    torch.testing.assert_close(weighted, repeated)


@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_the_closed_form_of_gaussians(weighted):
    torch.manual_seed(3)
    num_events, bandwidth, shift = 40, 1.3, torch.tensor([0.8, -0.4])
    variances = (1.0, 0.49)
    expected = (
        expected_kernel(torch.zeros(2), 2 * variances[0], bandwidth)
        + expected_kernel(torch.zeros(2), 2 * variances[1], bandwidth)
        - 2 * expected_kernel(shift, sum(variances), bandwidth)
    )
    generator = torch.arange(2 * num_events) // num_events
    values = []
    for _ in range(400):
        x = variances[0] ** 0.5 * torch.randn(num_events, 2)
        y = shift + variances[1] ** 0.5 * torch.randn(num_events, 2)
        weight = 0.2 + torch.rand(2 * num_events) if weighted else None
        values.append(
            maximum_mean_discrepancy(
                torch.cat([x, y]), generator, num_generators=2, bandwidths=[bandwidth], weight=weight
            )
        )
    found = torch.stack(values)
    error = float(found.std() / len(found) ** 0.5)
    assert error < expected / 40
    assert abs(found.mean().item() - expected) < 4 * error


def test_is_zero_within_its_error_for_equal_distributions_and_not_for_others():
    torch.manual_seed(4)
    generator = torch.arange(120) % 3
    equal = torch.stack(
        [maximum_mean_discrepancy(torch.randn(120, 4), generator, num_generators=3) for _ in range(200)]
    )
    assert abs(equal.mean()) < 4 * equal.std() / len(equal) ** 0.5
    assert (equal < 0).any()
    other = torch.randn(120, 4) + 0.8 * (generator == 1)[:, None]
    assert maximum_mean_discrepancy(other, generator, num_generators=3) > equal.max()
    same = torch.randn(40, 4).repeat(3, 1)
    biased = maximum_mean_discrepancy(same, torch.arange(120) // 40, num_generators=3, unbiased=False)
    assert abs(biased.item()) < 1e-6


def test_without_bandwidths_the_scale_of_the_latents_does_not_matter():
    torch.manual_seed(5)
    latent, generator = torch.randn(60, 3, requires_grad=True), torch.arange(60) % 2
    values = [maximum_mean_discrepancy(scale * latent, generator, num_generators=2) for scale in (1e-3, 1.0, 1e3)]
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-3)
    assert values[2].item() == pytest.approx(values[1].item(), rel=1e-3)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_batches_without_a_pair_are_zero_with_a_gradient(size):
    for latent in (torch.randn(size, 3), torch.zeros(size, 3)):
        latent.requires_grad_()
        for generator in (torch.zeros(size, dtype=torch.int64), torch.arange(size)):
            result = maximum_mean_discrepancy(latent, generator, num_generators=5)
            (gradient,) = torch.autograd.grad(result, latent)
            assert result == 0
            assert torch.equal(gradient, torch.zeros_like(latent))


def test_descent_brings_generators_together():
    torch.manual_seed(6)
    generator = torch.arange(200) % 2
    latent = torch.randn(200, 2)
    latent[:, 0] += 2 * generator
    shift = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([shift], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        maximum_mean_discrepancy(latent + shift * generator[:, None], generator, num_generators=2).backward()
        optimizer.step()
    apart = latent[generator == 1].mean(0) - latent[generator == 0].mean(0)
    assert apart[0] > 1.5
    torch.testing.assert_close(shift.detach(), -apart, rtol=0, atol=0.3)


@pytest.mark.parametrize("strength", [0.0, 1.0, 2.5])
def test_the_gradient_is_reversed_and_scaled(strength):
    torch.manual_seed(7)
    values = torch.randn(4, 3, requires_grad=True)
    passed = reverse_gradient(values, strength)
    assert torch.equal(passed, values)
    (plain,) = torch.autograd.grad((values.sin() ** 2).sum(), values)
    (found,) = torch.autograd.grad((passed.sin() ** 2).sum(), values)
    torch.testing.assert_close(found, -strength * plain)

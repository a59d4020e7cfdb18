"""Norms of weights against numpy; the earth mover's distance against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance
from torch import nn

from honeyguide.losses.regularisation import earth_movers_distance, l1_norm, squared_l2_norm


def test_norms_are_those_of_the_weights_without_biases_and_scales():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Conv1d(1, 2, 3))
    weights = np.concatenate([model[i].weight.detach().numpy().ravel() for i in (0, 2)])
    assert l1_norm(model.parameters()).item() == pytest.approx(np.abs(weights).sum(), rel=1e-6)
    assert squared_l2_norm(model.parameters()).item() == pytest.approx(np.square(weights).sum(), rel=1e-6)
    squared_l2_norm(model.parameters()).backward()
    torch.testing.assert_close(model[0].weight.grad, 2 * model[0].weight.detach())
    assert model[0].bias.grad is None


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), first=st.integers(1, 9), second=st.integers(1, 9))
def test_distance_is_that_of_scipy(seed, first, second):
    torch.manual_seed(seed)
    # rounded, so that values occur twice
    x, y = (torch.round(4 * torch.randn(5, n, dtype=torch.float64)) / 2 + 3 for n in (first, second))
    v, w = (torch.rand(5, n, dtype=torch.float64) * (torch.rand(5, n) < 0.7) for n in (first, second))
    plain = earth_movers_distance(x, y)
    weighted = earth_movers_distance(x, y, v, w)
    masked = earth_movers_distance(x, y, v > 0, w > 0)
    for i in range(5):
        assert plain[i].item() == pytest.approx(wasserstein_distance(x[i], y[i]), abs=1e-9)
        kept, others = v[i] > 0, w[i] > 0
        if not (kept.any() and others.any()):
            assert weighted[i] == masked[i] == 0
            continue
        assert weighted[i].item() == pytest.approx(wasserstein_distance(x[i], y[i], v[i], w[i]), abs=1e-9)
        assert masked[i].item() == pytest.approx(wasserstein_distance(x[i][kept], y[i][others]), abs=1e-9)


def test_what_has_no_weight_reaches_neither_distance_nor_gradient():
    mask = torch.tensor([[True, True, False], [False, False, False]])
    gradients, distances = [], []
    for padding in (0.0, 1e6, torch.nan, -torch.inf):
        first = torch.tensor([[100.0, 101.5, padding], [padding] * 3], requires_grad=True)
        second = torch.tensor([[103.0, 102.0, padding], [padding] * 3])
        distance = earth_movers_distance(first, second, mask, mask)
        (gradient,) = torch.autograd.grad(distance.sum(), first)
        distances.append(distance.detach())
        gradients.append(gradient)
    torch.testing.assert_close(distances[0], torch.tensor([1.75, 0.0]))
    torch.testing.assert_close(gradients[0], torch.tensor([[-0.5, -0.5, 0.0], [0.0, 0.0, 0.0]]))
    assert all(torch.equal(distance, distances[0]) for distance in distances)
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)


def test_several_columns_go_at_once():
    torch.manual_seed(2)
    x, y = torch.randn(4, 2, 5), torch.randn(4, 2, 6)
    torch.testing.assert_close(earth_movers_distance(x, y)[:, 1], earth_movers_distance(x[:, 1], y[:, 1]))

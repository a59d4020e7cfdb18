"""Optimizers as published, against their equations written out anew, and which parameters they treat how."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from honeyguide.errors import ConfigError
from honeyguide.training.optimizers import Lookahead, make_optimizer
from honeyguide.training.settings import TrainingSettings


def ranger_by_its_equations(start, gradients, *, rate, decay):
    """Returns the weights after each step: arXiv:1908.03265, algorithm 2, inside of arXiv:1907.08610, algorithm 1."""
    beta1, beta2, epsilon, every, share = 0.95, 0.999, 1e-5, 6, 0.5
    weights, slow = start.copy(), start.copy()
    first, second = np.zeros_like(start), np.zeros_like(start)
    longest = 2 / (1 - beta2) - 1
    path = []
    for step, gradient in enumerate(gradients, start=1):
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        mean = first / (1 - beta1**step)
        length = longest - 2 * step * beta2**step / (1 - beta2**step)
        weights = weights - rate * decay * weights
        if length >= 5:
            rectified = math.sqrt(
                (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length) * (1 - beta2**step)
            )
            weights = weights - rate * rectified * mean / (np.sqrt(second) + epsilon)
        else:
            weights = weights - rate * mean
        if step % every == 0:
            slow = slow + share * (weights - slow)
            weights = slow.copy()
        path.append(weights)
    return path


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_ranger_follows_its_equations(decay):
    rng = np.random.default_rng(3)
    start, gradients = rng.normal(size=4), rng.normal(size=(60, 4)) * rng.uniform(1e-6, 3, size=(60, 1))
    weight = nn.Parameter(torch.tensor(start))
    settings = TrainingSettings(optimizer="ranger", learning_rate=0.02, weight_decay=decay)
    optimizer = make_optimizer({"w": weight}, settings)
    assert settings.slow_steps is not None
    lookahead = Lookahead([weight], every=settings.slow_steps, share=settings.lookahead_share)
    for gradient, expected in zip(
        gradients, ranger_by_its_equations(start, gradients, rate=0.02, decay=decay), strict=True
    ):
        weight.grad = torch.tensor(gradient)
        optimizer.step()
        lookahead.step()
        np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=1e-9)


def test_no_other_optimizer_has_lookahead_of_its_own():
    assert TrainingSettings(optimizer="radam").slow_steps is None
    assert TrainingSettings(optimizer="ranger", lookahead_steps=3).slow_steps == 3


def small() -> dict[str, nn.Parameter]:
    shapes = {
        "layer.weight": (3, 2),
        "layer.bias": (3,),
        "norm.weight": (3,),
        "cls_token": (1, 1, 3),
        "head.weight": (2, 3),
    }
    return {name: nn.Parameter(torch.ones(shape)) for name, shape in shapes.items()}


def steps_of(parameters: dict[str, nn.Parameter], **settings) -> dict[str, float]:
    """Returns how far a step of gradient descent with a gradient of 1 goes, by parameter."""
    optimizer = make_optimizer(parameters, TrainingSettings(optimizer="sgd", momentum=0, learning_rate=0.1, **settings))
    for parameter in parameters.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {name: 1 - parameter.flatten()[0].item() for name, parameter in parameters.items()}


def test_weight_decay_may_spare_all_but_matrices():
    found = steps_of(small(), weight_decay=0.5, weight_decay_of="matrices")
    assert {name for name, step in found.items() if step > 0.1001} == {"layer.weight", "head.weight"}
    assert list(steps_of(small(), weight_decay=0.5).values()) == pytest.approx([0.15] * 5)


def test_learning_rates_by_the_first_name_that_fits():
    found = steps_of(small(), weight_decay=0, learning_rates={r"layer\.b": 3.0, "layer|head": 0.5})
    expected = {"layer.weight": 0.05, "layer.bias": 0.3, "norm.weight": 0.1, "cls_token": 0.1, "head.weight": 0.05}
    assert found == pytest.approx(expected)


def test_a_name_that_fits_nothing_is_an_error():
    with pytest.raises(ConfigError, match=r"(?s)no weight.*haed.*head"):
        steps_of(small(), learning_rates={"haed.weight": 2.0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "sgd", "betas": (0.9, 0.99)}, "betas"),
        ({"optimizer": "sgd", "epsilon": 1e-3}, "epsilon"),
        ({"scheduler": "linear"}, "scheduler_points"),
        ({"scheduler_points": ((0, 1),)}, "scheduler_points"),
        ({"scheduler": "linear", "scheduler_points": ((2, 1), (1, 2))}, "must rise"),
        ({"learning_rates": {"(": 2.0}}, "regular expression"),
    ],
)
def test_impossible_recipes_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        TrainingSettings(**settings)


def test_betas_and_epsilon_reach_the_optimizer():
    for name in ("adamw", "adam", "radam", "ranger"):
        settings = TrainingSettings(optimizer=name, betas=(0.8, 0.9), epsilon=1e-3)
        (group,) = make_optimizer({"w": nn.Parameter(torch.ones(2))}, settings).param_groups
        assert (group["betas"], group["eps"]) == ((0.8, 0.9), 1e-3)

"""Optimizers by name, and what may be done after each of their steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from honeyguide.training.settings import TrainingSettings

OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], Callable[[TrainingSettings], dict[str, Any]]]] = {
    "adamw": (torch.optim.AdamW, lambda _: {"fused": True}),
    "adam": (torch.optim.Adam, lambda _: {"fused": True}),
    "radam": (torch.optim.RAdam, lambda _: {}),
    "sgd": (torch.optim.SGD, lambda s: {"momentum": s.momentum, "nesterov": s.momentum > 0, "fused": True}),
    "rmsprop": (torch.optim.RMSprop, lambda s: {"momentum": s.momentum}),
    "adagrad": (torch.optim.Adagrad, lambda _: {}),
}
"""Class and further arguments by name. ``fused`` updates all parameters in one call per step."""


def make_optimizer(parameters: Iterable[Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    """Returns the optimizer that the settings name."""
    optimizer, options = OPTIMIZERS[settings.optimizer]
    return optimizer(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, **options(settings))


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Puts a state of the same optimizer back, which has been through JSON: its keys are text."""
    numbered = {int(key): value for key, value in state["state"].items()}
    optimizer.load_state_dict({"state": numbered, "param_groups": state["param_groups"]})


class Lookahead:
    """Slow weights that follow the optimizer's (arXiv:1907.08610).

    After every ``every`` steps the slow weights go ``share`` of the way to the optimizer's weights, which then begin
    anew from there.

    Args:
        parameters: What the optimizer changes.
        every: Steps of the optimizer per step of the slow weights, k in the paper.
        share: Share of the way, alpha in the paper.
    """

    def __init__(self, parameters: Iterable[Parameter], *, every: int, share: float) -> None:
        self._fast: list[Tensor] = list(parameters)
        self._slow = [parameter.detach().clone() for parameter in self._fast]
        self._every = every
        self._share = share
        self._steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """Is to be called after each step of the optimizer."""
        self._steps += 1
        if self._steps % self._every == 0:
            torch._foreach_lerp_(self._slow, self._fast, self._share)
            torch._foreach_copy_(self._fast, self._slow)

    def state_dict(self) -> dict[str, Any]:
        """Returns the slow weights and the number of steps."""
        return {"slow": list(self._slow), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts back what :meth:`state_dict` has returned."""
        _copy(self._slow, state["slow"])
        self._steps = state["steps"]


def _copy(to: list[Tensor], values: list[Tensor]) -> None:
    for tensor, value in zip(to, values, strict=True):
        tensor.copy_(value)

"""Optimizers by name, and what may be done after each of their steps."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from honeyguide.errors import ConfigError, nearest_name
from honeyguide.training.settings import TrainingSettings

Options = Callable[[TrainingSettings], dict[str, Any]]

OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], Options]] = {
    "adamw": (torch.optim.AdamW, lambda _: {"fused": True}),
    "adam": (torch.optim.Adam, lambda _: {"fused": True}),
    "radam": (torch.optim.RAdam, lambda _: {}),
    "ranger": (torch.optim.RAdam, lambda _: {"decoupled_weight_decay": True, "betas": (0.95, 0.999), "eps": 1e-5}),
    "sgd": (torch.optim.SGD, lambda s: {"momentum": s.momentum, "nesterov": s.momentum > 0, "fused": True}),
    "rmsprop": (torch.optim.RMSprop, lambda s: {"momentum": s.momentum}),
    "adagrad": (torch.optim.Adagrad, lambda _: {}),
}
"""Class and further arguments by name. ``fused`` updates all parameters in one call per step."""

_TOKENS = ("cls_token", "class_token")


def make_optimizer(parameters: Mapping[str, Parameter], settings: TrainingSettings) -> torch.optim.Optimizer:
    """Returns the optimizer that the settings name, for parameters by name.

    Parameters with the same learning rate and weight decay are one group, in the order in which they come; a group
    keeps the factor of its learning rate as ``factor``.

    Raises:
        ConfigError: An expression of ``learning_rates`` fits no parameter.
    """
    optimizer, options = OPTIMIZERS[settings.optimizer]
    given = {"betas": settings.betas, "eps": settings.epsilon}
    chosen = options(settings) | {name: value for name, value in given.items() if value is not None}
    return optimizer(_groups(parameters, settings), lr=settings.learning_rate, **chosen)


def _groups(parameters: Mapping[str, Parameter], settings: TrainingSettings) -> list[dict[str, Any]]:
    for pattern in settings.learning_rates:
        matching(pattern, parameters, where="training.learning_rates")
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in parameters.items():
        factors = (factor for pattern, factor in settings.learning_rates.items() if re.match(pattern, name))
        factor, decay = next(factors, 1.0), settings.weight_decay
        if settings.weight_decay_of == "matrices" and (parameter.ndim <= 1 or name.split(".")[-1] in _TOKENS):
            decay = 0.0
        empty: dict[str, Any] = {"params": [], "weight_decay": decay, "factor": factor}
        group = groups.setdefault((factor, decay), empty)
        group["lr"] = settings.learning_rate * factor
        group["params"].append(parameter)
    return list(groups.values())


def matching(pattern: str, names: Iterable[str], *, where: str) -> list[str]:
    """Returns the names that begin as the regular expression says.

    Raises:
        ConfigError: There are none.
    """
    names = list(names)
    found = [name for name in names if re.match(pattern, name)]
    if not found:
        raise ConfigError(
            "no weight of the model has a name that fits",
            where=where,
            got=pattern,
            nearest=nearest_name(pattern, names),
            hint=f"they begin with {', '.join(dict.fromkeys(name.split('.')[0] for name in names))}",
        )
    return found


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

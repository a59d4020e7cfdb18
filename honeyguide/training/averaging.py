"""An exponential moving average of the weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


class AveragedWeights:
    """Follows the weights of a model: after each step ``average = d average + (1 - d) weights``.

    ``d`` is ``min(decay, (1 + n) / (10 + n))`` in step n, from 0, so that the first weights are soon forgotten. Buffers
    (running means of normalisations) are not averaged a second time: those of the model are used.

    Args:
        weights: Those that are trained.
        decay: How much of the average stays in each step.
    """

    def __init__(self, weights: Iterable[Tensor], *, decay: float) -> None:
        self._weights: list[Tensor] = list(weights)
        self._average = [parameter.detach().clone() for parameter in self._weights]
        self._decay = decay
        self._steps = 0

    @torch.no_grad()
    def step(self) -> None:
        """Is to be called after each step."""
        decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
        torch._foreach_lerp_(self._average, self._weights, 1 - decay)
        self._steps += 1

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Gives the model the average for a block, and its own weights back after it."""
        own = [parameter.detach().clone() for parameter in self._weights]
        with torch.no_grad():
            torch._foreach_copy_(self._weights, self._average)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._weights, own)

    def state_dict(self) -> dict[str, Any]:
        """Returns the average and the number of steps."""
        return {"average": list(self._average), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts back what :meth:`state_dict` has returned."""
        for tensor, value in zip(self._average, state["average"], strict=True):
            tensor.copy_(value)
        self._steps = state["steps"]

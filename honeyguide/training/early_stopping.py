"""The best weights of a training, and when to stop looking for better ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class BestWeights:
    """Keeps a copy of the weights of the epoch with the lowest loss.

    Args:
        patience: Epochs without improvement after which :attr:`exhausted` is True; None for never.
        min_delta: How much lower the loss must be to count as an improvement for the patience.

    Attributes:
        waited: Epochs without improvement.
        epoch: Epoch of the best weights, from 0.
        loss: Lowest loss.
        weights: The best weights.
    """

    def __init__(self, patience: int | None, min_delta: float) -> None:
        self._patience = patience
        self._min_delta = min_delta
        self._reference = math.inf
        self.waited = 0
        self.epoch = -1
        self.loss = math.inf
        self.weights: dict[str, Tensor] = {}

    def update(self, epoch: int, loss: float, model: nn.Module) -> None:
        """Takes note of an epoch's loss, and of the weights if it is the lowest so far."""
        if loss < self.loss:
            self.epoch, self.loss = epoch, loss
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
        if loss < self._reference - self._min_delta:
            self._reference, self.waited = loss, 0
        else:
            self.waited += 1

    def state_dict(self) -> dict[str, Any]:
        """Returns the best weights and the counters."""
        return {
            "epoch": self.epoch,
            "loss": self.loss,
            "weights": self.weights,
            "reference": self._reference,
            "waited": self.waited,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts back what :meth:`state_dict` has returned."""
        self.epoch, self.loss, self.weights = state["epoch"], state["loss"], dict(state["weights"])
        self._reference, self.waited = state["reference"], state["waited"]

    @property
    def exhausted(self) -> bool:
        """Whether the patience is used up."""
        return self._patience is not None and self.waited >= self._patience

"""The learning rate as a function of what has been trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from honeyguide.training.settings import TrainingSettings

_SMALLEST_FACTOR = 1e-3  # of the first learning rate, for plateau
_FIRST_FACTOR = 1 / 25  # where one_cycle begins
_LAST_FACTOR = 4e-6  # where one_cycle ends
_DECAYED = 0.01  # where flat_decay ends


class Schedule:
    """Sets the optimizer's learning rate; this one never changes it."""

    def after_step(self) -> None:
        """Is told of each step of the optimizer."""

    def after_epoch(self, loss: float) -> None:
        """Is told of the monitored loss after each epoch."""

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as plain JSON types; the learning rate itself is in the optimizer's."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts a state back."""


def make_schedule(optimizer: torch.optim.Optimizer, settings: TrainingSettings, *, steps_per_epoch: int) -> Schedule:
    """Returns the schedule that the settings name; it has set the learning rate of the first step."""
    if settings.scheduler == "plateau":
        return Plateau(optimizer, settings)
    if settings.scheduler == "cosine":
        return Cosine(optimizer, num_epochs=settings.epochs)
    if settings.scheduler == "none":
        return Schedule()
    return ByStep(optimizer, factor_of(settings, steps_per_epoch=steps_per_epoch))


def factor_of(settings: TrainingSettings, *, steps_per_epoch: int) -> Callable[[int], float]:
    """Returns what the first learning rate is multiplied by, as a function of the number of steps before."""
    num_steps = settings.epochs * steps_per_epoch
    name, turn = settings.scheduler, settings.turn

    def factor(step: int) -> float:
        done = step / num_steps
        match name:
            case "warmup_cosine":
                # the first step has a rate above 0, the step after the warm-up the full rate
                return (step + 1) / (turn * num_steps + 1) if done < turn else _cosine(1, 0, (done - turn) / (1 - turn))
            case "one_cycle":
                if done < turn:
                    return _cosine(_FIRST_FACTOR, 1, done / turn)
                return _cosine(1, _LAST_FACTOR, (done - turn) / (1 - turn))
            case "flat_decay":
                return 1.0 if done < turn else _DECAYED ** ((done - turn) / (1 - turn))
            case "flat_decay_epochs":
                num_decays = max(1, math.floor(settings.epochs * (1 - turn) + 1e-9))
                num_flat = settings.epochs - num_decays
                return float(_DECAYED ** (max(0, step // steps_per_epoch - num_flat + 1) / num_decays))
            case "linear":
                epochs, factors = np.array(settings.scheduler_points).T
                return float(np.interp(step / steps_per_epoch, epochs, factors))
            case _:
                epoch = step // steps_per_epoch
                return settings.scheduler_factor ** sum(epoch >= start for start in settings.scheduler_steps)

    return factor


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * min(share, 1.0))) / 2


class ByStep(Schedule):
    """A learning rate that is known beforehand for every step."""

    def __init__(self, optimizer: torch.optim.Optimizer, factor: Callable[[int], float]) -> None:
        self._optimizer = optimizer  # and not its groups: loading a state makes others
        self._first = [group["lr"] for group in optimizer.param_groups]
        self._factor = factor
        self._step = 0
        self._set()

    def _set(self) -> None:
        factor = self._factor(self._step)
        for group, first in zip(self._optimizer.param_groups, self._first, strict=True):
            group["lr"] = first * factor

    def after_step(self) -> None:
        """Sets the rate of the next step."""
        self._step += 1
        self._set()

    def state_dict(self) -> dict[str, Any]:
        """Returns the number of steps."""
        return {"step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts the number of steps back."""
        self._step = state["step"]


class Cosine(Schedule):
    """Half a cosine from the first rate to 0, constant within an epoch.

    Each rate comes from the one before, as in torch's CosineAnnealingLR, whose rates these are to the last bit.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, num_epochs: int) -> None:
        self._optimizer = optimizer
        self._num_epochs = num_epochs
        self._epoch = 0

    def after_epoch(self, loss: float) -> None:
        """Sets the rate of the next epoch."""
        del loss
        self._epoch += 1
        now, before = (1 + math.cos(math.pi * epoch / self._num_epochs) for epoch in (self._epoch, self._epoch - 1))
        for group in self._optimizer.param_groups:
            group["lr"] = now / before * group["lr"]

    def state_dict(self) -> dict[str, Any]:
        """Returns the number of epochs."""
        return {"epoch": self._epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts the number of epochs back."""
        self._epoch = state["epoch"]


class Plateau(Schedule):
    """A learning rate that falls when the loss does not."""

    def __init__(self, optimizer: torch.optim.Optimizer, settings: TrainingSettings) -> None:
        self._plateau = ReduceLROnPlateau(
            optimizer,
            factor=settings.scheduler_factor,
            patience=settings.scheduler_patience,
            min_lr=[_SMALLEST_FACTOR * group["lr"] for group in optimizer.param_groups],
        )

    def after_epoch(self, loss: float) -> None:
        """Lowers the rate if the patience is used up."""
        self._plateau.step(loss)

    def state_dict(self) -> dict[str, Any]:
        """Returns the best loss and how long ago it was."""
        state: dict[str, Any] = self._plateau.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts them back."""
        self._plateau.load_state_dict(dict(state))

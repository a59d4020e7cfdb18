"""Optimizers and learning rate schedules by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn import Parameter
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, ReduceLROnPlateau

from honeyguide.training.settings import TrainingSettings

_SMALLEST_FACTOR = 1e-3  # of the first learning rate

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


def make_schedule(optimizer: torch.optim.Optimizer, settings: TrainingSettings) -> Callable[[float], None]:
    """Returns a function to call after each epoch with the monitored loss; it sets the learning rate."""
    if settings.scheduler == "plateau":
        plateau = ReduceLROnPlateau(
            optimizer,
            factor=settings.scheduler_factor,
            patience=settings.scheduler_patience,
            min_lr=_SMALLEST_FACTOR * settings.learning_rate,
        )
        return plateau.step
    if settings.scheduler == "cosine":
        cosine: LRScheduler = CosineAnnealingLR(optimizer, T_max=settings.epochs)
        return lambda _: cosine.step()
    return lambda _: None

"""Attacks: changes of the inputs, within limits, for which a model's loss grows."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from honeyguide.data.batch import Batch
from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.noise import EventNoise
from honeyguide.errors import ConfigError, nearest_name
from honeyguide.nn.model import Model
from honeyguide.training.adversarial_settings import AttackSettings

Draw = Callable[[int, Tensor], Tensor]
"""Uniform random numbers in [0, 1) with the shape of a tensor, which has a number among those that are attacked."""


class Attack:
    """FGSM (arXiv:1412.6572) or PGD in the box of allowed changes (arXiv:1706.06083).

    Args:
        model: What is attacked: a classifier or a regression.
        settings: Kind and size of the attack.
        where: Section of the settings, for errors.

    Raises:
        ConfigError: There is nothing to attack, or a factor names no column.
    """

    def __init__(self, model: Model, settings: AttackSettings, *, where: str) -> None:
        if model.is_detector:
            raise ConfigError("an attack needs a truth that it hides, and this model learns none", where=where)
        self._model = model
        self._settings = settings
        device = next(model.parameters()).device
        self._factors = {key: f.to(device) for key, f in _factors(model.spec, settings, where=where).items()}

    def __call__(self, batch: Batch, loss: Callable[[Batch], Tensor], *, draw: Draw | None = None) -> Batch:
        """Returns the batch with attacked inputs; its weights are as they were, and so is the model.

        The gradients are those of the model in evaluation mode: dropout is off, and normalisations use their running
        means and leave them alone.

        Args:
            batch: Rows with a truth or targets; each is attacked as if it had weight 1.
            loss: Mean loss of a batch.
            draw: Random start of PGD; None for torch's generator.
        """
        tensors = replace(batch, weight=torch.ones_like(batch.weight)).tensors()
        limits = {name: self._limit(name, tensors) for name in self._factors}
        step = self._step(limits)
        changes = {name: torch.zeros_like(limit) for name, limit in limits.items()}
        if self._settings.attack == "pgd":
            drawn = draw or _draw
            changes = {n: (2 * drawn(i, limit) - 1) * limit for i, (n, limit) in enumerate(limits.items())}
        with _evaluation(self._model), torch.enable_grad():
            for _ in range(self._settings.steps if self._settings.attack == "pgd" else 1):
                moved = {name: (tensors[name] + changes[name]).requires_grad_() for name in limits}
                total = loss(Batch.from_tensors(tensors | moved)) * len(batch)  # of each row, however many there are
                gradients = torch.autograd.grad(total, list(moved.values()), allow_unused=True)
                for (name, limit), gradient in zip(limits.items(), gradients, strict=True):
                    if gradient is not None:
                        changes[name] = (changes[name] + step[name] * gradient.sign()).clamp(-limit, limit)
        own = batch.tensors()
        return Batch.from_tensors(own | {name: own[name] + change for name, change in changes.items()})

    def _limit(self, name: str, tensors: Mapping[str, Tensor]) -> Tensor:
        """Returns the largest change of every value, 0 where it stays."""
        values = tensors[name]
        limit = (self._settings.epsilon * self._factors[name]).expand_as(values)
        if self._settings.relative_limit is not None:
            limit = torch.minimum(limit, self._settings.relative_limit * values.abs())
        mask = tensors.get("mask" if name == "objects" else name.replace("/features", "/mask"))
        return limit if name == "event" or mask is None else limit.masked_fill(~mask.unsqueeze(-1), 0)

    def _step(self, limits: Mapping[str, Tensor]) -> dict[str, Tensor]:
        settings = self._settings
        if settings.attack == "fgsm":
            return dict(limits)
        size = settings.step_size or 2.5 * settings.epsilon / settings.steps
        return {name: size * self._factors[name] for name in limits}


def _factors(spec: InputSpec, settings: AttackSettings, *, where: str) -> dict[str, Tensor]:
    """Returns what epsilon is multiplied by, for each column of the tensors of a batch that can be attacked."""
    parts: dict[str, tuple[str, tuple[Column, ...]]] = {
        "objects": ("", spec.columns),
        "event": ("", spec.event_columns),
    }
    parts |= {f"{item.name}/features": (f"{item.name}/", item.columns) for item in spec.sets}
    factors = {
        key: {prefix + column.name: float(column.kind == "continuous") for column in columns}
        for key, (prefix, columns) in parts.items()
    }
    names = [name for found in factors.values() for name, factor in found.items() if factor]
    for name in settings.factors:
        if name not in names:
            raise ConfigError(
                f"'{name}' is no continuous column of the inputs",
                where=f"{where}.factors",
                nearest=nearest_name(name, names),
                allowed=", ".join(names),
            )
    chosen = {
        key: torch.tensor([settings.factors.get(name, 1.0) * factor for name, factor in found.items()])
        for key, found in factors.items()
        if any(found.values())
    }
    if not any(factor.any() for factor in chosen.values()):
        raise ConfigError("no column of the inputs is left to be attacked", where=where)
    return chosen


def _draw(number: int, like: Tensor) -> Tensor:
    del number
    return torch.rand_like(like)


def drawn_by_event(batch: Batch) -> Draw:
    """Returns random numbers that an event has in any batch."""
    return lambda number, like: EventNoise(batch.event_id, draw=number).uniform(*like.shape[1:]).to(like.dtype)


@contextlib.contextmanager
def _evaluation(model: Model) -> Iterator[None]:
    """Puts the model into evaluation mode for a block; but for recurrent layers, which have gradients in training mode
    alone on a GPU and do the same in both.
    """
    training = model.training
    model.eval()
    for module in model.modules():
        if isinstance(module, nn.RNNBase) and not module.dropout:
            module.train()
    try:
        yield
    finally:
        model.train(training)

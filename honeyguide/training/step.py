"""One step of a training: gradients of a batch, and what is done with them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from honeyguide.data.batch import Batch
from honeyguide.nn.model import Model
from honeyguide.training.adversarial import Attack
from honeyguide.training.averaging import AveragedWeights
from honeyguide.training.loss import WeightedLoss
from honeyguide.training.optimizers import Lookahead, make_optimizer, restore_optimizer
from honeyguide.training.ranks import Ranks
from honeyguide.training.schedules import make_schedule
from honeyguide.training.settings import TrainingSettings


class Stepper:
    """Makes the steps, and holds all that they change beside the model.

    No step waits for the device (in fp16 with ``adamw``, ``adam`` or ``sgd``; the others look at each step whether a
    gradient has overflowed).

    Args:
        model: What is trained.
        loss: The loss of a batch.
        settings: How to train.
        steps_per_epoch: Number of steps in an epoch.
        ranks: The processes that make the steps together.
    """

    def __init__(
        self,
        model: Model,
        loss: WeightedLoss,
        settings: TrainingSettings,
        *,
        steps_per_epoch: int,
        ranks: Ranks,
    ) -> None:
        self._loss = loss
        self._ranks = ranks
        trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        self._parameters = list(trained.values())
        self._accumulate = settings.accumulate
        self._clip = settings.gradient_clip
        self._attack: Attack | None = None
        if settings.adversarial is not None:
            self._attack = Attack(model, settings.adversarial, where="training.adversarial")
            self._attacked = settings.adversarial.share
        self.optimizer = make_optimizer(trained, settings)
        self._factor: float = self.optimizer.param_groups[0]["factor"]
        self.schedule = make_schedule(self.optimizer, settings, steps_per_epoch=steps_per_epoch)
        self._scaler = torch.amp.GradScaler(loss.device.type, enabled=settings.precision == "fp16")
        self._lookahead: Lookahead | None = None
        if settings.slow_steps is not None:
            self._lookahead = Lookahead(self._parameters, every=settings.slow_steps, share=settings.lookahead_share)
        self._average: AveragedWeights | None = None
        if settings.ema_decay is not None:
            self._average = AveragedWeights(self._parameters, decay=settings.ema_decay)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step, before any factor of ``learning_rates``."""
        rate: float = self.optimizer.param_groups[0]["lr"] / self._factor
        return rate

    def step(self, batch: Batch, num_events: int) -> dict[str, Tensor]:
        """Returns every term, their sum as ``total`` and ``gradient_norm``, after changing the weights.

        Args:
            batch: This process's part of the batch; the terms are the means of this part.
            num_events: Events in the whole batch, of which the weights follow the gradient.
        """
        self.optimizer.zero_grad(set_to_none=True)
        terms = self._backward(batch, num_events)
        self._scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        if self._clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self._parameters, self._clip, norm)
        self._scaler.step(self.optimizer)
        self._scaler.update()
        if self._scaler.is_enabled():  # a gradient that overflows is part of looking for the scale: no step was made
            norm = torch.nan_to_num(norm, nan=0.0, posinf=0.0)
        for follower in (self._lookahead, self._average):
            if follower is not None:
                follower.step()
        self.schedule.after_step()
        return {**terms, "gradient_norm": norm}

    def _backward(self, batch: Batch, num_events: int) -> dict[str, Tensor]:
        """Returns the terms of this process's events; the gradients are those of the whole batch."""
        size, own = self._ranks.size, self._ranks.num_own(num_events)
        sums: dict[str, Tensor] = {}
        # as many parts in every process, even where one has an event less
        parts = split_batch(batch, min(self._accumulate, max(1, num_events // size)))
        for number, part in enumerate(parts, start=1):
            # gradients are averaged over the processes, so each one's events count by their number; a lent one does not
            share = min(len(part), own) * size / num_events
            terms = self._backward_part(part, share, exchange=number == len(parts))
            for name, value in terms.items():
                term = _times(value, len(part) / len(batch))
                sums[name] = term + sums[name] if number > 1 else term
        return sums

    def _backward_part(self, part: Batch, share: float, *, exchange: bool) -> dict[str, Tensor]:
        """Returns the terms of a part of a batch, of clean and attacked rows in their proportion."""
        kinds = [(part, 1.0)]
        if self._attack is not None:
            attacked = self._attack(part, self._loss.plain)
            kinds = [(part, 1 - self._attacked), (attacked, self._attacked)][self._attacked == 1 :]
        sums: dict[str, Tensor] = {}
        for number, (rows, weight) in enumerate(kinds, start=1):
            with contextlib.nullcontext() if exchange and number == len(kinds) else self._loss.without_exchange():
                terms = self._loss(rows)
                self._scaler.scale(_times(terms["total"], share * weight)).backward()  # type: ignore[no-untyped-call]
            for name, value in terms.items():
                term = _times(value.detach(), weight)
                sums[name] = term + sums[name] if number > 1 else term
        return sums

    def averaged(self) -> AbstractContextManager[None]:
        """Returns a context in which the model has the weights that are validated and kept."""
        return contextlib.nullcontext() if self._average is None else self._average.applied()

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of everything, as nested mappings of tensors and plain values."""
        return {name: part.state_dict() for name, part in self._parts().items()} | {
            "optimizer": self.optimizer.state_dict()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts back what :meth:`state_dict` has returned."""
        restore_optimizer(self.optimizer, state["optimizer"])
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"schedule": self.schedule, "lookahead": self._lookahead, "average": self._average}
        if self._scaler.is_enabled():
            parts["scaler"] = self._scaler
        return {name: part for name, part in parts.items() if part is not None}


def _times(value: Tensor, share: float) -> Tensor:
    return value if share == 1 else share * value


def split_batch(batch: Batch, number: int) -> list[Batch]:
    """Returns the batch in at most ``number`` consecutive parts of equal size within one event, none of them empty."""
    number = min(number, len(batch))
    if number <= 1:
        return [batch]
    edges = [part * len(batch) // number for part in range(number + 1)]
    return list(itertools.starmap(batch.rows, itertools.pairwise(edges)))

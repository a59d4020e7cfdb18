"""The loss of a batch: the model's terms and their weighted sum, in the precision that is asked for."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Literal

import torch
from torch import Tensor

from honeyguide.data.batch import Batch
from honeyguide.errors import ConfigError, ModelError
from honeyguide.nn.model import Model, weighted_sum
from honeyguide.training.parallel import distribute

Precision = Literal["fp32", "bf16", "fp16"]
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class WeightedLoss:
    """Computes the terms of a batch and, as ``total``, their weighted sum.

    Args:
        model: What has the terms.
        weights: Weight of each term.
        precision: Type of the network's matrix products; weights and their updates are float32 in any case.
        compiled: Whether to let torch compile the model's loss; where that can't be, a warning says so.
        distributed: Whether gradients are averaged over the processes that train together.

    Raises:
        ConfigError: The device can't train in that precision.
    """

    def __init__(
        self,
        model: Model,
        *,
        weights: Mapping[str, float],
        precision: Precision = "fp32",
        compiled: bool = False,
        distributed: bool = False,
    ) -> None:
        self.weights = dict(weights)
        self._model = model
        self._values = model.annealable
        self.device = next(model.parameters()).device
        if precision == "fp16" and self.device.type != "cuda":
            raise ConfigError(
                "only a GPU trains in fp16",
                where="training.precision",
                got=f"device {self.device}",
                allowed="fp32, bf16",
            )
        self._type = _TYPES.get(precision)
        self._function: Callable[[Batch], dict[str, Tensor]] = model.loss
        if compiled:
            self._function = _Compiled(model.loss)
        self._wrapped = distribute(model, self._function) if distributed else None

    @property
    def values(self) -> dict[str, float]:
        """Weight of each term, and each further value of the model that can be annealed."""
        return self.weights | self._values

    @values.setter
    def values(self, values: Mapping[str, float]) -> None:
        self.weights = {name: values[name] for name in self.weights}
        self._values = {name: values[name] for name in self._model.annealable}
        self._model.anneal(self._values)

    def plain(self, batch: Batch) -> Tensor:
        """Returns ``total`` of a batch, in this process alone and not compiled: for gradients of the inputs."""
        with torch.autocast(self.device.type, self._type) if self._type else contextlib.nullcontext():
            terms = self._model.loss(batch)
        return weighted_sum(terms, self.weights)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the mean of every term over the batch, and ``total``.

        Raises:
            ModelError: The terms are not those that have weights.
        """
        autocast = torch.autocast(self.device.type, self._type) if self._type else contextlib.nullcontext()
        function = self._function if self._wrapped is None or not torch.is_grad_enabled() else self._wrapped
        with autocast:
            terms = function(batch)
        if set(terms) != set(self.weights):
            raise ModelError(
                "the model's loss terms are not those of its config",
                got=", ".join(terms),
                allowed=", ".join(self.weights),
            )
        if self._type is not None:
            terms = {name: value.float() for name, value in terms.items()}
        return {**terms, "total": weighted_sum(terms, self.weights)}

    def without_exchange(self) -> AbstractContextManager[None]:
        """Returns a context in which gradients stay in this process, to be averaged with those that are added later."""
        exchange: AbstractContextManager[None] = contextlib.nullcontext()
        return exchange if self._wrapped is None else self._wrapped.no_sync()


class _Compiled:
    """A loss that torch compiles at its first batch, where it can."""

    def __init__(self, function: Callable[[Batch], dict[str, Tensor]]) -> None:
        self._plain = function
        self._function: Callable[[Batch], dict[str, Tensor]] = torch.compile(function)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        if self._function is self._plain:
            return self._plain(batch)
        try:
            return self._function(batch)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            warnings.warn(f"torch.compile does not work here, the training goes on without it: {reason}", stacklevel=2)
            self._function = self._plain
            return self._plain(batch)

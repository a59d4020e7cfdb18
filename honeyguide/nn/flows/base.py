"""What all flows share: a chain of steps, and the log-determinant of the whole chain."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

Parameters = TypeVar("Parameters")

SMALL = 0.01
"""What an amplitude's initial weights are multiplied by: small enough to begin near the identity, and not at 0, where
the gradient of all that the amplitude multiplies would vanish."""


class Flow(nn.Module, ABC, Generic[Parameters]):
    """A chain of invertible maps of the latent space that depend on a context, e.g. the encoder's hidden features.

    Every flow begins near the identity (a reflection begins as one, but pairs of them cancel).

    Args:
        dim: Dimensions of the latent space.
        num_steps: Maps in the chain.

    Attributes:
        alternates: Odd steps see the axes of the latent space in reverse order, so that every axis can depend on every
            other one where a step alone is triangular.
    """

    alternates: ClassVar[bool] = False

    def __init__(self, dim: int, *, num_steps: int) -> None:
        super().__init__()
        self.dim = dim
        self.num_steps = num_steps

    @abstractmethod
    def step_parameters(self, context: Float[Tensor, "batch context"]) -> Sequence[Parameters]:
        """Returns what each step needs to know of the context."""

    @abstractmethod
    def step(
        self, z: Float[Tensor, "batch latent"], parameters: Parameters
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, " batch"]]:
        """Returns z after one step, and the log-determinant of the step."""

    def forward(
        self, z: Float[Tensor, "batch latent"], context: Float[Tensor, "batch context"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, " batch"]]:
        """Returns z after all steps, and the logarithm of the absolute determinant of its Jacobian, shape (batch,)."""
        log_det = z.new_zeros(len(z))
        for index, parameters in enumerate(self.step_parameters(context)):
            z, change = self.step(self._ordered(z, index), parameters)
            z, log_det = self._ordered(z, index), log_det + change
        return z, log_det

    def _ordered(self, z: Tensor, index: int) -> Tensor:
        return z.flip(1) if self.alternates and index % 2 else z


class InvertibleFlow(Flow[Parameters]):
    """A flow whose inverse has a closed form."""

    @abstractmethod
    def step_inverse(self, z: Float[Tensor, "batch latent"], parameters: Parameters) -> Float[Tensor, "batch latent"]:
        """Returns what :meth:`step` maps to z."""

    def inverse(
        self, z: Float[Tensor, "batch latent"], context: Float[Tensor, "batch context"]
    ) -> Float[Tensor, "batch latent"]:
        """Returns what :meth:`forward` maps to z."""
        for index, parameters in reversed(list(enumerate(self.step_parameters(context)))):
            z = self._ordered(self.step_inverse(self._ordered(z, index), parameters), index)
        return z


class Amortiser(nn.Module):
    """One linear map from the context to the parameters of all steps.

    Args:
        context_dim: Values of the context.
        num_steps: Steps of the flow.
        sizes: How many values each parameter of a step has, in order.
        num_amplitudes: How many of the first values of a step are amplitudes, at 0 of which the step is the identity.
    """

    def __init__(self, context_dim: int, *, num_steps: int, sizes: Sequence[int], num_amplitudes: int) -> None:
        super().__init__()
        self.num_steps = num_steps
        self.sizes = list(sizes)
        self.linear = nn.Linear(context_dim, num_steps * sum(sizes))
        with torch.no_grad():
            for values in (self.linear.weight, self.linear.bias):
                values.view(num_steps, sum(sizes), *values.shape[1:])[:, :num_amplitudes] *= SMALL

    def forward(self, context: Float[Tensor, "batch context"]) -> Sequence[Float[Tensor, "batch _"]]:
        """Returns the parameters of each step, joined."""
        parameters: Tensor = self.linear(context)
        return parameters.chunk(self.num_steps, dim=1)

    def split(self, parameters: Float[Tensor, "batch _"]) -> Sequence[Float[Tensor, "batch _"]]:
        """Returns the single parameters of a step."""
        return torch.split(parameters, self.sizes, dim=1)


def above_minus_one(values: Tensor) -> Tensor:
    """Returns a smooth monotone map of the real numbers to those above -0.999 that keeps 0 where it is.

    Where a step's Jacobian has the eigenvalue 1 + x, it stays positive and its logarithm finite.
    """
    log_expm1_of_1 = 0.5413248546129181
    return (nn.functional.softplus(values + log_expm1_of_1) - 1) * 0.999

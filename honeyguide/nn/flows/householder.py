"""Householder flows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from honeyguide.nn.flows.base import SMALL, Amortiser, InvertibleFlow


def reflect(z: Float[Tensor, "batch latent"], normal: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch latent"]:
    """Returns z mirrored at the plane with this normal vector, of any length: (1 - 2 v vᵀ / |v|²) z."""
    unit = functional.normalize(normal, dim=-1)
    return z - 2 * unit * (unit * z).sum(-1, keepdim=True)


class HouseholderFlow(InvertibleFlow[Tensor]):
    """Reflections, arXiv:1611.09630: they turn the axes of a posterior and keep its volume, so log-determinants are 0.

    A reflection is never near the identity, but two equal ones are: steps begin as pairs, nearly equal.
    """

    def __init__(self, dim: int, *, context_dim: int, num_steps: int) -> None:
        super().__init__(dim, num_steps=num_steps)
        self.amortiser = Amortiser(context_dim, num_steps=num_steps, sizes=(dim,), num_amplitudes=0)
        with torch.no_grad():
            for values in (self.amortiser.linear.weight, self.amortiser.linear.bias):
                steps = values.view(num_steps, dim, *values.shape[1:])
                steps[1::2] = steps[: num_steps - 1 : 2] + SMALL * steps[1::2]

    def step_parameters(self, context: Float[Tensor, "batch context"]) -> Sequence[Float[Tensor, "batch _"]]:
        """Returns the normal vector of each reflection."""
        parameters: Sequence[Tensor] = self.amortiser(context)
        return parameters

    def step(
        self, z: Float[Tensor, "batch latent"], parameters: Float[Tensor, "batch _"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, " batch"]]:
        """Returns z mirrored, and zeros."""
        return reflect(z, parameters), z.new_zeros(len(z))

    def step_inverse(
        self, z: Float[Tensor, "batch latent"], parameters: Float[Tensor, "batch _"]
    ) -> Float[Tensor, "batch latent"]:
        """Returns z mirrored again."""
        return reflect(z, parameters)

"""Planar flows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from honeyguide.nn.flows.base import Amortiser, Flow, above_minus_one


class PlanarFlow(Flow[Tensor]):
    """z' = z + u tanh(w·z + b), equation 10 of arXiv:1505.05770, with w·u > -1 as in its appendix A.1.

    There, u is moved along w so that w·u becomes softplus(w·u) - 1; here, so that it becomes a function that keeps 0 at
    0, with which u = 0 is the identity.
    """

    def __init__(self, dim: int, *, context_dim: int, num_steps: int) -> None:
        super().__init__(dim, num_steps=num_steps)
        self.amortiser = Amortiser(context_dim, num_steps=num_steps, sizes=(dim, dim, 1), num_amplitudes=dim)

    def step_parameters(self, context: Float[Tensor, "batch context"]) -> Sequence[Float[Tensor, "batch _"]]:
        """Returns u, w and b of each step."""
        parameters: Sequence[Tensor] = self.amortiser(context)
        return parameters

    def step(
        self, z: Float[Tensor, "batch latent"], parameters: Float[Tensor, "batch _"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, " batch"]]:
        """Returns z after one step, and the log-determinant: log(1 + tanh'(w·z + b) w·u)."""
        u, w, b = self.amortiser.split(parameters)
        projection = (u * w).sum(1, keepdim=True)
        allowed = above_minus_one(projection)
        u = u + (allowed - projection) * w / w.square().sum(1, keepdim=True).clamp(min=1e-12)
        activation = torch.tanh((w * z).sum(1, keepdim=True) + b)
        return z + u * activation, torch.log1p((1 - activation.square()) * allowed).squeeze(1)

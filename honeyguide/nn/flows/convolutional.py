"""Convolutional flows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from honeyguide.nn.flows.base import Amortiser, InvertibleFlow, above_minus_one

SLOPE = 0.01


class ConvolutionalFlow(InvertibleFlow[Tensor]):
    """z' = z + u · leaky_relu(w * z + b), dilated 1-D convolutions over the latent axes, arXiv:1711.02255.

    A block has one convolution for each dilation 1, 2, 4, ... up to ``dim``; blocks see the axes in turn in either
    order. A convolution sees an axis and those after it, so the Jacobian is triangular with 1 + leaky_relu'(..) u w₀.
    w₀ is 1: leaky ReLU is homogeneous, so u can hold the scale of w; then u > -1 is all that the inverse needs.

    Args:
        dim: Dimensions of the latent space.
        context_dim: Values of the context.
        num_steps: Blocks.
        kernel: Values that a convolution sees.
    """

    alternates = True
    places: Tensor

    def __init__(self, dim: int, *, context_dim: int, num_steps: int, kernel: int) -> None:
        super().__init__(dim, num_steps=num_steps)
        dilations = [2**power for power in range(dim.bit_length())]
        self.num_layers = len(dilations)
        sizes = [dim] * self.num_layers + [kernel - 1, 1] * self.num_layers
        self.amortiser = Amortiser(context_dim, num_steps=num_steps, sizes=sizes, num_amplitudes=dim * self.num_layers)
        places = torch.stack([torch.arange(dim)[:, None] + d * torch.arange(1, kernel) for d in dilations])
        # the place after the last axis holds the zero that stands for all axes beyond the end
        self.register_buffer("places", places.clamp(max=dim), persistent=False)

    def step_parameters(self, context: Float[Tensor, "batch context"]) -> Sequence[Float[Tensor, "batch _"]]:
        """Returns u, w and b of each block."""
        parameters: Sequence[Tensor] = self.amortiser(context)
        return parameters

    def step(
        self, z: Float[Tensor, "batch latent"], parameters: Float[Tensor, "batch _"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, " batch"]]:
        """Returns z after one block, and its log-determinant."""
        log_det = z.new_zeros(len(z))
        for places, (u, w, b) in zip(self.places, self._layers(parameters), strict=True):
            inner = z + b + torch.einsum("bij,bj->bi", functional.pad(z, (0, 1))[:, places], w)
            z = z + u * functional.leaky_relu(inner, SLOPE)
            log_det = log_det + torch.log1p(u * _derivative(inner)).sum(1)
        return z, log_det

    def step_inverse(
        self, z: Float[Tensor, "batch latent"], parameters: Float[Tensor, "batch _"]
    ) -> Float[Tensor, "batch latent"]:
        """Returns what the block maps to z: layer by layer, from the last axis, which sees no other, to the first."""
        for places, (u, w, b) in reversed(list(zip(self.places, self._layers(parameters), strict=True))):
            found = functional.pad(torch.zeros_like(z), (0, 1))
            for axis in reversed(range(self.dim)):
                others = (found[:, places[axis]] * w).sum(1) + b[:, 0]
                # z' + others = (1 + u slope) inner, and the first factor is positive
                inner = z[:, axis] + others
                inner = inner / (1 + u[:, axis] * _derivative(inner))
                found = torch.cat([found[:, :axis], (inner - others)[:, None], found[:, axis + 1 :]], dim=1)
            z = found[:, :-1]
        return z

    def _layers(self, parameters: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Returns u, w and b of each convolution of a block."""
        values = self.amortiser.split(parameters)
        amplitudes, rest = values[: self.num_layers], values[self.num_layers :]
        return [(above_minus_one(u), w, b) for u, w, b in zip(amplitudes, rest[::2], rest[1::2], strict=True)]


def _derivative(values: Tensor) -> Tensor:
    return torch.full_like(values, SLOPE).masked_fill(values >= 0, 1)

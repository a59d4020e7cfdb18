"""Inverse autoregressive flows, and the masked network that they and the splines share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from honeyguide.nn.flows.base import SMALL, InvertibleFlow

Network = Callable[[Tensor], Tensor]
"""The outputs of one step's network for each axis, given z; it knows the context."""


class MaskedLinear(nn.Linear):
    """A linear map with some weights fixed at 0.

    Args:
        mask: True where there is a weight, (outputs, inputs).
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        """Returns the mapped values."""
        return functional.linear(values, self.weight * self.mask, self.bias)


class MaskedNetwork(nn.Module):
    """A network whose outputs for axis i see the axes before i, and a context (arXiv:1502.03509).

    Args:
        dim: Axes.
        hidden: Width of its two hidden layers. A unit of degree m sees the first m axes; degrees run evenly from 0, so
            that axis 0 still sees the context, to dim - 1.
        num_outputs: Outputs for each axis.
    """

    def __init__(self, dim: int, *, hidden: int, num_outputs: int) -> None:
        super().__init__()
        self.num_outputs = num_outputs
        degree = torch.arange(hidden) * dim // hidden
        axis = torch.arange(dim)
        self.inputs = MaskedLinear(degree[:, None] > axis)
        self.hidden = MaskedLinear(degree[:, None] >= degree)
        self.outputs = MaskedLinear((axis[:, None] >= degree).repeat_interleave(num_outputs, 0))
        with torch.no_grad():
            for values in (self.outputs.weight, self.outputs.bias):
                values *= SMALL

    def forward(
        self, z: Float[Tensor, "batch latent"], context: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "batch latent outputs"]:
        """Returns the outputs for each axis."""
        values = functional.elu(self.inputs(z) + context)
        values = functional.elu(self.hidden(values))
        outputs: Tensor = self.outputs(values)
        return outputs.view(len(z), -1, self.num_outputs)


class AutoregressiveFlow(InvertibleFlow[Network]):
    """Maps axis i with parameters that depend on the axes before it.

    Args:
        dim: Dimensions of the latent space.
        context_dim: Values of the context.
        num_steps: Maps in the chain, a network each.
        hidden: Width of the networks' hidden layers.
        num_outputs: Parameters of the map of one axis.
    """

    alternates = True

    def __init__(self, dim: int, *, context_dim: int, num_steps: int, hidden: int, num_outputs: int) -> None:
        super().__init__(dim, num_steps=num_steps)
        self.context = nn.Linear(context_dim, hidden)
        self.networks = nn.ModuleList(
            MaskedNetwork(dim, hidden=hidden, num_outputs=num_outputs) for _ in range(num_steps)
        )

    @abstractmethod
    def transform(
        self, z: Float[Tensor, "batch latent"], outputs: Float[Tensor, "batch latent outputs"], *, inverse: bool
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Returns every axis mapped by its own parameters, or mapped back, and the logarithm of the derivative."""

    def step_parameters(self, context: Float[Tensor, "batch context"]) -> Sequence[Network]:
        """Returns the network of each step; the context enters all of them in the same way."""
        values = self.context(context)
        return [partial(network, context=values) for network in self.networks]

    def step(
        self, z: Float[Tensor, "batch latent"], parameters: Network
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, " batch"]]:
        """Returns z after one step, and its log-determinant: the Jacobian is triangular."""
        mapped, log_derivative = self.transform(z, parameters(z), inverse=False)
        return mapped, log_derivative.sum(1)

    def step_inverse(self, z: Float[Tensor, "batch latent"], parameters: Network) -> Float[Tensor, "batch latent"]:
        """Returns what is mapped to z, found axis by axis."""
        found = torch.zeros_like(z)
        for axis in range(self.dim):
            candidates, _ = self.transform(z, parameters(found), inverse=True)
            found = torch.cat([found[:, :axis], candidates[:, axis : axis + 1], found[:, axis + 1 :]], dim=1)
        return found


class InverseAutoregressiveFlow(AutoregressiveFlow):
    """z'ᵢ = mᵢ + sᵢ zᵢ with m and s that depend on the axes before i, equation 10 of arXiv:1606.04934.

    s is twice a sigmoid: bounded as in the paper's equation 14, but 1 at 0, and free to widen a posterior.

    Args:
        dim: Dimensions of the latent space.
        context_dim: Values of the context.
        num_steps: Maps in the chain, a network each.
        hidden: Width of the networks' hidden layers.
    """

    def __init__(self, dim: int, *, context_dim: int, num_steps: int, hidden: int) -> None:
        super().__init__(dim, context_dim=context_dim, num_steps=num_steps, hidden=hidden, num_outputs=2)

    def transform(
        self, z: Float[Tensor, "batch latent"], outputs: Float[Tensor, "batch latent outputs"], *, inverse: bool
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Returns the axes shifted and scaled, or back, and the logarithm of the derivative."""
        shift, raw_scale = outputs.unbind(-1)
        log_scale = functional.logsigmoid(raw_scale) + 0.6931471805599453
        if inverse:
            return (z - shift) * torch.exp(-log_scale), -log_scale
        return shift + torch.exp(log_scale) * z, log_scale

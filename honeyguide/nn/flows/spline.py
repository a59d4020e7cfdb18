"""Neural spline flows."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from honeyguide.nn.flows.autoregressive import AutoregressiveFlow

SMALLEST = 1e-3
"""Smallest width and height of a bin, as a share of the interval, and smallest derivative at a knot."""


def rational_quadratic_spline(
    x: Float[Tensor, "*shape"], outputs: Float[Tensor, "*shape outputs"], *, bound: float, inverse: bool = False
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Returns x mapped by a monotone spline, and the logarithm of the derivative; section 3.1 of arXiv:1906.04032.

    Within [-bound, bound] the map is a quotient of two quadratic polynomials in each bin; beyond, it is the identity.
    Where ``outputs`` are 0 it is the identity everywhere.

    Args:
        x: Where the spline is taken.
        outputs: Free parameters, 3 K - 1 for K bins: widths, heights, derivatives at the inner knots.
        bound: Half of the interval's width.
        inverse: Map back; the derivative is that of the inverse, too.
    """
    num_bins = (outputs.shape[-1] + 1) // 3
    widths, heights, slopes = torch.split(outputs, [num_bins, num_bins, num_bins - 1], dim=-1)
    left, right = _knots(widths, bound), _knots(heights, bound)
    # softplus(0.5398...) + SMALLEST is 1, as the derivative beyond both ends is
    inner_slopes = SMALLEST + functional.softplus(slopes + 0.5397424172369522)
    slopes = functional.pad(inner_slopes, (1, 1), value=1.0)
    inside = x.clamp(-bound, bound)
    place = (inside.unsqueeze(-1) >= (right if inverse else left)[..., 1:-1]).sum(-1, keepdim=True)

    def at(values: Tensor, offset: int = 0) -> Tensor:
        return values.gather(-1, place + offset).squeeze(-1)

    x0, y0, d0, d1 = at(left), at(right), at(slopes), at(slopes, 1)
    width, height = at(left, 1) - x0, at(right, 1) - y0
    slope = height / width
    curve = d0 + d1 - 2 * slope
    if inverse:
        rise = inside - y0
        b = height * d0 - rise * curve
        a = height * (slope - d0) + rise * curve
        c = -slope * rise
        share = 2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())
        mapped = x0 + share * width
    else:
        share = (inside - x0) / width
        mapped = y0 + height * (slope * share.square() + d0 * share * (1 - share)) / (
            slope + curve * share * (1 - share)
        )
    numerator = d1 * share.square() + 2 * slope * share * (1 - share) + d0 * (1 - share).square()
    log_derivative = 2 * torch.log(slope) + torch.log(numerator) - 2 * torch.log(slope + curve * share * (1 - share))
    is_inside = x.abs() < bound
    log_derivative = torch.where(is_inside, -log_derivative if inverse else log_derivative, 0.0)
    return torch.where(is_inside, mapped, x), log_derivative


def _knots(raw: Tensor, bound: float) -> Tensor:
    """Returns the K + 1 knots of K bins, from -bound to bound."""
    shares = SMALLEST + (1 - SMALLEST * raw.shape[-1]) * torch.softmax(raw, -1)
    inner = bound * (2 * shares[..., :-1].cumsum(-1) - 1)
    return functional.pad(functional.pad(inner, (1, 0), value=-bound), (0, 1), value=bound)


class SplineFlow(AutoregressiveFlow):
    """Autoregressive rational-quadratic splines, arXiv:1906.04032.

    Args:
        dim: Dimensions of the latent space.
        context_dim: Values of the context.
        num_steps: Maps in the chain, a network each.
        hidden: Width of the networks' hidden layers.
        num_bins: Bins of a spline.
        bound: Half of the width of the interval that the splines act on.
    """

    def __init__(self, dim: int, *, context_dim: int, num_steps: int, hidden: int, num_bins: int, bound: float) -> None:
        super().__init__(dim, context_dim=context_dim, num_steps=num_steps, hidden=hidden, num_outputs=3 * num_bins - 1)
        self.bound = bound

    def transform(
        self, z: Float[Tensor, "batch latent"], outputs: Float[Tensor, "batch latent outputs"], *, inverse: bool
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Returns the axes mapped by their splines, or back, and the logarithm of the derivative."""
        return rational_quadratic_spline(z, outputs, bound=self.bound, inverse=inverse)

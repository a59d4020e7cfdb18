"""Sizes of weights, and the earth mover's distance in one dimension."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def l1_norm(parameters: Iterable[Tensor]) -> Float[Tensor, ""]:
    """Returns the sum of |w| over all weights.

    Weights are the parameters of two or more axes: biases and scales of normalisations are left free.
    """
    return torch.stack([weight.abs().sum() for weight in parameters if weight.ndim > 1]).sum()


def squared_l2_norm(parameters: Iterable[Tensor]) -> Float[Tensor, ""]:
    """Returns the sum of w² over all weights, the parameters of two or more axes."""
    return torch.stack([weight.square().sum() for weight in parameters if weight.ndim > 1]).sum()


def earth_movers_distance(
    first: Float[Tensor, "*batch first"],
    second: Float[Tensor, "*batch second"],
    first_weight: Float[Tensor, "*batch first"] | Bool[Tensor, "*batch first"] | None = None,
    second_weight: Float[Tensor, "*batch second"] | Bool[Tensor, "*batch second"] | None = None,
) -> Float[Tensor, "*batch"]:
    """Returns the 1-D earth mover's (Wasserstein-1) distance of two sets of values in each event, shape (*batch,).

    It is the integral over x of |F(x) - G(x)|, F and G being the cumulative distributions of the two sets. An event
    that has no value of positive weight in one of them has distance 0.

    Args:
        first: Values of one set in each event.
        second: Values of the other.
        first_weight: Weights of the values, not negative, or a mask; of any sum. Where it is 0 or False any value may
            stand, also NaN.
        second_weight: The same for the other set.
    """
    values, shares, filled = zip(_normalised(first, first_weight), _normalised(second, second_weight), strict=True)
    signed = torch.cat([shares[0], -shares[1]], dim=-1)
    points, order = torch.cat(values, dim=-1).sort(dim=-1)
    difference = signed.gather(-1, order).cumsum(-1)  # F - G to the right of each point
    distance = (difference[..., :-1].abs() * points.diff(dim=-1)).sum(-1)
    return distance.masked_fill(~(filled[0] & filled[1]), 0)


def _normalised(values: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Returns values without those that have no weight, weights of sum 1, and whether there was any."""
    weight = torch.ones_like(values) if weight is None else weight.to(values.dtype)
    total = weight.sum(-1, keepdim=True)
    share = weight / total.masked_fill(total == 0, 1)
    return values.masked_fill(weight == 0, 0), share, total.squeeze(-1) > 0

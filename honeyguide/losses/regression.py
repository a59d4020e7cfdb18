"""How well predictions agree with what they predict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

RegressionLoss = Literal["mse", "logcosh", "huber"]


def regression_loss(
    predicted: Float[Tensor, " batch"], target: Float[Tensor, " batch"], kind: RegressionLoss
) -> Float[Tensor, " batch"]:
    """Returns the loss of each row: with d the difference, d², log(cosh(d)), or Huber's d²/2, |d| - 1/2 beyond 1."""
    if kind == "mse":
        return (predicted - target).square()
    if kind == "huber":
        return functional.huber_loss(predicted, target, reduction="none")
    distance = (predicted - target).abs()
    return distance + functional.softplus(-2 * distance) - math.log(2)  # cosh itself overflows at 89


def pinball_loss(
    predicted: Float[Tensor, "batch quantile"], target: Float[Tensor, " batch"], quantiles: Sequence[float]
) -> Float[Tensor, " batch"]:
    """Returns the sum over the quantiles of max(q d, (q - 1) d) with d = target - predicted (R. Koenker and G. Bassett,
    Econometrica 46 (1978) 33); its mean is smallest where a share q of the targets lies below.
    """
    levels = torch.tensor(quantiles, dtype=predicted.dtype, device=predicted.device)
    difference = target.unsqueeze(1) - predicted
    return torch.maximum(levels * difference, (levels - 1) * difference).sum(1)

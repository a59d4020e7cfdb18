"""A head that predicts values and their quantiles."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class RegressionHead(nn.Module):
    """One linear map to a value, and to quantiles where there are any, of every target.

    The quantile nearest to the median is linear in the inputs, each further one lies a softplus above or below its
    neighbour: they can't cross.

    Args:
        num_inputs: Width of the vector of a row.
        quantiles: Name of each target to its quantiles, in rising order.
        bias: Whether the map has a bias.
    """

    def __init__(self, num_inputs: int, quantiles: Mapping[str, tuple[float, ...]], *, bias: bool = True) -> None:
        super().__init__()
        self.quantiles = dict(quantiles)
        self._sizes = [1 + len(levels) for levels in self.quantiles.values()]
        self.linear = nn.Linear(num_inputs, sum(self._sizes), bias=bias)

    @property
    def outputs(self) -> dict[str, str]:
        """Name of each column of :meth:`scores` to its target: ``pred_mass``, ``pred_mass_q16``, ``pred_mass_q84``."""
        return {
            name: target
            for target, levels in self.quantiles.items()
            for name in (f"pred_{target}", *(quantile_name(target, level) for level in levels))
        }

    def forward(self, latent: Float[Tensor, "batch width"]) -> dict[str, Float[Tensor, "batch output"]]:
        """Returns value and quantiles of each target, in the units of the scaled target."""
        found = {}
        for target, part in zip(self.quantiles, self.linear(latent).float().split(self._sizes, 1), strict=True):
            levels = self.quantiles[target]
            middle = min(range(len(levels)), key=lambda place: abs(levels[place] - 0.5), default=0)
            value, below, centre, above = part.split(
                [1, middle, min(len(levels), 1), max(len(levels) - middle - 1, 0)], 1
            )
            lower = centre - functional.softplus(below).cumsum(1).flip(1)
            upper = centre + functional.softplus(above).cumsum(1)
            found[target] = torch.cat([value, lower, centre, upper], 1)
        return found

    def scores(self, latent: Float[Tensor, "batch width"]) -> dict[str, Float[Tensor, " batch"]]:
        """Returns everything that is predicted by the names of :attr:`outputs`."""
        columns = [column for part in self(latent).values() for column in part.unbind(1)]
        return dict(zip(self.outputs, columns, strict=True))


def quantile_name(target: str, level: float) -> str:
    """Returns the name of the score of a quantile: ``pred_mass_q16`` for 0.16, ``pred_mass_q2p5`` for 0.025."""
    return f"pred_{target}_q{100 * level:g}".replace(".", "p")

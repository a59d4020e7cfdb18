"""Edge convolutions over sets of objects: each object with those that are nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from honeyguide.nn.masked import MaskedBatchNorm
from honeyguide.nn.point_clouds import Cloud, Neighbours

ROWS_AT_A_TIME = 256  # outside of training: the edges of so many objects stay in a processor's cache


class EdgeConvolution(nn.Module):
    """A block of ParticleNet: what an object's neighbours are to it, averaged over them (arXiv:1902.08570, figure 1).

    Every edge, from an object x to a neighbour y, passes linear maps of (x, y - x), each with batch normalisation and
    ReLU; their mean over the neighbours and a linear map of x add up to the object's new features. Only real
    objects have neighbours or are some; where an object is alone, the linear map is all.

    Args:
        num_features: Features of an object.
        widths: Outputs of the maps of edges; the last one is that of the block.
        num_neighbours: Neighbours of an object.
        affine: Whether normalisations have factors and offsets of their own.
    """

    def __init__(self, num_features: int, widths: Sequence[int], *, num_neighbours: int, affine: bool = True) -> None:
        super().__init__()
        self.num_neighbours = num_neighbours
        self.first = nn.Linear(2 * num_features, widths[0], bias=False)
        self.others = nn.ModuleList(nn.Linear(before, after, bias=False) for before, after in pairwise(widths))
        self.norms = nn.ModuleList(MaskedBatchNorm(width, affine=affine) for width in widths)
        self.shortcut = nn.Linear(num_features, widths[-1], bias=False)
        self.shortcut_norm = MaskedBatchNorm(widths[-1], affine=affine)

    def forward(
        self, coordinates: Float[Tensor, "row axis"], features: Float[Tensor, "row feature"], cloud: Cloud
    ) -> Float[Tensor, "row width"]:
        """Returns the objects' new features; what comes in rows that are no objects is of no meaning."""
        neighbours = cloud.neighbours(coordinates, self.num_neighbours)
        # A x + B (y - x) is computed for every object, not for every edge
        of_object, of_difference = self.first.weight.chunk(2, dim=1)
        weight = torch.cat([of_object - of_difference, of_difference])
        if self.training:
            own, theirs = functional.linear(features, weight).chunk(2, dim=1)
            mean = neighbours.mean(self._trained(neighbours.edges(own, theirs), neighbours.edges_present()))
            straight = self.shortcut_norm(self.shortcut(features), cloud.present)
        else:
            mean = self._mean_of_edges(features, weight, neighbours)
            straight = functional.linear(features, *self.shortcut_norm.folded(self.shortcut.weight))
        return torch.relu(mean.float() + straight.float())

    def _trained(self, edges: Tensor, present: Tensor | None) -> Tensor:
        """Returns what the maps make of the edges, normalised over the batch."""
        rows = functional.relu(self.norms[0](edges, present), inplace=True)
        for linear, norm in zip(self.others, self.norms[1:], strict=True):
            rows = functional.relu(norm(linear(rows), present), inplace=True)
        return rows

    def _mean_of_edges(self, features: Tensor, weight: Tensor, neighbours: Neighbours) -> Tensor:
        """Returns the mean over the edges; the maps have the normalisations, which are fixed, in their weights."""
        of_object, of_neighbour = weight.chunk(2)
        own = functional.linear(features, *self._folded(0, of_object))
        theirs = functional.linear(features, self._folded(0, of_neighbour)[0])
        maps = [
            self._folded(number, linear.get_parameter("weight")) for number, linear in enumerate(self.others, start=1)
        ]
        step = len(own) if neighbours.num_full is None else ROWS_AT_A_TIME
        means = []
        for low in range(0, max(len(own), 1), max(step, 1)):
            part = neighbours.rows(low, low + step)
            rows = functional.relu(part.edges(own[low : low + step], theirs), inplace=True)
            for map_weight, map_offset in maps:
                rows = functional.relu(functional.linear(rows, map_weight, map_offset), inplace=True)
            means.append(part.mean(rows))
        return torch.cat(means)

    def _folded(self, number: int, weight: Tensor) -> tuple[Tensor, Tensor]:
        norm = self.norms[number]
        assert isinstance(norm, MaskedBatchNorm), "as it was made"
        return norm.folded(weight)

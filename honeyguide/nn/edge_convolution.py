"""Edge convolutions over sets of objects: each object with those that are nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from honeyguide.nn.edge_maps import mean_of_mapped_edges
from honeyguide.nn.masked import MaskedBatchNorm
from honeyguide.nn.point_clouds import Cloud, Neighbours

ROWS_AT_A_TIME = 64  # on a CPU, for each thread: the edges of so many objects stay in a cache


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
        if self.shortcut_norm.training or any(norm.training for norm in self._norms()):  # some may be frozen
            own, theirs = functional.linear(features, weight).chunk(2, dim=1)
            mean = self._trained(own, theirs, neighbours)
            straight = self.shortcut_norm(self.shortcut(features), cloud.present)
        else:
            mean = self._mean_of_edges(features, weight, neighbours)
            straight = functional.linear(features, *self.shortcut_norm.folded(self.shortcut.weight))
        return torch.relu(mean.float() + straight.float())

    def _trained(self, own: Tensor, theirs: Tensor, neighbours: Neighbours) -> Tensor:
        """Returns the mean over the edges, normalised over the batch."""
        in_pieces = neighbours.num_full is not None and own.dtype == torch.float32 and neighbours.num_edges > 1
        if in_pieces and all(norm.training for norm in self._norms()):
            pieces = neighbours.pieces(ROWS_AT_A_TIME * torch.get_num_threads())
            weights = [linear.get_parameter("weight") for linear in self.others]
            return mean_of_mapped_edges(own.contiguous(), theirs.contiguous(), pieces, weights, self._norms())
        present = neighbours.edges_present()
        rows = functional.relu(self.norms[0](neighbours.edges(own, theirs), present), inplace=True)
        for linear, norm in zip(self.others, self.norms[1:], strict=True):
            rows = functional.relu(norm(linear(rows), present), inplace=True)
        return neighbours.mean(rows)

    def _mean_of_edges(self, features: Tensor, weight: Tensor, neighbours: Neighbours) -> Tensor:
        """Returns the mean over the edges; the maps have the normalisations, which are fixed, in their weights."""
        of_object, of_neighbour = weight.chunk(2)
        own = functional.linear(features, *self._folded(0, of_object))
        theirs = functional.linear(features, self._folded(0, of_neighbour)[0])
        maps = [
            self._folded(number, linear.get_parameter("weight")) for number, linear in enumerate(self.others, start=1)
        ]
        size = len(own) if neighbours.num_full is None else ROWS_AT_A_TIME * torch.get_num_threads()
        pieces = neighbours.pieces(max(size, 1))
        means = []
        for piece, own_of_piece in zip(pieces, torch.split(own, list(map(len, pieces))), strict=True):
            rows = functional.relu(piece.edges(own_of_piece, theirs), inplace=True)
            for map_weight, map_offset in maps:
                rows = functional.relu(functional.linear(rows, map_weight, map_offset), inplace=True)
            means.append(piece.mean(rows))
        return torch.cat(means)

    def _norms(self) -> list[MaskedBatchNorm]:
        return [norm for norm in self.norms if isinstance(norm, MaskedBatchNorm)]

    def _folded(self, number: int, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self._norms()[number].folded(weight)

"""Edge convolutions over sets of objects: each object with those that are nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from honeyguide.nn.masked import MaskedBatchNorm, may_drop_padding


def nearest_objects(
    coordinates: Float[Tensor, "batch object axis"], mask: Bool[Tensor, "batch object"], number: int
) -> tuple[Int[Tensor, "batch object neighbour"], Bool[Tensor, "batch object neighbour"]]:
    """Returns the slots of the nearest other objects of each object, and which of them there are.

    Args:
        coordinates: Where the objects are.
        mask: Which slots have an object; the others are nobody's neighbours, and have none.
        number: Neighbours of an object, where there are so many.
    """
    # not from scalar products, which lose the distance of close objects; who is near has no gradient
    points = coordinates.detach()
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    itself = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    none = itself | ~mask.unsqueeze(1) | ~mask.unsqueeze(2)
    nearest = distance.masked_fill(none, torch.inf).topk(min(number, mask.shape[1] - 1), dim=2, largest=False)
    return nearest.indices, torch.isfinite(nearest.values)


class EdgeConvolution(nn.Module):
    """A block of ParticleNet: what an object's neighbours are to it, averaged over them (arXiv:1902.08570, figure 1).

    Every edge, from an object x to a neighbour y, passes linear maps of (x, y - x), each with batch normalisation and
    ReLU; their mean over the neighbours and a linear map of x add up to the object's new features. Only real
    objects have neighbours or are some; where an object is alone, the linear map is all.

    Args:
        num_features: Features of an object.
        widths: Outputs of the maps of edges; the last one is that of the block.
        num_neighbours: Neighbours of an object.
    """

    def __init__(self, num_features: int, widths: Sequence[int], *, num_neighbours: int) -> None:
        super().__init__()
        self.num_neighbours = num_neighbours
        self.first = nn.Linear(2 * num_features, widths[0], bias=False)
        self.others = nn.ModuleList(nn.Linear(before, after, bias=False) for before, after in pairwise(widths))
        self.norms = nn.ModuleList(MaskedBatchNorm(width) for width in widths)
        self.shortcut = nn.Linear(num_features, widths[-1], bias=False)
        self.shortcut_norm = MaskedBatchNorm(widths[-1])

    def forward(
        self,
        coordinates: Float[Tensor, "batch object axis"],
        features: Float[Tensor, "batch object feature"],
        mask: Bool[Tensor, "batch object"],
    ) -> Float[Tensor, "batch object width"]:
        """Returns the objects' new features, 0 where there is none; ``features`` are 0 there, too."""
        index, present = nearest_objects(coordinates, mask, self.num_neighbours)
        of_object, of_difference = self.first.weight.chunk(2, dim=1)
        # A x + B (y - x) is computed for every object, not for every edge
        theirs = features @ of_difference.T
        own = features @ of_object.T - theirs
        mean = self._mean_of_edges(own, theirs, index, present)
        straight = self._normalised(self.shortcut(features), mask)
        return torch.relu(mean + straight).masked_fill(~mask.unsqueeze(-1), 0)

    def _mean_of_edges(self, own: Tensor, theirs: Tensor, index: Tensor, present: Tensor) -> Tensor:
        """Returns the mean over the neighbours that there are, after all maps."""
        count = present.sum(2, keepdim=True).clamp(min=1)
        if may_drop_padding(own):  # only real edges are worth the time, and the memory
            row, slot, _ = present.nonzero(as_tuple=True)
            edges = self._maps(own[row, slot] + theirs[row, index[present]], None)
            num_rows, num_slots = present.shape[:2]
            total = edges.new_zeros(num_rows * num_slots, edges.shape[1]).index_add(0, row * num_slots + slot, edges)
            return total.reshape(num_rows, num_slots, -1) / count
        batch = torch.arange(len(index), device=index.device).view(-1, 1, 1)
        edges = own.unsqueeze(2) + theirs[batch, index]
        edges = self._maps(edges.flatten(0, 2), present.flatten()).reshape(*present.shape, -1)
        return edges.masked_fill(~present.unsqueeze(-1), 0).sum(2) / count

    def _maps(self, rows: Tensor, present: Tensor | None) -> Tensor:
        rows = torch.relu(self.norms[0](rows, present))
        for linear, norm in zip(self.others, self.norms[1:], strict=True):
            rows = torch.relu(norm(linear(rows), present))
        return rows

    def _normalised(self, values: Tensor, mask: Tensor) -> Tensor:
        rows: Tensor = self.shortcut_norm(values.flatten(0, 1), mask.flatten())
        return rows.reshape(*mask.shape, -1)

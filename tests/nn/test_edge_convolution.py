"""Edge convolutions against loops over all objects, and what empty slots must not do."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from honeyguide.nn.edge_convolution import EdgeConvolution, nearest_objects


def make_objects(num_features: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(4)
    mask = torch.rand(6, 7) < 0.7
    mask[0] = True
    mask[1] = False
    mask[2] = torch.arange(7) == 3  # one object, which has no neighbour
    return torch.randn(6, 7, num_features).masked_fill(~mask[..., None], 0), mask


def neighbours_by_loops(points: torch.Tensor, mask: torch.Tensor, number: int) -> dict[int, list[int]]:
    real = [i for i in range(len(mask)) if mask[i]]
    return {
        i: sorted((j for j in real if j != i), key=lambda j: float((points[i] - points[j]).norm()))[:number]
        for i in real
    }


def test_neighbours_are_the_nearest_real_objects() -> None:
    points, mask = make_objects()
    index, present = nearest_objects(points, mask, 3)
    for row in range(len(points)):
        expected = neighbours_by_loops(points[row], mask[row], 3)
        for slot in range(points.shape[1]):
            assert index[row, slot][present[row, slot]].tolist() == expected.get(slot, [])


def test_close_objects_far_from_the_origin_keep_their_order() -> None:
    points = torch.tensor([[1000.0], [1000.01], [1000.03], [1000.06]])[None]
    index, _ = nearest_objects(points, torch.ones(1, 4, dtype=torch.bool), 1)
    assert index.flatten().tolist() == [1, 0, 1, 2]


@pytest.mark.parametrize("training", [False, True])
def test_block_is_what_loops_over_edges_give(training: bool) -> None:
    points, mask = make_objects()
    block = EdgeConvolution(3, [5, 4], num_neighbours=2).train(training)
    found = block(points[..., :2], points, mask)
    edges, owners = [], []
    for row in range(len(points)):
        for i, others in neighbours_by_loops(points[row, :, :2], mask[row], 2).items():
            for j in others:
                edges.append(torch.cat([points[row, i], points[row, j] - points[row, i]]))
                owners.append((row, i))
    values = torch.stack(edges)
    for linear, norm in zip([block.first, *block.others], block.norms, strict=True):
        mean, variance = (None, None) if training else (torch.zeros(norm.num_features), torch.ones(norm.num_features))
        values = functional.batch_norm(linear(values), mean, variance, training=training, eps=norm.eps).relu()
    straight = block.shortcut(points[mask])
    if training:
        straight = functional.batch_norm(straight, None, None, training=True)
    else:
        straight = straight / (1 + block.shortcut_norm.eps) ** 0.5
    places = [(row, i) for row, i in mask.nonzero().tolist()]
    for place, own in zip(places, straight, strict=True):
        mine = [value for value, owner in zip(values, owners, strict=True) if owner == place]
        mean_of_edges = torch.stack(mine).mean(0) if mine else torch.zeros(4)
        torch.testing.assert_close(found[place], (mean_of_edges + own).relu(), rtol=1e-4, atol=1e-5)
    assert not found[~mask].any()

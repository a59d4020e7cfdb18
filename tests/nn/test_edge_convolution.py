"""Edge convolutions against loops over all objects, and what empty slots must not do."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from honeyguide.nn import edge_convolution
from honeyguide.nn.edge_convolution import EdgeConvolution
from honeyguide.nn.point_clouds import Cloud, PackedCloud, PaddedCloud, nearest_objects


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


@pytest.mark.parametrize("number", [1, 3, 6, 9])
def test_neighbours_in_a_packed_table_are_those_in_a_padded_one(number: int) -> None:
    points, mask = make_objects()
    mask = torch.cat([mask, torch.zeros_like(mask), torch.ones(3, 7, dtype=torch.bool)])
    points = torch.cat([points, points, torch.randn(3, 7, 3)])
    packed, padded = PackedCloud(mask), PaddedCloud(mask)
    assert sorted(packed.slots.tolist()) == mask.flatten().nonzero().flatten().tolist()
    here = packed.neighbours(packed.table(points), number)
    there = padded.neighbours(padded.table(points), number)
    for row, slot in enumerate(packed.slots.tolist()):
        near = packed.slots[here.index[row][here.present[row]]].tolist()
        assert near == there.index[slot][there.present[slot]].tolist()
    assert not there.present[~mask.flatten()].any()
    assert here.present[: here.num_full].all()
    assert not here.present[here.num_full :].all(1).any()


def test_close_objects_far_from_the_origin_keep_their_order() -> None:
    """In the last digit of a float32: the squared distance is 1e-14 of the square of the coordinates."""
    steps = torch.tensor([0, 1, 3, 6], dtype=torch.int32)
    points = (torch.tensor(1000.0).view(torch.int32) + steps).view(torch.float32).view(1, 4, 1).repeat(1, 1, 64)
    index, _ = nearest_objects(points, torch.ones(1, 4, dtype=torch.bool), 1)
    assert index.flatten().tolist() == [1, 0, 1, 2]


@pytest.mark.parametrize("layout", [PackedCloud, PaddedCloud])
@pytest.mark.parametrize("training", [False, True])
def test_block_is_what_loops_over_edges_give(layout: type[Cloud], training: bool, monkeypatch) -> None:
    monkeypatch.setattr(edge_convolution, "ROWS_AT_A_TIME", 5)
    points, mask = make_objects()
    block = EdgeConvolution(3, [5, 4], num_neighbours=2).train(training)
    cloud = layout(mask)
    found = cloud.in_slots(block(cloud.table(points[..., :2]), cloud.table(points), cloud))
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


@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_the_same_in_both_tables(training: bool) -> None:
    points, mask = make_objects()
    torch.manual_seed(2)
    block = EdgeConvolution(3, [5, 4], num_neighbours=2).train(training)
    direction = torch.randn(6, 7, 4)
    gradients = []
    for layout in (PackedCloud, PaddedCloud):
        block.zero_grad()
        inputs, cloud = points.clone().requires_grad_(), layout(mask)
        found = cloud.in_slots(block(cloud.table(points[..., :2]), cloud.table(inputs), cloud))
        (found * direction).sum().backward()
        gradients.append([inputs.grad, *(parameter.grad for parameter in block.parameters())])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_means_are_over_the_objects_of_each_event() -> None:
    points, mask = make_objects()
    expected = torch.stack([row[own].sum(0) / max(1, int(own.sum())) for row, own in zip(points, mask, strict=True)])
    for cloud in (PackedCloud(mask), PaddedCloud(mask)):
        torch.testing.assert_close(cloud.mean(cloud.table(points)), expected)
        assert torch.equal(cloud.in_slots(cloud.table(points)), points)


@pytest.mark.parametrize("frozen", ["all", "one"])
def test_normalisations_that_are_frozen_stay_as_they_are(frozen: str) -> None:
    values, mask = make_objects()
    block = EdgeConvolution(3, (4, 5), num_neighbours=2).train()
    norms = [*block.norms, block.shortcut_norm] if frozen == "all" else [block.norms[1]]
    for norm in norms:
        norm.running_mean.uniform_(-1, 1)
        norm.eval()
    before = {name: value.clone() for name, value in block.state_dict().items()}
    cloud = PackedCloud(mask)
    rows = cloud.table(values)
    trained = block(rows, rows, cloud)
    moved = [name for name, value in block.state_dict().items() if not torch.equal(value, before[name])]
    free = [] if frozen == "all" else [name for name in before if "running" in name and "norms.1" not in name]
    assert moved == free
    padded = PaddedCloud(mask)
    values = padded.table(values)
    torch.testing.assert_close(trained, block(values, values, padded)[cloud.slots])

"""ParticleNet written down layer by layer as published (arXiv:1902.08570): what speed and outputs are compared to.

Everything is padded: every slot has neighbours and passes every layer, as in the authors' code. Empty slots are put
far away, so that they are nobody's neighbours in a jet of more than k particles, and count in no mean over particles;
in the batch normalisations they do. The whole tensor of distances is made, and that of edges with both particles.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

FAR = 1e9


class EdgeBlock(nn.Module):
    """One edge convolution: k nearest neighbours, three maps of the pair (x, y - x), the mean, and a shortcut."""

    def __init__(self, num_features: int, widths: tuple[int, ...], num_neighbours: int) -> None:
        super().__init__()
        self.num_neighbours = num_neighbours
        layers: list[nn.Module] = []
        num_inputs = 2 * num_features
        for width in widths:
            layers += [nn.Conv2d(num_inputs, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            num_inputs = width
        self.maps = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(nn.Conv1d(num_features, widths[-1], 1, bias=False), nn.BatchNorm1d(widths[-1]))

    def forward(self, points: Tensor, features: Tensor) -> Tensor:
        """Returns the new features (batch, width, slot) of points (batch, axis, slot) with features."""
        squares = points.square().sum(1)
        products = points.transpose(1, 2) @ points
        distance = squares.unsqueeze(2) - 2 * products + squares.unsqueeze(1)
        # the nearest is the point itself
        index = distance.topk(self.num_neighbours + 1, dim=2, largest=False).indices[:, :, 1:]
        rows = torch.arange(len(index), device=index.device).view(-1, 1, 1)
        neighbours = features.transpose(1, 2)[rows, index].permute(0, 3, 1, 2)
        own = features.unsqueeze(3).expand_as(neighbours)
        edges = self.maps(torch.cat([own, neighbours - own], dim=1))
        return torch.relu(edges.mean(3) + self.shortcut(features))


class LiteralParticleNet(nn.Module):
    """ParticleNet, with the published widths unless others are given.

    Args:
        num_features: Features of a particle.
        num_classes: Outputs.
        edge_layers: Widths of the maps of each block.
        num_neighbours: Neighbours of a particle.
        hidden: Width of the fully connected layer.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        *,
        edge_layers: tuple[tuple[int, ...], ...] = ((64, 64, 64), (128, 128, 128), (256, 256, 256)),
        num_neighbours: int = 16,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(num_features)
        before = [num_features, *(widths[-1] for widths in edge_layers)]
        self.blocks = nn.ModuleList(
            EdgeBlock(width, widths, num_neighbours) for width, widths in zip(before, edge_layers, strict=False)
        )
        self.head = nn.Sequential(
            nn.Linear(before[-1], hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, num_classes)
        )

    def load_weaver(self, state: Mapping[str, Tensor]) -> None:
        """Takes the weights of a state dict with weaver-core's names."""
        own = self.state_dict()
        named = {literal_name(name): value for name, value in state.items()}
        self.load_state_dict({name: value.reshape(own[name].shape) for name, value in named.items()})

    def forward(self, points: Tensor, features: Tensor, mask: Tensor) -> Tensor:
        """Returns the logits of points (batch, 2, slot), features (batch, feature, slot), mask (batch, 1, slot)."""
        values = self.norm(features) * mask
        for number, block in enumerate(self.blocks):
            near = points if number == 0 else values
            values = block(near.masked_fill(~mask, FAR), values) * mask
        logits: Tensor = self.head(values.sum(2) / mask.sum(2).clamp(min=1))
        return logits


def literal_name(name: str) -> str:
    """Returns the name here of a tensor with this name in weaver-core's ParticleNet."""
    first, *parts = name.split(".")
    if first == "edge_convs":
        block, layer, *rest = parts
        if layer in ("convs", "bns"):
            rest[0] = str(3 * int(rest[0]) + (layer == "bns"))
        layer = {"convs": "maps", "bns": "maps", "sc": "shortcut.0", "sc_bn": "shortcut.1"}[layer]
        return ".".join(["blocks", block, layer, *rest])
    if first == "fc":
        return ".".join(["head", "0" if parts[0] == "0" else "3", parts[-1]])
    return ".".join(["norm", *parts])

"""ParticleNet: edge convolutions over the objects of all sets of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from honeyguide.data.batch import Batch, Objects
from honeyguide.data.input_spec import InputSpec, ObjectSet
from honeyguide.errors import ConfigError
from honeyguide.nn.edge_convolution import EdgeConvolution
from honeyguide.nn.masked import MaskedBatchNorm
from honeyguide.nn.point_clouds import Cloud, make_cloud


@dataclass(frozen=True)
class EdgeLayers:
    """The edge convolutions of ParticleNet; the defaults are the published ones.

    Attributes:
        widths: Widths of the maps of each edge convolution.
        num_neighbours: Neighbours of an object.
        fusion: Whether a further map takes the outputs of all edge convolutions side by side, not those of the last one
            alone: to so many values as they are, in whole multiples of 128, from 128 to 1024.
    """

    widths: Sequence[Sequence[int]] = ((64, 64, 64), (128, 128, 128), (256, 256, 256))
    num_neighbours: int = 16
    fusion: bool = False


class SetEmbedding(nn.Module):
    """Normalises the features of one set, and makes them as many as those of the other sets by a linear map."""

    def __init__(self, item: ObjectSet, width: int | None, coordinates: Sequence[str], *, affine: bool) -> None:
        super().__init__()
        names = [column.name for column in item.columns]
        missing = [name for name in coordinates if name not in names]
        if missing:
            raise ConfigError(
                f"the set '{item.name}' has not the coordinates in which neighbours are near",
                where="model.coordinates",
                got=", ".join(missing),
                allowed=", ".join(names),
            )
        self.axes = [names.index(name) for name in coordinates]
        self.norm = MaskedBatchNorm(len(names), affine=affine)
        self.linear = None if width is None else nn.Linear(len(names), width, bias=False)
        self.second_norm = None if width is None else MaskedBatchNorm(width, affine=affine)
        self.num_outputs = len(names) if width is None else width

    def forward(self, objects: Objects) -> tuple[Tensor, Tensor]:
        """Returns coordinates (batch, object, axis) and features (batch, object, width); 0 where there is no object."""
        empty = ~objects.mask.unsqueeze(-1)
        clean = objects.features.masked_fill(empty, 0)
        present = objects.mask.flatten()
        rows = self.norm(clean.flatten(0, 1), present)
        if self.linear is not None and self.second_norm is not None:
            rows = torch.relu(self.second_norm(self.linear(rows), present))
        return clean[..., self.axes], rows.unflatten(0, objects.mask.shape).masked_fill(empty, 0)


class Fusion(nn.Module):
    """A map of the outputs of all edge convolutions side by side, with batch normalisation and ReLU."""

    def __init__(self, widths: Sequence[int], *, affine: bool) -> None:
        super().__init__()
        self.num_outputs = min(max(sum(widths) // 128 * 128, 128), 1024)
        self.linear = nn.Linear(sum(widths), self.num_outputs, bias=False)
        self.norm = MaskedBatchNorm(self.num_outputs, affine=affine)

    def forward(self, parts: Sequence[Tensor], cloud: Cloud) -> Float[Tensor, "row output"]:
        """Returns what the map makes of each object."""
        return torch.relu(self.norm(self.linear(torch.cat(list(parts), dim=1)), cloud.present))


class ParticleNet(nn.Module):
    """ParticleNet (H. Qu and L. Gouskos, Phys. Rev. D 101 (2020) 056019, arXiv:1902.08570), for any sets of objects.

    Three edge convolutions with 16 neighbours each, which are near in eta and phi for the first one and in what the one
    before has made for the others; the mean over all objects; a fully connected layer of 256 and dropout of 0.1. The
    objects of all sets stand side by side, each set with an embedding of its own. Features of the row join the mean.
    Other than in the publication, empty slots are masked: they are nobody's neighbours and enter no mean.

    With one set, no features of the row and ``embedding`` None it is the published network.

    Args:
        spec: The inputs.
        embedding: Features that objects of any set get before the first edge convolution; None for their own ones as
            they are, for inputs of one set.
        coordinates: Columns of all sets in which objects are near each other, for the first edge convolution.
        edges: The edge convolutions.
        hidden: Widths of the fully connected layers.
        dropout: Share of their outputs that are set to 0 during training.
        bias: False for a network without any bias, and with normalisations that have no factors and offsets.

    Raises:
        ConfigError: The inputs have no sets, or several and no embedding, or lack the coordinates.
    """

    def __init__(
        self,
        spec: InputSpec,
        *,
        embedding: int | None = None,
        coordinates: Sequence[str] = ("deta", "dphi"),
        edges: EdgeLayers | None = None,
        hidden: Sequence[int] = (256,),
        dropout: float = 0.1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        edges = edges or EdgeLayers()
        if not spec.sets:
            raise ConfigError("ParticleNet needs sets of objects, and these inputs have none", where="preprocess.sets")
        if embedding is None and len(spec.sets) > 1:
            names = ", ".join(item.name for item in spec.sets)
            raise ConfigError("several sets need an embedding", where="model.embedding", got=names, hint="32, say")
        embeddings = [SetEmbedding(item, embedding, coordinates, affine=bias) for item in spec.sets]
        self.embeddings = nn.ModuleList(embeddings)
        self.names = [item.name for item in spec.sets]
        widths = [embeddings[0].num_outputs, *(layers[-1] for layers in edges.widths)]
        self.blocks = nn.ModuleList(
            EdgeConvolution(before, layers, num_neighbours=edges.num_neighbours, affine=bias)
            for before, layers in zip(widths[:-1], edges.widths, strict=True)
        )
        self.fusion = Fusion(widths[1:], affine=bias) if edges.fusion else None
        num_pooled = widths[-1] if self.fusion is None else self.fusion.num_outputs
        self.norm = MaskedBatchNorm(spec.num_event_features, affine=bias) if spec.num_event_features else None
        layers: list[nn.Module] = []
        for before, after in pairwise((num_pooled + spec.num_event_features, *hidden)):
            layers += [nn.Linear(before, after, bias=bias), nn.ReLU(), nn.Dropout(dropout)]
        self.dense = nn.Sequential(*layers)
        self.num_outputs = hidden[-1]

    def forward(self, batch: Batch) -> Float[Tensor, "batch width"]:
        """Returns the last hidden layer, one vector per row."""
        sets = [batch.sets[name] for name in self.names]
        embedded = [embedding(objects) for embedding, objects in zip(self.embeddings, sets, strict=True)]
        coordinates, features = (torch.cat(parts, dim=1) for parts in zip(*embedded, strict=True))
        cloud = make_cloud(torch.cat([objects.mask for objects in sets], dim=1))
        coordinates, features = cloud.table(coordinates), cloud.table(features)
        outputs = []
        for block in self.blocks:
            features = block(coordinates, features, cloud)
            outputs.append(features)
            coordinates = features
        pooled = cloud.mean(features if self.fusion is None else self.fusion(outputs, cloud))
        row = [] if self.norm is None else [self.norm(batch.event)]
        hidden: Tensor = self.dense(torch.cat([pooled, *row], dim=1))
        return hidden

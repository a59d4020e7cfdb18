"""The network of ParticleNet."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn

from honeyguide.data.batch import Batch, Objects
from honeyguide.data.input_spec import InputSpec, ObjectSet
from honeyguide.errors import ConfigError
from honeyguide.nn.edge_convolution import EdgeConvolution
from honeyguide.nn.masked import MaskedBatchNorm
from models.tagger.config import TaggerConfig


class SetEmbedding(nn.Module):
    """Normalises the features of one set, and makes them as many as those of the other sets by a linear map."""

    def __init__(self, item: ObjectSet, width: int | None, coordinates: tuple[str, ...]) -> None:
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
        self.norm = MaskedBatchNorm(len(names))
        self.linear = None if width is None else nn.Linear(len(names), width, bias=False)
        self.second_norm = None if width is None else MaskedBatchNorm(width)
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


class ParticleNet(nn.Module):
    """ParticleNet (H. Qu and L. Gouskos, Phys. Rev. D 101 (2020) 056019, arXiv:1902.08570), for any sets of objects.

    Three edge convolutions with 16 neighbours each, which are near in eta and phi for the first one and in what the one
    before has made for the others; the mean over all objects; a fully connected layer of 256 and dropout of 0.1. The
    objects of all sets stand side by side, each set with an embedding of its own. Features of the row join the mean.
    Other than in the publication, empty slots are masked: they are nobody's neighbours and enter no mean.
    """

    def __init__(self, config: TaggerConfig, spec: InputSpec) -> None:
        super().__init__()
        if not spec.sets:
            raise ConfigError("ParticleNet needs sets of objects, and these inputs have none", where="preprocess.sets")
        if config.embedding is None and len(spec.sets) > 1:
            names = ", ".join(item.name for item in spec.sets)
            raise ConfigError("several sets need an embedding", where="model.embedding", got=names, hint="32, say")
        embeddings = [SetEmbedding(item, config.embedding, config.coordinates) for item in spec.sets]
        self.embeddings = nn.ModuleList(embeddings)
        self.names = [item.name for item in spec.sets]
        widths = [(embeddings[0].num_outputs,), *config.edge_layers]
        self.blocks = nn.ModuleList(
            EdgeConvolution(before[-1], after, num_neighbours=config.num_neighbours)
            for before, after in itertools.pairwise(widths)
        )
        self.norm = MaskedBatchNorm(spec.num_event_features) if spec.num_event_features else None
        layers: list[nn.Module] = []
        num_inputs = widths[-1][-1] + spec.num_event_features
        for num_outputs in config.hidden:
            layers += [nn.Linear(num_inputs, num_outputs), nn.ReLU(), nn.Dropout(config.dropout)]
            num_inputs = num_outputs
        self.dense = nn.Sequential(*layers)
        self.num_outputs = num_inputs

    def forward(self, batch: Batch) -> Float[Tensor, "batch width"]:
        """Returns the last hidden layer, one vector per row."""
        sets = [batch.sets[name] for name in self.names]
        parts = [embedding(objects) for embedding, objects in zip(self.embeddings, sets, strict=True)]
        coordinates, features = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        mask = torch.cat([objects.mask for objects in sets], dim=1)
        for block in self.blocks:
            features = block(coordinates, features, mask)
            coordinates = features
        pooled = features.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        row = [] if self.norm is None else [self.norm(batch.event)]
        hidden: Tensor = self.dense(torch.cat([pooled, *row], dim=1))
        return hidden

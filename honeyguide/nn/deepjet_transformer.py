"""DeepJetTransformer: attention among the objects of all sets of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from honeyguide.data.batch import Batch, Objects
from honeyguide.data.input_spec import InputSpec
from honeyguide.errors import ConfigError
from honeyguide.nn.masked import MaskedBatchNorm
from honeyguide.nn.point_clouds import Cloud, make_cloud


@dataclass(frozen=True)
class HeavyFlavourLayers:
    """Numbers and widths of the layers of DeepJetTransformer; the defaults are the published ones.

    Attributes:
        embedding: Widths of the layers of each object alone; the last one is that of the blocks.
        num_blocks: Blocks of attention.
        num_heads: Heads of attention of a block.
        num_dense: Fully connected layers after the pooling.
    """

    embedding: Sequence[int] = (64, 128, 128)
    num_blocks: int = 3
    num_heads: int = 8
    num_dense: int = 3


@dataclass(frozen=True)
class Form:
    """What all layers have in common.

    Attributes:
        dropout: Share of the values that are set to 0 during training.
        bias: Whether maps have biases and normalisations have factors and offsets.
    """

    dropout: float = 0.1
    bias: bool = True

    def norm(self, width: int) -> MaskedBatchNorm:
        """Returns a batch normalisation."""
        return MaskedBatchNorm(width, eps=1e-3, affine=self.bias)

    def layer_norm(self, width: int) -> nn.LayerNorm:
        """Returns a normalisation of each object by itself."""
        return nn.LayerNorm(width, elementwise_affine=self.bias)


class SkipLayer(nn.Module):
    """A linear map, then ReLU, batch normalisation and dropout; that is added to the inputs, and normalised again.

    Inputs of another width pass a map of their own, and nothing is added where ``skip`` is false.
    """

    def __init__(self, num_inputs: int, num_outputs: int, form: Form, *, skip: bool = True) -> None:
        super().__init__()
        self.skip = skip
        self.linear = nn.Linear(num_inputs, num_outputs, bias=form.bias)
        self.norm = form.norm(num_outputs)
        self.last_norm = form.norm(num_outputs)
        changes = skip and num_inputs != num_outputs
        self.straight = nn.Linear(num_inputs, num_outputs, bias=form.bias) if changes else None
        self.straight_norm = form.norm(num_outputs) if changes else None
        self.dropout = nn.Dropout(form.dropout)

    def forward(
        self, rows: Float[Tensor, "row input"], present: Bool[Tensor, " row"] | None = None
    ) -> Float[Tensor, "row output"]:
        """Returns the layer's outputs; ``present`` tells which rows are objects, all if not given."""
        values = self.dropout(self.norm(torch.relu(self.linear(rows)), present))
        if self.straight is not None and self.straight_norm is not None:
            rows = self.dropout(self.straight_norm(torch.relu(self.straight(rows)), present))
        outputs: Tensor = self.last_norm(values + rows if self.skip else values, present)
        return outputs


class Embedding(nn.Module):
    """Layers for each object of a set alone."""

    def __init__(self, num_features: int, widths: Sequence[int], form: Form) -> None:
        super().__init__()
        self.norm = form.norm(num_features)
        pairs = pairwise((num_features, *widths))
        self.layers = nn.ModuleList(SkipLayer(*pair, form, skip=number > 0) for number, pair in enumerate(pairs))

    def forward(self, objects: Objects) -> Float[Tensor, "batch object width"]:
        """Returns what the layers make of the objects; 0 where there is none."""
        cloud = make_cloud(objects.mask)
        rows = self.norm(cloud.table(objects.features.masked_fill(~objects.mask.unsqueeze(2), 0)), cloud.present)
        for layer in self.layers:
            rows = layer(rows, cloud.present)
        return cloud.in_slots(rows)


class HeavyFlavourBlock(nn.Module):
    """A layer for each object alone, then attention among all, then two more layers for each, as published."""

    def __init__(self, width: int, num_heads: int, form: Form) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.layer = SkipLayer(width, width, form)
        self.to_queries_keys_values = nn.Linear(width, 3 * width, bias=form.bias)
        self.from_heads = nn.Linear(width, width, bias=form.bias)
        self.norm = form.layer_norm(width)
        self.first = nn.Linear(width, 4 * width, bias=form.bias)
        self.second = nn.Linear(4 * width, width, bias=form.bias)
        self.last_norm = form.layer_norm(width)
        self.dropout = nn.Dropout(form.dropout)

    def forward(
        self, rows: Float[Tensor, "row width"], cloud: Cloud, attended: Bool[Tensor, "batch 1 1 object"]
    ) -> Float[Tensor, "row width"]:
        """Returns the objects' new values; ``attended`` tells which slots are looked at."""
        rows = self.layer(rows, cloud.present)
        query, key, value = self._heads(rows, cloud)
        dropout = self.dropout.p if self.training else 0.0
        found = functional.scaled_dot_product_attention(query, key, value, attended, dropout)
        rows = self.norm(rows + self.from_heads(cloud.table(found.transpose(1, 2).flatten(2))))
        further: Tensor = self.last_norm(rows + self.second(self.dropout(torch.relu(self.first(rows)))))
        return further

    def attention(
        self, rows: Float[Tensor, "row width"], cloud: Cloud, attended: Bool[Tensor, "batch 1 1 object"]
    ) -> Float[Tensor, "batch head object object"]:
        """Returns how much the first object reads of the second one; 0 where there is none."""
        query, key, _ = self._heads(self.layer(rows, cloud.present), cloud)
        logits = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
        weights: Tensor = logits.masked_fill(~attended, -torch.inf).softmax(3)
        present = cloud.in_slots(torch.ones_like(rows[:, :1])).unsqueeze(1)
        return weights * present * present.transpose(2, 3)

    def _heads(self, rows: Tensor, cloud: Cloud) -> Tensor:
        """Returns queries, keys and values, (3, batch, head, object, width of a head)."""
        slots = cloud.in_slots(self.to_queries_keys_values(rows))
        heads: Tensor = slots.view(*slots.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        return heads


class DeepJetTransformer(nn.Module):
    """DeepJetTransformer (F. Blekman et al., arXiv:2406.08590), for any sets of objects.

    As in the authors' code: the features of each set are normalised and pass layers for each object alone (64, 128, 128
    values; the second and third one with a shortcut); the objects of all sets stand side by side and pass three heavy
    flavour transformer blocks of 128 values (a layer for each object alone with a shortcut; attention with 8 heads,
    added, then normalised; maps to 512 values and back, added, then normalised); the mean over the objects is weighted
    by the softmax of a learned linear map of each, with ReLU, batch normalisation and dropout; the features of the row,
    normalised over the batch, join it, and three fully connected layers with shortcuts as wide as all of these follow.
    Activations are ReLU, dropout is 0.1, batch normalisation has an epsilon of 1e-3.

    Chosen here: empty slots are masked, nobody attends to them, and they enter no mean and no variance (in the authors'
    code they are like any other object); the weights of the pooling have no bias, which would change nothing. There
    are variants of the code without features of the row, with GELU, or with normalisation before the attention.

    Args:
        spec: The inputs.
        layers: Numbers and widths.
        dropout: Share of the values that are set to 0 during training.
        bias: False for a network without any bias, and with normalisations that have no factors and offsets.

    Raises:
        ConfigError: The inputs have no sets, or the width can't be divided among the heads.
    """

    def __init__(
        self, spec: InputSpec, *, layers: HeavyFlavourLayers | None = None, dropout: float = 0.1, bias: bool = True
    ) -> None:
        super().__init__()
        layers, form = layers or HeavyFlavourLayers(), Form(dropout, bias)
        width = layers.embedding[-1]
        if not spec.sets:
            raise ConfigError(
                "DeepJetTransformer needs sets of objects, and these inputs have none", where="preprocess.sets"
            )
        if width % layers.num_heads:
            raise ConfigError("heads share the width of the blocks equally", got=f"{width} / {layers.num_heads}")
        self.embeddings = nn.ModuleDict(
            {item.name: Embedding(len(item.columns), layers.embedding, form) for item in spec.sets}
        )
        self.blocks = nn.ModuleList(HeavyFlavourBlock(width, layers.num_heads, form) for _ in range(layers.num_blocks))
        self.to_weight = nn.Linear(width, 1, bias=False)
        self.pooled_norm = form.norm(width)
        self.dropout = nn.Dropout(dropout)
        self.norm = form.norm(spec.num_event_features) if spec.num_event_features else None
        self.num_outputs = width + spec.num_event_features
        self.dense = nn.Sequential(
            *(SkipLayer(self.num_outputs, self.num_outputs, form) for _ in range(layers.num_dense))
        )

    def forward(self, batch: Batch) -> Float[Tensor, "batch width"]:
        """Returns the last hidden layer, one vector per row."""
        rows, cloud, attended = self._embedded(batch)
        for block in self.blocks:
            rows = block(rows, cloud, attended)
        pooled = (self._weights(rows, cloud, attended) * cloud.in_slots(rows)).sum(1)
        parts = [] if self.norm is None else [self.norm(batch.event)]
        parts += [self.dropout(self.pooled_norm(torch.relu(pooled)))]
        hidden: Tensor = self.dense(torch.cat(parts, dim=1))
        return hidden

    def inspect(self, batch: Batch) -> dict[str, Float[Tensor, "batch ..."]]:
        """Returns the weights of the attention.

        ``attention/<block>`` (batch, head, object, object), how much the first object reads of the second one, and
        ``pooling`` (batch, object), how much of each object is in the mean; objects of all sets side by side, 0 where
        there is none.
        """
        rows, cloud, attended = self._embedded(batch)
        found = {}
        for number, block in enumerate(self.blocks):
            assert isinstance(block, HeavyFlavourBlock), "as it was made"
            found[f"attention/{number}"] = block.attention(rows, cloud, attended)
            rows = block(rows, cloud, attended)
        present = cloud.in_slots(torch.ones_like(rows[:, :1]))
        found["pooling"] = (self._weights(rows, cloud, attended) * present).squeeze(2)
        return found

    def _embedded(self, batch: Batch) -> tuple[Tensor, Cloud, Tensor]:
        """Returns the objects of all sets as a table, the table's form, and which slots are attended to."""
        mask = torch.cat([batch.sets[name].mask for name in self.embeddings], dim=1)
        # a row without objects attends to its empty slots, of which nothing comes
        attended = (mask | ~mask.any(1, keepdim=True)).view(len(mask), 1, 1, -1)
        cloud = make_cloud(mask)
        slots = torch.cat([layers(batch.sets[name]) for name, layers in self.embeddings.items()], dim=1)
        return cloud.table(slots), cloud, attended

    def _weights(self, rows: Tensor, cloud: Cloud, attended: Tensor) -> Tensor:
        """Returns the share of each object in the pooling, (batch, object, 1)."""
        logits = cloud.in_slots(self.to_weight(rows))
        return logits.masked_fill(~attended.view(*logits.shape), -torch.inf).softmax(1)

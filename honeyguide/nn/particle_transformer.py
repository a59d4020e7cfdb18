"""The Particle Transformer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from honeyguide.data.batch import Objects
from honeyguide.nn.attention import NOTHING, BlockStyle, Maps, TransformerBlock
from honeyguide.nn.masked import MaskedBatchNorm, may_drop_padding
from honeyguide.nn.pair_features import PairEmbedding, kinematics, pair_features, symmetric_matrix
from honeyguide.nn.pair_index import PairIndex, lower_triangle, triangle

_CHUNK = 2048  # objects whose hidden values stay in the processor's cache


class ObjectEmbedding(nn.Module):
    """Makes a vector of each object alone: normalised inputs, then layer normalisation, linear map and GELU in turn.

    Args:
        num_features: Features of an object.
        widths: Outputs of the linear maps.
        bias: False for no bias and no factor anywhere.
    """

    def __init__(self, num_features: int, widths: Sequence[int], *, bias: bool) -> None:
        super().__init__()
        self.norm = MaskedBatchNorm(num_features, affine=bias)
        layers: list[nn.Module] = []
        for before, after in pairwise([num_features, *widths]):
            layers += [nn.LayerNorm(before, elementwise_affine=bias), nn.Linear(before, after, bias=bias), nn.GELU()]
        self.layers = nn.Sequential(*layers)

    def forward(
        self, rows: Float[Tensor, "row feature"], present: Bool[Tensor, " row"] | None = None
    ) -> Float[Tensor, "row width"]:
        """Returns one vector per row; ``present`` tells which rows are objects, all if not given."""
        normed = self.norm(rows, present)
        if self.training or not may_drop_padding(rows):
            values: Tensor = self.layers(normed)
            return values
        return torch.cat([self.layers(chunk) for chunk in normed.split(_CHUNK)])


class RowEmbedding(nn.Module):
    """Makes a vector of the features of a row: normalised over the batch, a linear map, GELU, a linear map."""

    def __init__(self, num_features: int, width: int, *, bias: bool) -> None:
        super().__init__()
        self.norm = MaskedBatchNorm(num_features, affine=bias)
        self.hidden = nn.Linear(num_features, width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, event: Float[Tensor, "batch row_feature"]) -> Float[Tensor, "batch width"]:
        """Returns one vector per row."""
        vector: Tensor = self.out(functional.gelu(self.hidden(self.norm(event))))
        return vector


@dataclass(frozen=True)
class _Group:
    """Jets that pass the blocks together: objects (batch, object, width), which there are, and the attention bias."""

    values: Tensor
    mask: Tensor
    bias: Tensor


class ParticleTransformer(nn.Module):
    """The Particle Transformer (H. Qu, C. Li, S. Qian, ICML 2022, arXiv:2202.03772), for any sets of objects.

    The objects of all sets stand side by side, each set with an embedding of its own. What each two of them are to each
    other (:func:`honeyguide.nn.pair_features.pair_features`) makes a bias of each head, the same one in all blocks.
    A class token then reads the objects; features of the row, which the publication has not, are made a vector and
    added to it before. Without class blocks, and without biases, the mean over the objects stands for it.

    Empty slots are masked, and enter no mean of a normalisation. On a CPU they are dropped: jets of about the same
    length pass the blocks together. Elsewhere, and compiled, nothing depends on how many objects there are.

    Args:
        num_features: Features of an object, of each set.
        num_row_features: Features of the row.
        style: The blocks.
        num_layers: Blocks in which objects see each other.
        num_class_layers: Blocks in which the class token reads the objects; none without biases.
        embedding: Widths of the layers of every object alone; the last one is the blocks' width.
        pair_layers: Widths of the layers that make the bias of a pair.

    Attributes:
        num_outputs: Values that come out.
    """

    def __init__(
        self,
        num_features: Sequence[int],
        *,
        num_row_features: int = 0,
        style: BlockStyle | None = None,
        num_layers: int = 8,
        num_class_layers: int = 2,
        embedding: Sequence[int] = (128, 512, 128),
        pair_layers: Sequence[int] = (64, 64, 64),
    ) -> None:
        super().__init__()
        style = replace(style or BlockStyle(), width=embedding[-1])
        self.num_outputs = style.width
        self.embeddings = nn.ModuleList(ObjectEmbedding(number, embedding, bias=style.bias) for number in num_features)
        self.pair_embedding = PairEmbedding(
            pair_layers, style.num_heads, bias=style.linear_bias, affine=style.bias, activation=style.pair_activation
        )
        self.blocks = nn.ModuleList(TransformerBlock(style) for _ in range(num_layers))
        reading = replace(style, dropout=0.0)
        number = num_class_layers if style.bias else 0
        self.class_blocks = nn.ModuleList(TransformerBlock(reading) for _ in range(number))
        self.norm = style.norm(style.width)
        self.row_embedding = None
        if num_row_features:
            self.row_embedding = RowEmbedding(num_row_features, style.width, bias=style.bias)
        self.class_token = nn.Parameter(torch.empty(style.width)) if number else None
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        """Sets the weights as the authors do: uniform by widths, and less for what deeper blocks add.

        The layers of pairs are as torch makes them, and so are embeddings where there are several.
        """
        embeddings = list(self.embeddings) if len(self.embeddings) == 1 else []
        for part in (*self.blocks, *self.class_blocks, *embeddings):
            part.apply(initialise_linear)
        limit = math.sqrt(6 / (2 * self.num_outputs))  # of query, key and value, each for itself
        for block in (*self.blocks, *self.class_blocks):
            assert isinstance(block, TransformerBlock)
            nn.init.uniform_(block.attention_in.weight, -limit, limit)
        for number, block in enumerate(self.blocks, start=1):
            assert isinstance(block, TransformerBlock)
            block.attention_out.weight.div_(math.sqrt(2 * number))
            block.hidden_out.weight.div_(math.sqrt(2 * number))
        if self.class_token is not None:
            nn.init.trunc_normal_(self.class_token, std=0.02)

    def forward(
        self, sets: Sequence[Objects], event: Float[Tensor, "batch row_feature"] | None = None
    ) -> Float[Tensor, "batch width"]:
        """Returns one vector per row.

        Args:
            sets: The objects of each set, with four-momenta.
            event: Features of the row, if there are to be any.
        """
        token = self._token(sets[0].features, event)
        if not may_drop_padding(token):
            return self._pooled(self._padded(sets), token)
        count = torch.cat([item.mask for item in sets], dim=1).sum(1)
        order = count.argsort(descending=True, stable=True)
        sets = [item.map(lambda tensor: tensor[order]) for item in sets]
        token, parts, start = token[order], [], 0
        for group in self._packed(sets):
            stop = start + len(group.mask)
            parts.append(self._pooled(group, token[start:stop]))
            start = stop
        pooled = torch.cat(parts)
        return pooled.new_zeros(pooled.shape).index_copy(0, order, pooled)

    def attention_maps(
        self, sets: Sequence[Objects], event: Float[Tensor, "batch row_feature"] | None = None
    ) -> dict[str, Float[Tensor, "batch head ..."]]:
        """Returns the attention weights of each block, in evaluation mode; 0 where there is no object.

        ``attention/<block>`` (batch, head, object, object): how much the first object reads of the second, objects of
        all sets side by side; ``class_attention/<block>`` (batch, head, 1 + object): how much the class token reads of
        itself and of each object.
        """
        group, maps = self._padded(sets), Maps()
        self._pooled(group, self._token(sets[0].features, event), maps)
        both = (group.mask.unsqueeze(1) & group.mask.unsqueeze(2)).unsqueeze(1)
        count = len(self.blocks)
        result = {f"attention/{i}": weights.masked_fill(~both, 0) for i, weights in enumerate(maps[:count])}
        return result | {f"class_attention/{i}": weights.squeeze(2) for i, weights in enumerate(maps[count:])}

    def _token(self, features: Tensor, event: Tensor | None) -> Float[Tensor, "batch width"]:
        """Returns what the class token is before it has read anything; 0 where there is none."""
        batch = features.shape[0]
        token = features.new_zeros(batch, self.num_outputs) if self.class_token is None else self.class_token
        if self.row_embedding is not None and event is not None:
            token = token + self.row_embedding(event)
        return token.expand(batch, -1)

    def _pooled(self, group: _Group, token: Tensor, maps: Maps | None = None) -> Float[Tensor, "batch width"]:
        values = group.values
        for block in self.blocks:
            values = block(values, group.bias, maps)
        if self.class_blocks:
            bias = torch.zeros_like(values[:, :, 0]).masked_fill(~group.mask, NOTHING)
            bias = functional.pad(bias, (1, 0))[:, None, None]
            for reader in self.class_blocks:
                assert isinstance(reader, TransformerBlock)
                token = reader.read(token, values, bias, maps)
        else:
            total = values.masked_fill(~group.mask.unsqueeze(-1), 0).sum(1)
            token = token + total / group.mask.sum(1, keepdim=True).clamp(min=1)
        outputs: Tensor = self.norm(token)
        return outputs

    def _padded(self, sets: Sequence[Objects]) -> _Group:
        """Returns all jets as one group, whatever number of objects they have."""
        mask = torch.cat([item.mask for item in sets], dim=1)
        parts = []
        for embedding, item in zip(self.embeddings, sets, strict=True):
            empty = ~item.mask.unsqueeze(-1)
            rows = embedding(item.features.masked_fill(empty, 0).flatten(0, 1), item.mask.flatten())
            parts.append(rows.view(*item.mask.shape, -1).masked_fill(empty, 0))
        vectors = torch.cat([four_momenta(item) for item in sets], dim=1).masked_fill(~mask.unsqueeze(-1), 0)
        bias = self._pair_bias(vectors, mask)
        return _Group(torch.cat(parts, dim=1), mask, bias.masked_fill(~mask[:, None, None], NOTHING))

    def _pair_bias(self, vectors: Tensor, mask: Tensor) -> Float[Tensor, "batch head object object"]:
        """Returns the bias of all pairs of slots, each of which is looked at once."""
        slots = mask.shape[1]
        first, second = lower_triangle(slots, mask.device)
        with torch.no_grad():
            particles = kinematics(vectors)
            features = pair_features(particles[:, :, first], particles[:, :, second])
        present = mask[:, first] & mask[:, second]
        pairs = self.pair_embedding(features.flatten(0, 1), present.flatten()).view(*present.shape, -1)
        return symmetric_matrix(pairs.transpose(1, 2), triangle(slots, mask.device), first * slots + second)

    def _packed(self, sets: Sequence[Objects]) -> Iterator[_Group]:
        """Returns groups of jets of about the same length, from the longest to the shortest, as they come."""
        mask = torch.cat([item.mask for item in sets], dim=1)
        rows = self._rows(sets, mask)
        index = PairIndex(mask.sum(1))
        with torch.no_grad():
            particles = kinematics(torch.cat([four_momenta(item) for item in sets], dim=1)[mask])
            features = pair_features(particles.index_select(1, index.first), particles.index_select(1, index.second))
        groups = index.groups()
        # cut at once: the gradients of all groups are then put together at once, too
        pairs = torch.split(self.pair_embedding(features), [index.num_pairs(*group) for group in groups])
        parts = torch.split(rows, [index.num_objects(*group) for group in groups])
        for (low, high), own_pairs, own_rows in zip(groups, pairs, parts, strict=True):
            present = index.present(low, high)
            if not len(own_rows):  # nothing to index
                nothing = rows.new_full((high - low, 1, 1, 1), NOTHING)
                yield _Group(rows.new_zeros(*present.shape, rows.shape[1]), present, nothing)
                continue
            values = own_rows.index_select(0, index.objects(low, high).flatten()).view(*present.shape, -1)
            places, lower = index.places(low, high)
            bias = symmetric_matrix(own_pairs.t().contiguous(), places, lower).transpose(0, 1)
            yield _Group(values, present, bias.masked_fill(~present[:, None, None], NOTHING))

    def _rows(self, sets: Sequence[Objects], mask: Tensor) -> Float[Tensor, "row width"]:
        """Returns the vectors of all objects, jet by jet."""
        rows: list[Tensor]
        rows = [layer(item.features[item.mask]) for layer, item in zip(self.embeddings, sets, strict=True)]
        if len(sets) == 1:
            return rows[0]
        slots = [
            part.new_zeros(*item.mask.shape, part.shape[1]).masked_scatter(item.mask.unsqueeze(-1), part)
            for part, item in zip(rows, sets, strict=True)
        ]
        return torch.cat(slots, dim=1)[mask]


def initialise_linear(layer: nn.Module) -> None:
    """Sets weights uniform by widths (Glorot), and the bias to 0, as the authors do; of a linear map alone."""
    if isinstance(layer, nn.Linear):
        nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def four_momenta(item: Objects) -> Float[Tensor, "batch object 4"]:
    """Returns the four-momenta of a set."""
    assert item.vectors is not None, "the sets of a Particle Transformer have four-momenta"
    return item.vectors

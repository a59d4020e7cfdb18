"""Attention between the objects of a jet: the blocks of the Particle Transformer (arXiv:2202.03772)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from honeyguide.nn.dropout import dropout
from honeyguide.nn.masked import may_drop_padding

NOTHING = -3e4
"""Attention bias of what is no object: its weight is exactly 0; it is finite for jets without objects and for fp16."""

Maps = list[Tensor]


@dataclass(frozen=True)
class BlockStyle:
    """What the blocks of a transformer are made of.

    Attributes:
        version: 1 as published: GELU, and NormFormer's normalisations and scales behind attention and hidden layer
            (arXiv:2110.09456). 2: normalisation in front alone, and a gated hidden layer, SwiGLU (arXiv:2002.05202). 3:
            as 2, with root-mean-square normalisation (arXiv:1910.07467) and linear maps without a bias.
        width: Values of an object.
        num_heads: Heads of the attention.
        expansion: Values of the hidden layer for one of the object.
        dropout: Share of attention weights and of values that are set to 0 during training; None for that of the
            version: 0.1, of version 3 none.
        drop_path: Share of the jets that pass a block by during training (arXiv:1603.09382); None for that of the
            version: none, of version 3 0.1.
        layer_scale: Factor that each block's outputs start with (arXiv:2103.17239); None for none.
        bias: False for no bias, no factor and no additive constant anywhere.
        pair_activation: Whether the attention bias of a pair of objects has passed GELU at last.
    """

    version: Literal[1, 2, 3] = 1
    width: int = 128
    num_heads: int = 8
    expansion: int = 4
    dropout: float | None = None
    drop_path: float | None = None
    layer_scale: float | None = None
    bias: bool = True
    pair_activation: bool = True

    @property
    def linear_bias(self) -> bool:
        """Whether linear maps have a bias."""
        return self.bias and self.version < 3

    @property
    def rates(self) -> tuple[float, float]:
        """Shares of dropout and of dropped paths."""
        dropout, drop_path = (0.0, 0.1) if self.version == 3 else (0.1, 0.0)
        return (
            dropout if self.dropout is None else self.dropout,
            drop_path if self.drop_path is None else self.drop_path,
        )

    def norm(self, width: int) -> nn.Module:
        """Returns a normalisation of an object's values."""
        kind = nn.RMSNorm if self.version == 3 else nn.LayerNorm
        return kind(width, elementwise_affine=self.bias)

    def post_norm(self, width: int) -> nn.Module:
        """Returns the normalisation behind attention and hidden layer."""
        return self.norm(width) if self.version == 1 else nn.Identity()

    def scale(self, width: int) -> nn.Parameter | None:
        """Returns NormFormer's factors of heads or residuals."""
        return nn.Parameter(torch.ones(width)) if self.version == 1 and self.bias else None

    def layer_scales(self) -> nn.Parameter | None:
        """Returns the factors of a block's outputs."""
        if self.layer_scale is None or not self.bias:
            return None
        return nn.Parameter(torch.full((self.width,), self.layer_scale))


class TransformerBlock(nn.Module):
    """Attention, then a hidden layer for every object, each added to what comes in.

    :meth:`forward` lets objects see each other; :meth:`read` lets one vector per jet, the class token, see the objects
    and itself (class attention, arXiv:2103.17239). A block is used in one of these ways.
    """

    def __init__(self, style: BlockStyle) -> None:
        super().__init__()
        width, hidden, bias = style.width, style.expansion * style.width, style.linear_bias
        self.num_heads = style.num_heads
        self.dropout, self.drop_path = style.rates
        self.attention_norm = style.norm(width)
        self.attention_in = nn.Linear(width, 3 * width, bias=bias)
        self.attention_out = nn.Linear(width, width, bias=bias)
        self.attention_post_norm = style.post_norm(width)
        self.attention_scale = style.layer_scales()
        self.head_scale = style.scale(style.num_heads)
        self.hidden_norm = style.norm(width)
        self.hidden_in = nn.Linear(width, hidden, bias=bias)
        self.hidden_gate = nn.Linear(width, hidden, bias=bias) if style.version > 1 else None
        self.hidden_post_norm = style.post_norm(hidden)
        self.hidden_out = nn.Linear(hidden, width, bias=bias)
        self.hidden_scale = style.layer_scales()
        self.residual_scale = style.scale(width)

    def forward(
        self,
        values: Float[Tensor, "batch object width"],
        bias: Float[Tensor, "batch head object object"],
        maps: Maps | None = None,
    ) -> Float[Tensor, "batch object width"]:
        """Returns the objects after they have seen each other.

        Args:
            values: The objects.
            bias: What is added to the attention's logits; :data:`NOTHING` for keys that are no objects.
            maps: Where to append the attention weights; None for weights that are never written down.
        """
        projected = self.attention_in(self.attention_norm(values))
        query, key, value = projected.view(*values.shape[:2], 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind()
        return self._hidden(self._attend(values, (query, key, value), bias, maps))

    def read(
        self,
        token: Float[Tensor, "batch width"],
        values: Float[Tensor, "batch object width"],
        bias: Float[Tensor, "batch 1 1 object+1"],
        maps: Maps | None = None,
    ) -> Float[Tensor, "batch width"]:
        """Returns the class token after it has seen itself and the objects.

        Args:
            token: The class token.
            values: The objects.
            bias: What is added to the attention's logits of the token itself and of the objects.
            maps: Where to append the attention weights; None for weights that are never written down.
        """
        residual = token.unsqueeze(1)
        normed = self.attention_norm(torch.cat([residual, values], dim=1))
        width = token.shape[-1]
        weight, offset = self.attention_in.weight, self.attention_in.bias
        halves = (None, None) if offset is None else (offset[:width], offset[width:])
        query = functional.linear(residual, weight[:width], halves[0])
        both = functional.linear(normed, weight[width:], halves[1])
        key, value = both.view(*both.shape[:2], 2, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind()
        query = query.view(len(token), 1, self.num_heads, -1).transpose(1, 2)
        return self._hidden(self._attend(residual, (query, key, value), bias, maps)).squeeze(1)

    def _attend(
        self, residual: Tensor, parts: tuple[Tensor, Tensor, Tensor], bias: Tensor, maps: Maps | None
    ) -> Tensor:
        query, key, _ = parts
        bias = bias.to(query.dtype)
        if maps is not None:
            logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + bias
            maps.append(torch.softmax(logits, dim=-1))
        seen = attend(*parts, bias, share=self.dropout if self.training else 0.0)
        read = self.attention_out(seen.transpose(1, 2).flatten(2))
        if self.head_scale is not None:  # behind the map that mixes the heads: so it is in the authors' code
            read = read * self.head_scale.repeat_interleave(read.shape[-1] // self.num_heads)
        change = self._dropped(self.attention_post_norm(read))
        return residual + self._thinned(change, self.attention_scale)

    def _hidden(self, values: Tensor) -> Tensor:
        normed = self.hidden_norm(values)
        hidden = self.hidden_in(normed)
        if self.hidden_gate is None:
            hidden = functional.gelu(hidden)
        else:
            hidden = functional.silu(self.hidden_gate(normed)) * hidden
        hidden = self.hidden_post_norm(self._dropped(hidden))
        change = self._thinned(self._dropped(self.hidden_out(hidden)), self.hidden_scale)
        return change + (values if self.residual_scale is None else values * self.residual_scale)

    def _dropped(self, values: Tensor) -> Tensor:
        return dropout(values, self.dropout, training=self.training)

    def _thinned(self, change: Tensor, scale: Tensor | None) -> Tensor:
        change = change if scale is None else change * scale
        if not self.training or not self.drop_path:
            return change
        keep = 1 - self.drop_path
        chosen = change.new_empty(change.shape[0], 1, 1).bernoulli_(keep)
        return change * (chosen / keep)


def attend(
    query: Float[Tensor, "batch head reader channel"],
    key: Float[Tensor, "batch head object channel"],
    value: Float[Tensor, "batch head object channel"],
    bias: Float[Tensor, "batch ..."],
    *,
    share: float,
) -> Float[Tensor, "batch head reader channel"]:
    """Returns softmax(query key / sqrt(channels) + bias) value, with a share of the weights set to 0."""
    if not (bias.requires_grad and may_drop_padding(query)):
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=share)
    # torch has no kernel for a CPU that gives the gradient of a bias; heads in front, where pairs have them
    heads = query.shape[1]
    query, key, value, bias = (part.transpose(0, 1).flatten(0, 1) for part in (query, key, value, bias))
    scale = query.shape[-1] ** -0.5
    weights = torch.softmax(torch.baddbmm(bias, query, key.transpose(1, 2), alpha=scale), dim=-1)
    seen = torch.bmm(dropout(weights, share, training=True), value)
    return seen.view(heads, -1, *seen.shape[1:]).transpose(0, 1)

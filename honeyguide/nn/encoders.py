"""Encoders: from objects, mask and event features to one vector per event. Padded slots have no effect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from honeyguide.data.input_spec import InputSpec
from honeyguide.nn.convolution import ConvPlan
from honeyguide.nn.layers import LayerStyle, dense_stack


class DenseEncoder(nn.Module):
    """Fully connected layers over all features, the mask and the event features.

    The mask is an input because a padded 0 looks the same as a feature that equals the mean.
    """

    def __init__(self, spec: InputSpec, *, hidden: Sequence[int], style: LayerStyle) -> None:
        super().__init__()
        num_inputs = spec.num_objects * (spec.num_features + 1) + spec.num_event_features
        self.layers = dense_stack([num_inputs, *hidden], style)
        self.num_outputs = [num_inputs, *hidden][-1]

    def forward(
        self,
        objects: Float[Tensor, "batch object feature"],
        mask: Bool[Tensor, "batch object"],
        event: Float[Tensor, "batch event_feature"],
    ) -> Float[Tensor, "batch width"]:
        """Returns one vector per event."""
        clean = objects.masked_fill(~mask.unsqueeze(-1), 0)
        hidden: Tensor = self.layers(torch.cat([clean.flatten(1), mask.to(objects.dtype), event], dim=1))
        return hidden


class ConvEncoder(nn.Module):
    """2-D convolutions over (object, feature), then fully connected layers that also see the event features.

    The image has two channels: the features, and the mask.
    """

    def __init__(
        self, spec: InputSpec, *, plan: ConvPlan, channels: Sequence[int], hidden: Sequence[int], style: LayerStyle
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 2
        for shape, after in zip(plan.shapes, channels, strict=True):
            layers += [
                nn.Conv2d(before, after, shape.kernel, padding=shape.padding, bias=style.bias),
                *style.after_conv(after),
            ]
            before = after
        self.convolutions = nn.Sequential(*layers)
        num_flat = before * plan.output[0] * plan.output[1] + spec.num_event_features
        self.layers = dense_stack([num_flat, *hidden], style)
        self.num_outputs = [num_flat, *hidden][-1]

    def forward(
        self,
        objects: Float[Tensor, "batch object feature"],
        mask: Bool[Tensor, "batch object"],
        event: Float[Tensor, "batch event_feature"],
    ) -> Float[Tensor, "batch width"]:
        """Returns one vector per event."""
        present = mask.unsqueeze(-1)
        channels = [objects.masked_fill(~present, 0), present.to(objects.dtype).expand_as(objects)]
        image = torch.stack(channels, dim=-1).permute(0, 3, 1, 2)  # in memory the channels come last: faster
        hidden: Tensor = self.layers(torch.cat([self.convolutions(image).flatten(1), event], dim=1))
        return hidden


class DeepSetEncoder(nn.Module):
    """The same layers for every object (arXiv:1703.06114), attention that pools them, then layers for the event.

    Each head of the attention has a learned query; what it gives is a mean over the objects, weighted by the softmax of
    their scores. Neither the order of the objects nor the number of padded slots has an effect. The fully connected
    layers also see the logarithm of the number of objects, which a mean does not tell, and the event features.

    Args:
        spec: The inputs.
        object_hidden: Widths of the layers that every object passes alone.
        num_heads: Heads of the attention, which nothing trains where an event has one object.
        hidden: Widths of the fully connected layers after the pooling.
        style: What stands between the layers. Within the set, ``layer`` normalisation stands for ``batch``: the
            statistics of a batch would see the padding.
    """

    def __init__(
        self,
        spec: InputSpec,
        *,
        object_hidden: Sequence[int],
        num_heads: int,
        hidden: Sequence[int],
        style: LayerStyle,
    ) -> None:
        super().__init__()
        inside = replace(style, normalization="layer") if style.normalization == "batch" else style
        widths = [spec.num_features, *object_hidden]
        self.objects = dense_stack(widths, inside)
        # a bias would cancel in the softmax
        self.attention = nn.Linear(widths[-1], num_heads, bias=False)
        num_pooled = num_heads * widths[-1] + 1 + spec.num_event_features
        self.layers = dense_stack([num_pooled, *hidden], style)
        self.num_outputs = [num_pooled, *hidden][-1]

    def forward(
        self,
        objects: Float[Tensor, "batch object feature"],
        mask: Bool[Tensor, "batch object"],
        event: Float[Tensor, "batch event_feature"],
    ) -> Float[Tensor, "batch width"]:
        """Returns one vector per event."""
        present = mask.unsqueeze(-1)
        values = self.objects(objects.masked_fill(~present, 0))
        scores = self.attention(values).masked_fill(~present, -torch.inf)
        # an event without objects has no largest score, and weights 0; any other has a sum of 1 or more
        largest = scores.amax(1, keepdim=True).detach().clamp(min=torch.finfo(scores.dtype).min)
        weights = torch.exp(scores - largest)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1)
        pooled = torch.einsum("boh,bow->bhw", weights, values).flatten(1)
        count = torch.log1p(mask.sum(1, keepdim=True).to(pooled.dtype))
        hidden: Tensor = self.layers(torch.cat([pooled, count, event], dim=1))
        return hidden

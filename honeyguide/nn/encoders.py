"""Encoders: from objects, mask and event features to one vector per event. Padded slots have no effect."""

from __future__ import annotations

from collections.abc import Sequence

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
        image = torch.stack([objects.masked_fill(~present, 0), present.to(objects.dtype).expand_as(objects)], dim=1)
        hidden: Tensor = self.layers(torch.cat([self.convolutions(image).flatten(1), event], dim=1))
        return hidden

"""Decoders: from a latent vector back to objects and event features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from honeyguide.data.input_spec import InputSpec
from honeyguide.nn.convolution import ConvPlan
from honeyguide.nn.layers import LayerStyle, dense_stack


class DenseDecoder(nn.Module):
    """Fully connected layers; mirrors :class:`honeyguide.nn.encoders.DenseEncoder` where ``hidden`` is reversed."""

    def __init__(self, spec: InputSpec, *, latent_dim: int, hidden: Sequence[int], style: LayerStyle) -> None:
        super().__init__()
        self.shape = (spec.num_objects, spec.num_features)
        self.num_object_values = spec.num_objects * spec.num_features
        widths = [latent_dim, *hidden]
        self.layers = dense_stack(widths, style)
        self.output = nn.Linear(widths[-1], self.num_object_values + spec.num_event_features)

    def forward(
        self, latent: Float[Tensor, "batch latent"]
    ) -> tuple[Float[Tensor, "batch object feature"], Float[Tensor, "batch event_feature"]]:
        """Returns decoded objects and event features."""
        values = self.output(self.layers(latent))
        objects, event = values[:, : self.num_object_values], values[:, self.num_object_values :]
        return objects.unflatten(1, self.shape), event


class ConvDecoder(nn.Module):
    """Fully connected layers and transposed convolutions; mirrors the convolutional encoder.

    Args:
        spec: The inputs to decode to.
        plan: The encoder's convolutions.
        channels: The encoder's channels, first to last.
        widths: Latent dimension, then the widths of the fully connected layers, from the latent space outwards.
        style: What stands between the layers.
    """

    def __init__(
        self, spec: InputSpec, *, plan: ConvPlan, channels: Sequence[int], widths: Sequence[int], style: LayerStyle
    ) -> None:
        super().__init__()
        self.image = (channels[-1], *plan.output)
        self.layers = dense_stack(widths, style)
        self.unpack = nn.Linear(widths[-1], channels[-1] * plan.output[0] * plan.output[1])
        outwards = [*reversed(channels), 1]
        layers: list[nn.Module] = []
        for index, shape in enumerate(reversed(plan.shapes)):
            before, after = outwards[index], outwards[index + 1]
            last = index == len(plan.shapes) - 1
            layers.append(
                nn.ConvTranspose2d(before, after, shape.kernel, padding=shape.padding, bias=last or style.bias)
            )
            if not last:
                layers += style.after_conv(after)
        self.convolutions = nn.Sequential(*style.after_conv(channels[-1]), *layers)
        self.event = nn.Linear(widths[-1], spec.num_event_features) if spec.num_event_features else None

    def forward(
        self, latent: Float[Tensor, "batch latent"]
    ) -> tuple[Float[Tensor, "batch object feature"], Float[Tensor, "batch event_feature"]]:
        """Returns decoded objects and event features."""
        hidden = self.layers(latent)
        image = self.unpack(hidden).unflatten(1, self.image).contiguous(memory_format=torch.channels_last)
        objects = self.convolutions(image).squeeze(1)
        event = self.event(hidden) if self.event is not None else hidden[:, :0]
        return objects, event

"""Stacks of layers that encoders and decoders share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "leaky_relu": nn.LeakyReLU,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


@dataclass(frozen=True)
class LayerStyle:
    """What stands between the linear maps.

    Attributes:
        activation: A key of :data:`ACTIVATIONS`.
        normalization: ``none``, ``batch`` or ``layer``.
        dropout: Share of the values that are set to 0 during training.
    """

    activation: str = "leaky_relu"
    normalization: str = "none"
    dropout: float = 0.0

    @property
    def bias(self) -> bool:
        """Whether the linear map before has a bias: normalisation brings its own, and undoes any other."""
        return self.normalization == "none"

    def after_dense(self, width: int) -> list[nn.Module]:
        """Returns the layers that follow a fully connected layer."""
        norms: dict[str, list[nn.Module]] = {
            "none": [],
            "batch": [nn.BatchNorm1d(width)],
            "layer": [nn.LayerNorm(width)],
        }
        return [*norms[self.normalization], *self._after()]

    def after_conv(self, channels: int) -> list[nn.Module]:
        """Returns the layers that follow a 2-D convolution."""
        norms: dict[str, list[nn.Module]] = {
            "none": [],
            "batch": [nn.BatchNorm2d(channels)],
            "layer": [nn.GroupNorm(1, channels)],
        }
        return [*norms[self.normalization], *self._after()]

    def _after(self) -> list[nn.Module]:
        dropout = [nn.Dropout(self.dropout)] if self.dropout else []
        return [ACTIVATIONS[self.activation](), *dropout]


def dense_stack(widths: Sequence[int], style: LayerStyle) -> nn.Sequential:
    """Returns fully connected layers from ``widths[0]`` to ``widths[-1]`` values, with what the style puts between."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after, bias=style.bias), *style.after_dense(after)]
    return nn.Sequential(*layers)

"""What two particles are to each other: features of pairs, and the attention bias that is made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from honeyguide.nn.masked import MaskedBatchNorm, may_drop_padding
from honeyguide.nn.normalised_layers import Layer, normalised_layers

NUM_PAIR_FEATURES = 4
_EPS = 1e-8
_CHUNK = 2048  # pairs whose hidden values stay in the processor's cache


def kinematics(vectors: Float[Tensor, "... 4"]) -> Float[Tensor, "7 ..."]:
    """Returns px, py, pz, E, pt [GeV], rapidity and phi of four-momenta (px, py, pz, E) [GeV]."""
    px, py, pz, energy = vectors.unbind(-1)
    pt = (px.square() + py.square()).sqrt()
    # what is rounded to 0, of particles close to the beam, has no logarithm
    rapidity = 0.5 * torch.log((1 + 2 * pz / (energy - pz).clamp(min=1e-20)).clamp(min=1e-20))
    return torch.stack([px, py, pz, energy, pt, rapidity, torch.atan2(py, px)])


def pair_features(first: Float[Tensor, "7 ..."], second: Float[Tensor, "7 ..."]) -> Float[Tensor, "... 4"]:
    """Returns ln kT, ln z, ln Delta and ln m² of pairs (arXiv:2202.03772, equation 3), none below ln 1e-8.

    Delta is the distance in rapidity and phi, kT = min(pt) Delta, z = min(pt) / (sum of both pt), m² = (p1 + p2)² with
    momenta and masses in GeV. They are single precision at least, rounded in the order of the authors' code: m² of
    nearly parallel particles is a small difference of large numbers, and a network learns it with its rounding.

    Args:
        first: What :func:`kinematics` gives for one particle of each pair.
        second: The same for the other particle.
    """
    px, py, pz, energy = (first[:4] + second[:4]).unbind()
    (pt, rapidity, phi), (other_pt, other_rapidity, other_phi) = first[4:].unbind(), second[4:].unbind()
    turn = (phi - other_phi + math.pi) % (2 * math.pi) - math.pi
    delta = ((rapidity - other_rapidity).square() + turn.square()).sqrt()
    smaller = torch.minimum(pt, other_pt)
    mass_squared = energy.square() - (px.square() + py.square() + pz.square())
    parts = [smaller * delta, smaller / (pt + other_pt).clamp(min=_EPS), delta, mass_squared]
    return torch.stack(parts, -1).clamp_(min=_EPS).log_()


def symmetric_matrix(
    pairs: Float[Tensor, "*batch pair"], places: Int[Tensor, "*set row column"], lower: Int[Tensor, " pair"]
) -> Float[Tensor, "*batch *set row column"]:
    """Returns the values of pairs as symmetric matrices.

    Args:
        pairs: Values of pairs.
        places: Number of the pair that stands at each place.
        lower: Place, in the flattened ``places``, of each pair on or below a diagonal.
    """
    matrix: Tensor = _SymmetricMatrix.apply(pairs, places, lower)  # type: ignore[no-untyped-call]
    return matrix


class _SymmetricMatrix(torch.autograd.Function):
    """Reading in both directions; torch would add up the gradients of an index one after the other."""

    @staticmethod
    def forward(ctx, pairs, places, lower):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(lower)
        ctx.num_axes = places.dim()
        return pairs.index_select(-1, places.flatten()).unflatten(-1, places.shape)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        (lower,) = ctx.saved_tensors
        both = gradient + gradient.transpose(-1, -2)
        both.diagonal(dim1=-2, dim2=-1).mul_(0.5)
        return both.flatten(-ctx.num_axes).index_select(-1, lower), None, None


class PairEmbedding(nn.Module):
    """Makes a bias of each head from the features of each pair: 1x1 convolutions with batch normalisation and GELU.

    Args:
        widths: Outputs of the hidden layers.
        num_heads: Outputs of the last layer.
        bias: Whether the convolutions have a bias.
        affine: Whether the normalisations have weights and biases.
        activation: Whether the last layer has GELU behind it, too.
    """

    def __init__(
        self, widths: Sequence[int], num_heads: int, *, bias: bool, affine: bool, activation: bool = True
    ) -> None:
        super().__init__()
        self.activation = activation
        self.norm = MaskedBatchNorm(NUM_PAIR_FEATURES, affine=affine)
        steps = list(pairwise([NUM_PAIR_FEATURES, *widths, num_heads]))
        self.linears = nn.ModuleList(nn.Linear(before, after, bias=bias) for before, after in steps)
        self.norms = nn.ModuleList(MaskedBatchNorm(after, affine=affine) for _, after in steps)

    def forward(
        self, features: Float[Tensor, "pair 4"], present: Bool[Tensor, " pair"] | None = None
    ) -> Float[Tensor, "pair head"]:
        """Returns the bias of each head; ``present`` tells which pairs there are, all if not given."""
        values = self._layers(features, present)
        values = functional.gelu(values) if self.activation else values
        kind = values.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            # once, and not again in each block that reads them
            return values.to(torch.get_autocast_dtype(kind))
        return values

    def _layers(self, features: Tensor, present: Tensor | None) -> Tensor:
        """Returns what the layers make of the features, with GELU between them."""
        in_pieces = present is None and may_drop_padding(features)
        followed = [norm.training for _, norm in self._steps()]  # not those that are frozen
        if in_pieces and not self.norm.training and not any(followed):
            layers = self._folded()
            return torch.cat([_chain(layers, chunk) for chunk in torch.split(features, _CHUNK)])
        values: Tensor = self.norm(features, present)
        in_pieces = in_pieces and len(features) > 1 and all(followed)
        if in_pieces and not torch.is_autocast_enabled(values.device.type):
            return self._in_pieces(values)
        last = len(self.linears) - 1
        for number, (linear, norm) in enumerate(self._steps()):
            values = norm(linear(values), present)
            values = values if number == last else functional.gelu(values)
        return values

    def _in_pieces(self, values: Tensor) -> Tensor:
        layers = []
        for linear, norm in self._steps():
            layers.append(Layer(linear.weight, linear.bias, norm.weight, norm.bias, norm.eps))
        outputs, statistics = normalised_layers(values, layers)
        for (_, norm), (mean, variance) in zip(self._steps(), statistics, strict=True):
            norm.follow(mean, variance, torch.tensor(float(len(values))))
        return outputs

    def _steps(self) -> Iterator[tuple[nn.Linear, MaskedBatchNorm]]:
        for linear, norm in zip(self.linears, self.norms, strict=True):
            assert isinstance(linear, nn.Linear) and isinstance(norm, MaskedBatchNorm)  # noqa: PT018
            yield linear, norm

    def _folded(self) -> list[tuple[Tensor, Tensor]]:
        """Returns weight and bias of each layer with its normalisation, and the first one with that of the inputs."""
        scale, shift = _scale_and_shift(self.norm)
        folded = []
        for linear, norm in self._steps():
            bias = (linear.weight * shift).sum(1)  # in full precision: what is folded is rounded but once
            bias = bias if linear.bias is None else bias + linear.bias
            factor, offset = _scale_and_shift(norm)
            folded.append((factor[:, None] * linear.weight * scale, factor * bias + offset))
            scale, shift = torch.ones_like(factor), torch.zeros_like(factor)
        return folded


def _scale_and_shift(norm: MaskedBatchNorm) -> tuple[Tensor, Tensor]:
    """Returns what a normalisation in evaluation mode multiplies by and adds."""
    assert norm.running_mean is not None and norm.running_var is not None  # noqa: PT018
    scale = torch.rsqrt(norm.running_var + norm.eps)
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -scale * norm.running_mean
    return scale, shift if norm.bias is None else shift + norm.bias


def _chain(layers: Sequence[tuple[Tensor, Tensor]], values: Tensor) -> Tensor:
    for weight, bias in layers[:-1]:
        values = functional.gelu(functional.linear(values, weight, bias))
    return functional.linear(values, *layers[-1])

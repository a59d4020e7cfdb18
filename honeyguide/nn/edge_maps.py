"""The maps of an edge convolution in training, a few objects at a time: no layer makes a tensor of all edges.

A batch normalisation needs all edges before any goes on to the next layer. What is kept of a layer are the outputs of
its linear map, in pieces that stay in a processor's cache while they are worked on; norm and ReLU are made again where
they are needed. That takes less memory, and the operating system needs no time to hand out large tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from honeyguide.nn.masked import MaskedBatchNorm
from honeyguide.nn.point_clouds import Neighbours


def mean_of_mapped_edges(
    own: Float[Tensor, "row width"],
    theirs: Float[Tensor, "row width"],
    parts: Sequence[Neighbours],
    weights: Sequence[Tensor],
    norms: Sequence[MaskedBatchNorm],
) -> Float[Tensor, "row output"]:
    """Returns the mean over the edges of each row after all maps, and moves the running statistics of the norms.

    Args:
        own: Of an edge from x to y, the first map has made own(x) + theirs(y).
        theirs: See ``own``.
        parts: The neighbours of all rows, in pieces, with two or more edges in all.
        weights: Weights of the maps but for the first.
        norms: Batch normalisation after each map, in training mode; ReLU comes after each.
    """
    affine = [part for norm in norms if norm.affine for part in (norm.weight, norm.bias)]
    apply: Callable[..., tuple[Tensor, ...]] = _Maps.apply
    mean, *statistics = apply(parts, [norm.eps for norm in norms], own, theirs, *weights, *affine)
    count = sum(part.num_edges for part in parts)
    for number, norm in enumerate(norms):
        norm.follow(statistics[2 * number], statistics[2 * number + 1], own.new_tensor(count))
    return mean


@dataclass
class _Norm:
    """A batch normalisation of which the statistics are known: z -> (z - mean) * inverse, then times and plus.

    Attributes:
        mean: Of all edges.
        variance: Of all edges, biased.
        inverse: One over the standard deviation.
        factor: Of the norm; None for 1.
        offset: Of the norm; None for 0.
    """

    mean: Tensor
    variance: Tensor
    inverse: Tensor
    factor: Tensor | None
    offset: Tensor | None

    @classmethod
    def of(cls, moments: list[tuple[int, Tensor, Tensor]], eps: float, affine: Sequence[Tensor]) -> _Norm:
        """Returns the norm of the number, variances and means of edges in pieces."""
        share = torch.tensor([count for count, _, _ in moments], dtype=moments[0][1].dtype).unsqueeze(1)
        share = share / share.sum()
        variances, means = (torch.stack(list(parts)) for parts in list(zip(*moments, strict=True))[1:])
        mean = (share * means).sum(0)
        variance = (share * (variances + (means - mean).square())).sum(0)
        factor, offset = affine if affine else (None, None)
        return cls(mean, variance, torch.rsqrt(variance + eps), factor, offset)

    def outputs(self, values: Tensor) -> Tensor:
        """Returns what norm and ReLU make of the outputs of a map."""
        scale = self.inverse if self.factor is None else self.inverse * self.factor
        shift = -self.mean * scale
        return torch.addcmul(shift if self.offset is None else shift + self.offset, values, scale).relu_()

    def normalised(self, values: Tensor) -> Tensor:
        """Returns the outputs of a map with mean 0 and variance 1."""
        return torch.addcmul(-self.mean * self.inverse, values, self.inverse)

    def backward(self, gradient: Tensor, values: Tensor, sums: tuple[Tensor, Tensor], count: int) -> Tensor:
        """Returns the gradient of the outputs of a map, of that of the norm.

        Args:
            gradient: Of what the norm has made.
            values: Outputs of the map.
            sums: Of the gradient, and of the gradient times the normalised values, over all edges.
            count: Edges in all.
        """
        scale = self.inverse if self.factor is None else self.inverse * self.factor
        slope = -scale * sums[1] / count
        # scale * (gradient - mean of it - normalised * mean of both)
        constant = -scale * sums[0] / count - self.mean * self.inverse * slope
        return torch.addcmul(constant, gradient, scale).addcmul_(values, self.inverse * slope)


class _Maps(torch.autograd.Function):
    """See :func:`mean_of_mapped_edges`."""

    @staticmethod
    def forward(
        ctx: Any, parts: Sequence[Neighbours], eps: Sequence[float], own: Tensor, theirs: Tensor, *parameters: Tensor
    ) -> tuple[Tensor, ...]:
        weights, affine = parameters[: len(eps) - 1], parameters[len(eps) - 1 :]
        own_of = torch.split(own, [len(part) for part in parts])
        norms: list[_Norm] = []
        kept: list[list[Tensor]] = []  # outputs of the maps but for the first, which is soon made again
        for number, layer_eps in enumerate(eps):
            moments, outputs = [], []
            for place, part in enumerate(parts):
                values = kept[-1][place] if number > 1 else part.edges(own_of[place], theirs)
                if number:
                    values = norms[-1].outputs(values) @ weights[number - 1].T
                    outputs.append(values)
                if len(values):
                    mean = values.mean(0)
                    moments.append((len(values), (values - mean).square_().mean(0), mean))
            if number:
                kept.append(outputs)
            norms.append(_Norm.of(moments, layer_eps, affine[2 * number : 2 * number + 2]))
        means = []
        for place, part in enumerate(parts):
            values = kept[-1][place] if kept else part.edges(own_of[place], theirs)
            means.append(part.mean(norms[-1].outputs(values)))
        ctx.save_for_backward(own, theirs, *parameters)
        ctx.parts, ctx.kept, ctx.norms = parts, kept, norms
        statistics = [value for norm in norms for value in (norm.mean, norm.variance)]
        ctx.mark_non_differentiable(*statistics)
        return (torch.cat(means), *statistics)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        own, theirs, *parameters = ctx.saved_tensors
        parts, kept, norms = ctx.parts, ctx.kept, ctx.norms
        own_of = torch.split(own, [len(part) for part in parts])
        weights = parameters[: len(norms) - 1]
        count = sum(part.num_edges for part in parts)
        gradient_of = torch.split(gradient, [len(part) for part in parts])
        gradients: list[Tensor] = []  # of the outputs of norm and ReLU of the present layer, in pieces
        sums = None
        for place, part in enumerate(parts):
            values = kept[-1][place] if kept else part.edges(own_of[place], theirs)
            piece = part.mean_backward(gradient_of[place])
            gradients.append(_before_relu(piece, norms[-1].outputs(values)))
            sums = _summed(sums, gradients[-1], norms[-1].normalised(values))
        assert sums is not None, "there are edges"
        of_weights: list[Tensor] = []
        of_affine = [sums]
        for number in range(len(norms) - 1, 0, -1):
            of_weight, following = torch.zeros_like(weights[number - 1]), None
            for place, part in enumerate(parts):
                piece = norms[number].backward(gradients[place], kept[number - 1][place], sums, count)
                kept[number - 1][place] = None
                before = kept[number - 2][place] if number > 1 else part.edges(own_of[place], theirs)
                inputs = norms[number - 1].outputs(before)
                of_weight.addmm_(piece.T, inputs)
                gradients[place] = _before_relu(piece @ weights[number - 1], inputs)
                following = _summed(following, gradients[place], norms[number - 1].normalised(before))
            assert following is not None, "there are edges"
            sums = following
            of_weights.insert(0, of_weight)
            of_affine.insert(0, sums)
        of_own, of_theirs = [], torch.zeros_like(theirs)
        for place, part in enumerate(parts):
            piece = norms[0].backward(gradients[place], part.edges(own_of[place], theirs), sums, count)
            gradients[place] = piece
            of_own.append(part.sum(piece))
            of_theirs.index_add_(0, part.others(), piece)
        affine = [value for total, both in of_affine for value in (both, total)] if norms[0].factor is not None else []
        return None, None, torch.cat(of_own), of_theirs, *of_weights, *affine


def _before_relu(gradient: Tensor, outputs: Tensor) -> Tensor:
    """Returns the gradient of what ReLU has made these outputs of."""
    found: Tensor = torch.ops.aten.threshold_backward(gradient, outputs, 0)
    return found


def _summed(sums: tuple[Tensor, Tensor] | None, gradient: Tensor, normalised: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the sums of the gradient, and of it times the normalised values, with those of another piece."""
    own = gradient.sum(0), normalised.mul_(gradient).sum(0)
    return own if sums is None else (sums[0] + own[0], sums[1] + own[1])

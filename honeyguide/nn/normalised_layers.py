"""Linear maps with batch normalisation and GELU, for very many rows on a CPU: in pieces that fit its cache.

Written with torch's layers, each of these steps reads and writes all rows in main memory, and it takes more time than
the arithmetic. Here a piece passes all steps between two normalisations, which need to have seen all rows, at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

CHUNK = 2048
"""Rows of a piece."""


class Layer(NamedTuple):
    """A linear map and the normalisation behind it.

    Attributes:
        weight: Of the map, (output, input).
        bias: Of the map, or None.
        scale: What the normalised values are multiplied by, or None.
        shift: What is added to them, or None.
        eps: What is added to variances.
    """

    weight: Tensor
    bias: Tensor | None
    scale: Tensor | None
    shift: Tensor | None
    eps: float


def normalised_layers(rows: Tensor, layers: Sequence[Layer]) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Returns what the layers make of the rows, with GELU between them, and mean and variance in each normalisation.

    Args:
        rows: (row, input), at least one.
        layers: In order.
    """
    flat = [part for layer in layers for part in layer[:4]]
    outputs, *statistics = _Layers.apply(rows, [layer.eps for layer in layers], *flat)  # type: ignore[no-untyped-call]
    return outputs, list(zip(statistics[::2], statistics[1::2], strict=True))


class _Stage(NamedTuple):
    """A layer with what its normalisation has found: normalised = linear * factor + offset; scaled = (that) * scale."""

    weight: Tensor
    factor: Tensor
    offset: Tensor
    scale: Tensor
    shift: Tensor

    def normalised(self, linear: Tensor) -> Tensor:
        return torch.addcmul(self.offset, linear, self.factor)

    def outputs(self, linear: Tensor) -> Tensor:
        return torch.addcmul(self.shift + self.scale * self.offset, linear, self.scale * self.factor)


class _Layers(torch.autograd.Function):
    """What is kept for the way back: the outputs of each linear map, and nothing else of that size."""

    @staticmethod
    def forward(ctx, rows, eps, *flat):  # type: ignore[no-untyped-def]
        layers = [Layer(*flat[4 * i : 4 * i + 4], each) for i, each in enumerate(eps)]  # type: ignore[call-arg]
        stages: list[_Stage] = []
        linear: list[Tensor] = []
        statistics: list[Tensor] = []
        for layer in layers:
            current = rows.new_empty(len(rows), len(layer.weight))
            found = []
            for piece in _pieces(len(rows)):
                hidden = functional.gelu(stages[-1].outputs(linear[-1][piece])) if stages else rows[piece]
                found.append(_moments(torch.mm(hidden, layer.weight.t(), out=current[piece])))
            mean, variance = _joined(found)
            linear.append(current)
            factor = torch.rsqrt(variance + layer.eps)
            one = torch.ones_like(factor)
            scale, shift = one if layer.scale is None else layer.scale, 0 * one if layer.shift is None else layer.shift
            stages.append(_Stage(layer.weight, factor, -mean * factor, scale, shift))
            statistics += [mean if layer.bias is None else mean + layer.bias, variance]
        outputs = torch.cat([stages[-1].outputs(linear[-1][piece]) for piece in _pieces(len(rows))])
        ctx.save_for_backward(rows, *linear, *(part for stage in stages for part in stage))
        ctx.mark_non_differentiable(*statistics)
        ctx.given = [part is not None for part in flat]
        return outputs, *statistics

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, *_):  # type: ignore[no-untyped-def]
        rows, *saved = ctx.saved_tensors
        count = len(ctx.given) // 4
        linear, parts = saved[:count], saved[count:]
        stages = [_Stage(*parts[5 * i : 5 * i + 5]) for i in range(count)]
        gradients: list[Tensor | None] = []
        for number in reversed(range(count)):
            below = (linear[number - 1], stages[number - 1]) if number else (rows, None)
            gradient, own = _step_back(gradient, linear[number], stages[number], *below)
            gradients = [*own, *gradients]
        gradients = [part if given else None for part, given in zip(gradients, ctx.given, strict=True)]
        return gradient, None, *gradients


def _step_back(
    gradient: Tensor, linear: Tensor, stage: _Stage, below: Tensor, stage_below: _Stage | None
) -> tuple[Tensor, list[Tensor]]:
    """Returns the gradient of what comes from below, before GELU, and those of weight, bias, scale and shift."""
    of_shift = gradient.new_zeros(gradient.shape[1])
    of_scale = torch.zeros_like(of_shift)
    for piece in _pieces(len(gradient)):
        of_shift += gradient[piece].sum(0)
        of_scale += (gradient[piece] * stage.normalised(linear[piece])).sum(0)
    of_bias, of_weight = torch.zeros_like(of_shift), torch.zeros_like(stage.weight)
    front, count = stage.scale * stage.factor, len(gradient)
    constant, slope = front * of_shift / count, front * of_scale / count
    result = torch.empty_like(below)
    for piece in _pieces(count):
        inner = torch.addcmul(-constant, gradient[piece], front)
        inner.addcmul_(stage.normalised(linear[piece]), slope, value=-1)
        of_bias += inner.sum(0)
        back = inner @ stage.weight
        if stage_below is None:
            of_weight.addmm_(inner.t(), below[piece])
            result[piece] = back
        else:
            outputs = stage_below.outputs(below[piece])
            of_weight.addmm_(inner.t(), functional.gelu(outputs))
            result[piece] = torch.ops.aten.gelu_backward(back, outputs)
    return result, [of_weight, of_bias, of_scale, of_shift]


def _pieces(count: int) -> Iterator[slice]:
    return (slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK))


def _moments(values: Tensor) -> tuple[int, Tensor, Tensor]:
    """Returns number, mean and sum of squared deviations of a piece."""
    mean = values.mean(0)
    return len(values), mean, (values - mean).square_().sum(0)


def _joined(found: Sequence[tuple[int, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Returns mean and variance of all pieces together."""
    counts = torch.tensor([count for count, _, _ in found], dtype=torch.float64)[:, None]
    means, squares = torch.stack([mean for _, mean, _ in found]), torch.stack([part for _, _, part in found])
    mean = (counts * means).sum(0) / counts.sum()
    variance = (squares + counts * (means - mean).square()).sum(0) / counts.sum()
    return mean.to(means.dtype), variance.to(means.dtype)

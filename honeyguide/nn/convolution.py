"""Shapes of a stack of 2-D convolutions over (object, feature) that fits any number of objects and features."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_KERNEL = (3, 4)
OTHER_KERNEL = (3, 1)


@dataclass(frozen=True)
class ConvShape:
    """Kernel and padding of one convolution of stride 1."""

    kernel: tuple[int, int]
    padding: tuple[int, int]

    def output(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns the image size after the convolution."""
        height, width = (
            n + 2 * pad - kernel + 1 for n, kernel, pad in zip(size, self.kernel, self.padding, strict=True)
        )
        return height, width


@dataclass(frozen=True)
class ConvPlan:
    """The convolutions of an encoder, first to last; the decoder runs them backwards, transposed.

    Attributes:
        shapes: One per convolution.
        output: Image size after the last.
    """

    shapes: tuple[ConvShape, ...]
    output: tuple[int, int]


def plan_convolutions(size: tuple[int, int], num_layers: int, *, padding: str = "half") -> ConvPlan:
    """Returns kernels as in BEAD's ConvVAE, 3 x 4 and then 3 x 1, none larger than the image that it acts on.

    Args:
        size: (num_objects, num_features).
        num_layers: Number of convolutions.
        padding: ``half`` a kernel, so that images keep their size (one feature less for a kernel of 4), or ``one`` cell
            on every side as in BEAD, with which they grow by two features in each convolution after the first.
    """
    shapes = []
    for index in range(num_layers):
        wanted = FIRST_KERNEL if index == 0 else OTHER_KERNEL
        kernel = (min(wanted[0], size[0]), min(wanted[1], size[1]))
        half = ((kernel[0] - 1) // 2, (kernel[1] - 1) // 2)
        shape = ConvShape(kernel=kernel, padding=(1, 1) if padding == "one" else half)
        size = shape.output(size)
        shapes.append(shape)
    return ConvPlan(tuple(shapes), size)

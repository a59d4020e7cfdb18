"""Flows by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from honeyguide.nn.flows.autoregressive import InverseAutoregressiveFlow
from honeyguide.nn.flows.base import Flow
from honeyguide.nn.flows.convolutional import ConvolutionalFlow
from honeyguide.nn.flows.householder import HouseholderFlow
from honeyguide.nn.flows.planar import PlanarFlow
from honeyguide.nn.flows.spline import SplineFlow
from honeyguide.nn.flows.sylvester import HouseholderSylvesterFlow, OrthogonalSylvesterFlow, TriangularSylvesterFlow


@dataclass(frozen=True)
class FlowSizes:
    """Sizes of a flow; each is read by some flows alone.

    Attributes:
        steps: Maps in the chain.
        vectors: Orthogonal vectors (``orthogonal_sylvester``) or reflections (``householder_sylvester``) of a step.
        hidden: Width of the hidden layers of ``iaf`` and ``spline``.
        kernel: Values that a convolution of ``convolutional`` sees.
        bins: Bins of a ``spline``.
        bound: Half of the width of the interval that a ``spline`` acts on.
    """

    steps: int = 4
    vectors: int = 4
    hidden: int = 60
    kernel: int = 7
    bins: int = 8
    bound: float = 3.0


def make_flow(name: str, dim: int, *, context_dim: int, sizes: FlowSizes) -> Flow[Any]:
    """Returns a new flow.

    Args:
        name: A key of the table below.
        dim: Dimensions of the latent space.
        context_dim: Values of the context that its parameters come from.
        sizes: Its sizes.
    """
    makers: dict[str, Callable[..., Flow[Any]]] = {
        "planar": PlanarFlow,
        "householder": HouseholderFlow,
        "orthogonal_sylvester": partial(OrthogonalSylvesterFlow, num_vectors=sizes.vectors),
        "householder_sylvester": partial(HouseholderSylvesterFlow, num_vectors=sizes.vectors),
        "triangular_sylvester": TriangularSylvesterFlow,
        "iaf": partial(InverseAutoregressiveFlow, hidden=sizes.hidden),
        "convolutional": partial(ConvolutionalFlow, kernel=sizes.kernel),
        "spline": partial(SplineFlow, hidden=sizes.hidden, num_bins=sizes.bins, bound=sizes.bound),
    }
    return makers[name](dim, context_dim=context_dim, num_steps=sizes.steps)

"""The sections of the page, in their order."""

from __future__ import annotations

from collections.abc import Callable

from honeyguide.diagnostics import (
    activations,
    latent,
    profile,
    projections,
    quality,
    reconstruction,
    resources,
    scores,
    sigma,
    signal_points,
    training,
)
from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.section import Section

SECTIONS: tuple[Callable[[Context], Section], ...] = (
    quality.section,
    training.section,
    latent.section,
    projections.section,
    sigma.section,
    reconstruction.section,
    scores.section,
    signal_points.section,
    activations.section,
    resources.section,
    profile.section,
)

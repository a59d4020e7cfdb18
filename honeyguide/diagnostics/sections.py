"""The sections of the page, in their order."""

from __future__ import annotations

from collections.abc import Callable

from honeyguide.diagnostics import activations, profile, reconstruction, resources, scores, signal_points, training
from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.section import Section

SECTIONS: tuple[Callable[[Context], Section], ...] = (
    training.section,
    reconstruction.section,
    scores.section,
    signal_points.section,
    activations.section,
    resources.section,
    profile.section,
)

"""Settings of the augmentations: how two views of one event may differ."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from honeyguide.settings import Settings

Width = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class AugmentationSettings(Settings):
    """How a view of an event differs from the event."""

    smear: dict[str, Width] = Field(default_factory=lambda: {"pt": 0.1})
    """Feature of the objects to the standard deviation, in scaled units, of the random numbers that are added to it: a
    detector's resolution. For a feature scaled by ``log+standard`` it is the relative resolution, divided by the
    standard deviation of log(1 + feature)."""
    rotate: bool = True
    """Turn every event about the beam by an angle of its own. Azimuths among the inputs must be scaled by ``sincos``;
    inputs without any do not change."""
    drop: float = Field(0.1, ge=0, lt=1)
    """Probability of every object to be left out; an event keeps one object in any case."""

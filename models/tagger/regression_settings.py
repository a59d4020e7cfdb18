"""Settings of what a tagger predicts beside classes."""

from __future__ import annotations

import itertools
from typing import Annotated, Literal

from pydantic import Field, field_validator

from honeyguide.settings import Settings

Probability = Annotated[float, Field(gt=0, lt=1)]


class RegressionSettings(Settings):
    """How one target is predicted."""

    loss: Literal["mse", "logcosh", "huber"] = "mse"
    """Of the difference d to the scaled target: ``mse`` d², ``logcosh`` log(cosh(d)), ``huber`` d²/2 up to 1 and
    |d| - 1/2 beyond."""
    weight: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Weight of this target among all, in the terms ``regression`` and ``quantile``."""
    quantiles: tuple[Probability, ...] = ()
    """Quantiles of the target that are predicted too, such as ``[0.16, 0.5, 0.84]``, in rising order; they never
    cross."""

    @field_validator("quantiles")
    @classmethod
    def _rising(cls, quantiles: tuple[float, ...]) -> tuple[float, ...]:
        if any(low >= high for low, high in itertools.pairwise(quantiles)):
            raise ValueError(f"quantiles must rise: {list(quantiles)}")
        return quantiles

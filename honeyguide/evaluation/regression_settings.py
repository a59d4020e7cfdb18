"""Settings of the evaluation of predicted targets."""

from __future__ import annotations

import itertools
import math
from typing import Literal, Self

from pydantic import Field, model_validator

from honeyguide.settings import Settings


class RegressionEvaluationSettings(Settings):
    """What RegressionTask computes and draws."""

    targets: tuple[str, ...] = ()
    """Targets to evaluate; empty: all that are predicted."""
    residual: Literal["difference", "ratio"] = "difference"
    """Of prediction and truth: ``difference`` (in the target's unit) or ``ratio``, whose bias is its distance from
    1."""
    units: dict[str, str] = Field(default_factory=dict)
    """Unit of a target, such as ``mass: GeV``, for axes; without one, that of the inputs' specification."""
    pt: tuple[float, ...] = Field((20, 30, 50, 70, 100, 140, 200, 300, 600, 1000), min_length=2)
    """Edges of the bins in pt [GeV], ascending."""
    weighted: bool = True
    """Use the event weights; if not, every row counts 1. Negative weights are an error."""
    residual_bins: int = Field(60, ge=5)
    """Bins of the distributions of the residual."""
    confidence_level: float = Field(0.68, gt=0, lt=1)
    """Of all intervals; two-sided and central."""
    num_replicas: int = Field(100, ge=20)
    """Replicas of the Poisson bootstrap, from which the intervals of bias and resolution are."""
    bootstrap_seed: int = Field(1, ge=0)
    """Seed of the bootstrap."""
    min_jets: float = Field(20, ge=2)
    """Numbers are given where there are at least so many (effective) rows."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if any(low >= high for low, high in itertools.pairwise(self.pt)) or not all(map(math.isfinite, self.pt)):
            raise ValueError(f"pt needs finite edges in ascending order, got {list(self.pt)}")
        return self

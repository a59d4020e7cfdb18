"""Settings of the evaluation: ROC curves with their uncertainties, and input histograms."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from honeyguide.settings import Settings

Efficiency = Annotated[float, Field(gt=0, lt=1)]


class RocSettings(Settings):
    """What ROCCurveTask computes and draws."""

    scores: tuple[str, ...] = ()
    """Names of the anomaly scores to evaluate; empty: all that the files hold."""
    background_efficiencies: tuple[Efficiency, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    """Background efficiencies at which the signal efficiency is given."""
    weighted: bool = True
    """Use the event weights; if not, every event counts 1."""
    balance: Literal["generators", "none"] = "generators"
    """``generators``: the backgrounds of all generators have equal total weight (event weights act within each), and
    so have the signal points in the merged curve. ``none``: weights as they are, whatever units each generator has."""
    confidence_level: float = Field(0.68, gt=0, lt=1)
    """Of all intervals; two-sided and central."""
    method: Literal["delong", "bootstrap"] = "delong"
    """``delong``: DeLong for the AUC, Clopper-Pearson for efficiencies. ``bootstrap``: Poisson bootstrap for all."""
    num_replicas: int = Field(200, ge=20)
    """Replicas of the bootstrap."""
    bootstrap_seed: int = Field(1, ge=0)
    """Seed of the bootstrap."""
    min_background_events: float = Field(10, ge=1)
    """A point of a curve is *defined* where at least so many (effective) background events pass."""
    max_curve_points: int = Field(2000, ge=100)
    """A stored curve with more corners than this is thinned; numbers always come from the full curve."""
    axes: Literal["rejection", "efficiency"] = "rejection"
    """ROC figures: ``rejection``: background rejection against signal efficiency; ``efficiency``: signal efficiency
    against background efficiency."""
    score_bins: int = Field(50, ge=5)
    """Bins of the score distributions."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for name in ("scores", "background_efficiencies"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"{name} names a value twice: {', '.join(map(str, values))}")
        return self


class HistogramSettings(Settings):
    """What InputHistogrammerTask fills and HistogramPlotterTask draws."""

    source: Literal["store", "train", "validation", "test"] = "store"
    """``store``: the stored features, in their units. A split: the scaled columns of the model inputs of that split."""
    num_bins: int = Field(50, ge=2)
    """Bins of continuous features; integer features have one bin per value."""
    features: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Collection (``events``, ``jets``, ``constituents``, ...) to the features to fill; empty: all of the store."""
    by: Literal["sample", "truth"] | None = None
    """What has histograms of its own: every sample, or every truth of the rows of all samples; null: truth, where rows
    have truths."""
    coverage: float = Field(0.995, gt=0.5, le=1)
    """Central fraction of each sample that the axis of a continuous feature covers; the rest is under- and overflow."""
    range_events: int = Field(10_000, ge=1)
    """Events of each sample, from its beginning, that set the axes."""
    weighted: bool = True
    """Draw the weighted histograms; both are always filled."""
    normalise: bool = True
    """Draw every sample with unit area."""
    log: bool = True
    """Logarithmic vertical axis, where the entries span more than a factor 20."""
    reference: str | None = None
    """Sample or truth in the denominator of the ratio panel; none: the first background sample, the first truth."""

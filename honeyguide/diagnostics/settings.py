"""Settings of the diagnostics."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from honeyguide.settings import Settings, insignificant

Projection = Literal["pca", "tsne", "umap"]


class DiagnosticsSettings(Settings):
    """What DiagnosticsTask looks at."""

    max_events: int = Field(2000, ge=100)
    """Events of each sample in each split that are looked at, drawn at random. Counts in the data quality are of all
    events."""
    seed: int = Field(1, ge=0)
    """Seed of all random draws."""
    significance: float = Field(0.01, gt=0, lt=0.5)
    """Probability of a false alarm of the search for drift, over all features of two groups of events together."""
    active_variance: float = Field(0.01, gt=0)
    """A latent dimension is active where the variance of its posterior mean over the events is larger than this
    (arXiv:1509.00519)."""
    projections: tuple[Projection, ...] = ("pca", "tsne")
    """Maps of the latent space to two dimensions; ``umap`` needs the package umap-learn."""
    projection_events: int = Field(1500, ge=100)
    """Points of a projection, taken evenly from all groups of events."""
    batch_size: int = insignificant(1024, gt=0, description="Most events in a batch.")
    device: str = insignificant("auto", description="auto (a GPU where there is one), cpu, cuda or cuda:1, ...")
    num_threads: int | None = insignificant(None, gt=0, description="CPU threads of torch; null for torch's choice.")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.projections)) != len(self.projections):
            raise ValueError(f"projections names one twice: {', '.join(self.projections)}")
        return self

"""Settings of the permutation importance of features."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from honeyguide.settings import Settings, insignificant


class ImportanceSettings(Settings):
    """How much worse a tagger is without what a feature says."""

    rows: int = Field(2000, ge=10)
    """Rows of the test split that are drawn for it, at most."""
    repeats: int = Field(5, ge=2)
    """Permutations of each feature."""
    seed: int = Field(1, ge=0)
    """Of the rows and of the permutations."""
    weights: Literal["best", "last"] = "best"
    """Weights of the epoch with the lowest validation loss, or of the last epoch."""
    shown: int = Field(30, ge=1)
    """Features in a figure, the most important ones."""
    batch_size: int = insignificant(256, gt=0, description="Most rows in a batch.")
    device: str = insignificant("auto", description="auto (a GPU where there is one), cpu, cuda or cuda:1, ...")
    num_threads: int | None = insignificant(None, gt=0, description="CPU threads of torch; null for torch's choice.")

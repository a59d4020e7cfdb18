"""Settings of attention maps."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from honeyguide.settings import Settings, insignificant


class AttentionSettings(Settings):
    """Which jets attention is looked at in."""

    jets_per_class: int = Field(1, ge=0)
    """Test jets of each class that are shown one by one: the first ones that are drawn."""
    event_ids: tuple[int, ...] = ()
    """Further test jets that are shown one by one, by their ids (``event_id`` in the scores)."""
    mean_jets: int = Field(300, ge=1)
    """Test jets of all classes together over which means are taken, at most."""
    objects: int = Field(20, ge=2)
    """Objects of a jet in matrices and means, those of the largest pt."""
    lines: int = Field(30, ge=1)
    """Lines in a panel of the plane of eta and phi: the largest weights between two objects."""
    seed: int = Field(1, ge=0)
    """Of the draw of the jets."""
    weights: Literal["best", "last"] = "best"
    """Weights of the epoch with the lowest validation loss, or of the last epoch."""
    batch_size: int = insignificant(16, gt=0, description="Most jets in a batch.")
    device: str = insignificant("auto", description="auto (a GPU where there is one), cpu, cuda or cuda:1, ...")
    num_threads: int | None = insignificant(None, gt=0, description="CPU threads of torch; null for torch's choice.")

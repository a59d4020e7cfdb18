"""Settings of jet bins in pt and eta, and of reweighting in them."""

from __future__ import annotations

import itertools
import math
from typing import Literal, Self

from pydantic import Field, model_validator

from honeyguide.settings import Settings


class JetBinning(Settings):
    """Bins in pt and eta; a bin has its lower edge, not its upper one."""

    pt: tuple[float, ...] = (15, 20, 26, 35, 46, 61, 80, 106, 141, 186, 247, 326, 432, 571, 756, 1000)
    """Edges in pt [GeV], ascending."""
    eta: tuple[float, ...] = (0, 0.5, 1, 1.5, 2, 2.5)
    """Edges in abs(eta), or in eta where ``absolute_eta`` is false, ascending."""
    absolute_eta: bool = True
    """Bins are in abs(eta)."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name in ("pt", "eta"):
            edges = getattr(self, name)
            ascending = all(low < high for low, high in itertools.pairwise(edges))
            if len(edges) < 2 or not ascending or not all(map(math.isfinite, edges)):
                raise ValueError(f"{name} needs two or more finite edges in ascending order, got {list(edges)}")
        if self.absolute_eta and self.eta[0] < 0:
            raise ValueError(f"eta has the edge {self.eta[0]}, but bins are in abs(eta): set absolute_eta to false")
        return self


class ReweightingSettings(Settings):
    """How the pt and eta spectra of all truths are made those of one."""

    reference: str
    """Truth whose spectrum all others get."""
    bins: JetBinning = JetBinning()
    """Bins in pt and eta."""
    normalise: Literal["truth", "reference"] = "truth"
    """``truth``: every truth keeps its sum of weights (within the bins). ``reference``: every truth gets that of the
    reference, so that truths are balanced, too."""
    outside: Literal["clip", "one", "drop"] = "clip"
    """Jets outside of the bins: ``clip``: count as in the nearest bin, where spectra are filled and where weights are
    looked up. ``one``: fill no bin and have weight 1. ``drop``: fill no bin and have weight 0."""
    no_reference: Literal["drop", "one"] = "drop"
    """Jets in bins where the reference has none: ``drop``: weight 0, as the reference spectrum demands. ``one``:
    weight 1; the spectrum is the reference's in the other bins only."""
    seed: int = Field(1, ge=0)
    """Seed of the sampling by keep-probabilities."""

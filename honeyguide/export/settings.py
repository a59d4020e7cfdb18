"""Settings of the export."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from honeyguide.settings import Settings


class ExportSettings(Settings):
    """How trained taggers are exported."""

    weights: Literal["best", "last"] = "best"
    """Weights of the epoch with the lowest validation loss, or of the last epoch."""
    tolerance: float = Field(1e-4, gt=0, allow_inf_nan=False)
    """Largest difference of a probability between the trained and the exported model. Outputs in physical units may
    differ by as much times the largest of them, where that is more than 1."""
    parity_rows: int = Field(500, ge=1)
    """Rows of the test split on which both are compared, at most."""

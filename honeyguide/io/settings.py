"""Settings of the readers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from honeyguide.settings import Settings, insignificant


class ReaderSettings(Settings):
    """How source files are read."""

    format: Literal["bead_csv"] = "bead_csv"
    """Layout of the files. ``bead_csv``: ``weight, met, met_phi, njets, {npart, btag, {pid, pt, eta, phi} ..} ..``."""
    tolerance: float = Field(0.0, ge=0.0, le=1.0)
    """Fraction of the rows of a file that may be rejected (malformed, not finite) before that is an error."""
    block_bytes: int = insignificant(2**20, ge=16, description="Bytes that are parsed at once; memory grows with it.")

"""What is known of a sample of events besides the events: process, generator, signal point, role."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from honeyguide.settings import Settings

Split = Literal["hash", "train", "test"]
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$"


class SampleInfo(Settings):
    """One sample of a dataset: events of one process from one generator, at one signal point."""

    name: str = Field(pattern=_NAME)
    """Name of the sample, unique in its dataset; it names folders, so letters, digits and ``_ . + -`` only."""
    process: str = Field(min_length=1)
    """Physics process, e.g. ``qcd``, ``svj``."""
    generator: str = Field(min_length=1)
    """Program and tune that made the events, e.g. ``pythia``, ``herwig``."""
    label: Literal["background", "signal"]
    """Truth of all events of the sample."""
    signal_point: dict[str, float] | None = None
    """Model parameters of a signal, e.g. ``{mass: 3500, r_inv: 0.3}``; none for background."""
    split: Split = "hash"
    """Where the events go: ``hash`` divides them, ``train`` keeps them from the test, ``test`` keeps them for it.

    Where it is not given, background is divided and signal is for the test.
    """

    @model_validator(mode="before")
    @classmethod
    def _signal_is_for_the_test(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("label") == "signal":
            return {"split": "test", **values}
        return values

    @field_validator("signal_point")
    @classmethod
    def _known_values(cls, point: dict[str, float] | None) -> dict[str, float] | None:
        for name, value in (point or {}).items():
            if not name or any(character in name for character in "=,/ "):
                raise ValueError(
                    f"'{name}' can't name a signal parameter: it is empty or holds one of '= , /' or a space"
                )
            if not abs(value) < float("inf"):
                raise ValueError(f"signal parameter '{name}' is {value}: it has to be finite")
        return point

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.signal_point is not None and self.label == "background":
            raise ValueError("a background sample has no signal_point: remove it, or set label: signal")
        if self.signal_point is not None and not self.signal_point:
            raise ValueError("signal_point is empty: leave it out, or give its parameters")
        return self

    @property
    def signal_name(self) -> str | None:
        """Text name of the signal point, e.g. ``mass=3500,r_inv=0.3``: sorted keys, %g; None without a point."""
        if self.signal_point is None:
            return None
        return ",".join(f"{key}={value:g}" for key, value in sorted(self.signal_point.items()))

    @property
    def label_code(self) -> int:
        """0 for background, 1 for signal."""
        return int(self.label == "signal")

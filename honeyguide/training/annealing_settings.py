"""Settings of annealing: how a weight or a temperature changes during training."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from honeyguide.settings import Settings

Value = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Epoch = Annotated[int, Field(ge=0)]

_PREFIX = "early_stopper_"
_BEAD_KEYS = {
    "CONSTANT_PACE": {"start_value": "start", "end_value": "end", "total_steps": "epochs"},
    "SCHEDULED": {"schedule": "schedule"},
    "TRIGGER_BASED": {"values": "values", "trigger_source": "trigger", "current_index": "current_index"},
}


class AnnealingSettings(Settings):
    """How one weight or temperature changes, in one of three ways.

    ``{shape: linear, start: 0, end: 0.01, epochs: 10}``, or ``cosine``: along a curve.
    ``{shape: steps, values: [0.1, 1], at: [0, 5]}``: from one epoch on.
    ``{shape: steps, values: [0.1, 1], trigger: half_patience}``: a step further whenever training stagnates.

    BEAD's form (``strategy`` with CONSTANT_PACE, SCHEDULED or TRIGGER_BASED) is read as well, and means the same.
    """

    shape: Literal["linear", "cosine", "steps"]
    """``linear`` and ``cosine`` go from ``start`` to ``end``; ``steps`` takes one of ``values`` after the other."""
    start: Value | None = None
    """Value before and in ``first_epoch``; null for the one that the config has without annealing."""
    end: Value | None = None
    """Value from ``epochs`` after ``first_epoch`` on."""
    first_epoch: int = Field(0, ge=0)
    """Epoch, from 0, in which the change begins."""
    epochs: int | None = Field(None, gt=0)
    """Epochs that the change takes; null for what is left of ``training.epochs``."""
    values: tuple[Value, ...] = ()
    """Values of ``steps``."""
    at: tuple[Epoch, ...] = ()
    """Epochs, from 0, from which the values hold; before the first the value is that without annealing."""
    trigger: Literal["counter", "third_patience", "half_patience"] | None = None
    """In place of ``at``: the first value holds at the start, and each time that the epochs without improvement come
    to 1 (``counter``), to a third or to half of ``training.early_stopping_patience``, the next."""

    @model_validator(mode="before")
    @classmethod
    def _from_bead(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        given = _translate(given) if "strategy" in given else given
        # from here on it counts no longer as JSON, whose lists pydantic takes for tuples
        return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}

    @model_validator(mode="after")
    def _possible(self) -> AnnealingSettings:
        foreign = ("start", "end", "first_epoch", "epochs") if self.shape == "steps" else ("values", "at", "trigger")
        # by their values: whoever writes all fields to a file reads them back
        unread = [name for name in foreign if getattr(self, name) != type(self).model_fields[name].default]
        if unread:
            raise ValueError(f"shape: {self.shape} does not read {', '.join(unread)}")
        if self.shape != "steps":
            if self.end is None:
                raise ValueError(f"shape: {self.shape} needs an end")
            return self
        if not self.values:
            raise ValueError("shape: steps needs values")
        if bool(self.at) == (self.trigger is not None):
            raise ValueError("shape: steps needs either at (epochs) or a trigger")
        if self.at and len(self.at) != len(self.values):
            raise ValueError(f"there are {len(self.values)} values and {len(self.at)} epochs in at")
        if any(later <= earlier for earlier, later in pairwise(self.at)):
            raise ValueError(f"the epochs in at must grow: {list(self.at)}")
        return self


def _translate(given: dict[str, Any]) -> dict[str, Any]:
    """Returns BEAD's form as this form; values are left to the checks of the fields."""
    strategy = given["strategy"]
    if strategy not in _BEAD_KEYS:
        raise ValueError(f"strategy {strategy!r} is unknown: allowed are {', '.join(_BEAD_KEYS)}")
    names = _BEAD_KEYS[strategy]
    unknown = sorted(str(key) for key in given if key not in names and key != "strategy")
    if unknown:
        raise ValueError(f"{strategy} has no {', '.join(unknown)}: allowed are {', '.join(names)}")
    values = {names[key]: value for key, value in given.items() if key != "strategy"}
    if strategy == "CONSTANT_PACE":
        return {"shape": "linear", **values}
    if strategy == "SCHEDULED":
        schedule = values.get("schedule")
        if not isinstance(schedule, dict):
            raise ValueError(f"SCHEDULED needs a schedule, {{epoch: value}}, not {schedule!r}")
        pairs = sorted((_epoch(epoch), value) for epoch, value in schedule.items())
        return {"shape": "steps", "values": tuple(value for _, value in pairs), "at": tuple(at for at, _ in pairs)}
    steps, first = values.get("values"), values.get("current_index", 0)
    if not (isinstance(steps, list | tuple) and isinstance(first, int) and 0 <= first < len(steps)):
        raise ValueError(f"TRIGGER_BASED needs values and an index of one of them, not {steps!r} and {first!r}")
    trigger = str(values.get("trigger")).removeprefix(_PREFIX)
    return {"shape": "steps", "values": tuple(steps[first:]), "trigger": trigger}


def _epoch(text: Any) -> int:
    # JSON has no other keys than text
    if not str(text).isdecimal():
        raise ValueError(f"the schedule's epoch {text!r} is no whole number from 0 on")
    return int(text)

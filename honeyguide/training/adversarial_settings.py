"""Settings of attacks on a model's inputs, in training and in inference."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from honeyguide.settings import Settings


class AttackSettings(Settings):
    """How inputs are changed so that the loss of a row's truth grows.

    Continuous features of the row and of its objects are changed, as the model sees them: scaled. Categories, binary
    columns, empty slots and four-momenta stay.
    """

    attack: Literal["fgsm", "pgd"] = "fgsm"
    """``fgsm``: one step along the sign of the gradient (arXiv:1412.6572). ``pgd``: ``steps`` of them from a random
    start, each taken back to the allowed changes (arXiv:1706.06083)."""
    epsilon: float = Field(gt=0, allow_inf_nan=False)
    """Largest change of a scaled feature."""
    steps: int = Field(10, gt=0)
    """Steps of ``pgd``."""
    step_size: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Length of a step of ``pgd``; null for 2.5 epsilon / steps."""
    factors: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    """What epsilon and step size of a column are multiplied by, such as ``eta: 0`` for one that stays; a column of a
    set is ``<set>/<column>``."""
    relative_limit: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Largest change as a share of the scaled feature's own value, where that is less; null for no such limit."""

    @model_validator(mode="after")
    def _read(self) -> Self:
        if self.attack == "fgsm" and self.step_size is not None:
            raise ValueError("step_size is that of pgd: fgsm makes one step of epsilon")
        return self


class AdversarialSettings(AttackSettings):
    """Training on attacked inputs beside the clean ones."""

    share: float = Field(0.5, gt=0, le=1)
    """Share of the attacked inputs in the loss; 1 for no clean ones (arXiv:1706.06083)."""

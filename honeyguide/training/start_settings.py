"""Settings of the weights that a training begins with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from honeyguide.settings import Settings


def check_pattern(pattern: str) -> str:
    """Returns the regular expression as it is.

    Raises:
        ValueError: It is none.
    """
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


def weights_file(path: Path) -> Path:
    """Returns the file with the weights: of a folder of a training, that of its best epoch."""
    return path / "best.safetensors" if path.is_dir() else path


Pattern = Annotated[str, AfterValidator(check_pattern)]


class StartSettings(Settings):
    """Which weights a training begins with, and which of them it changes.

    Names of weights are those in the model's ``.safetensors``, such as ``to_logits.weight``; a pattern is a regular
    expression for their beginning.
    """

    weights: str | None = None
    """Folder of a training (its best weights), a ``.safetensors`` file, or a file of weaver or torch (``.pt``) with a
    state dict; ``~`` and ``$VARIABLES`` are expanded. Results depend on what is in it, not on where it is."""
    experiment: str | None = None
    """In the place of ``weights``: an experiment, by name or path, whose training comes first; it is run where it has
    not been."""
    overrides: str = ""
    """Overrides of that experiment, as ``--set`` has them."""
    version: str = "v1"
    """``--training-version`` of that experiment's training."""
    dataset_version: str | None = None
    """``--dataset-version`` of that experiment's data; null for the one of this training."""
    seed: int | None = Field(None, ge=0)
    """Seed of that experiment's training; null for the same one as of this training."""
    exclude: tuple[Pattern, ...] = ()
    """Weights that are not taken over and begin with random values, such as ``[to_logits]`` to replace the head."""
    freeze: tuple[Pattern, ...] = ()
    """Weights that stay as they are to the last bit. A normalisation of which all weights and running means are named
    is applied as in evaluation."""

    def at(self, path: Path) -> StartSettings:
        """Returns the same with the weights where they have been found."""
        return StartSettings(weights=str(path), exclude=self.exclude, freeze=self.freeze)

    @model_validator(mode="after")
    def _possible(self) -> StartSettings:
        if (self.weights is None) == (self.experiment is None):
            raise ValueError("give weights, a file or folder, or experiment, and not both")
        if self.weights is not None and (self.overrides or self.dataset_version or self.seed is not None):
            raise ValueError("overrides, dataset_version and seed are those of an experiment, and weights is given")
        return self

"""Settings of the inference."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from honeyguide.settings import Settings, insignificant
from honeyguide.training.adversarial_settings import AttackSettings


class InferenceSettings(Settings):
    """How trained models are applied."""

    weights: Literal["best", "last"] = "best"
    """Weights of the epoch with the lowest validation loss, or of the last epoch."""
    draws: int = Field(0, ge=0)
    """Draws from the posterior over which the scores of an event are averaged: always the same for an event. 0 for the
    scores of the posterior's mean. Latent vectors, and so ``mahalanobis``, are those of the mean in any case."""
    attack: AttackSettings | None = None
    """An attack on the inputs, of which the scores are then: those of a tagger whose inputs are off in the worst way;
    null for none."""
    root: bool = True
    """Write ``scores.root`` beside ``scores.h5``."""
    batch_size: int = insignificant(1024, gt=0, description="Most events in a batch.")
    device: str = insignificant("auto", description="auto (a GPU where there is one), cpu, cuda or cuda:1, ...")
    num_threads: int | None = insignificant(None, gt=0, description="CPU threads of torch; null for torch's choice.")

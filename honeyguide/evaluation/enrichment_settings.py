"""Settings of the enrichment study."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, JsonValue, field_validator

from honeyguide.settings import Settings

_KEY = re.compile(r"(model|training|preprocess|inference)(\.\w+)+")


class EnrichmentSettings(Settings):
    """What EnrichmentStudyTask compares."""

    variants: dict[str, dict[str, JsonValue]] = Field(default_factory=dict)
    """Label of each variant to what differs in it from the rest of the config, ``section.key: value``; the others are
    compared to the first."""
    score: str = "total"
    """Score of the table in the terminal; files and figures have all of ``roc.scores``."""
    classifier_parts: int = Field(5, ge=2)
    """Parts of the background's test events: the classifier of generators is trained on all but one, and tested on
    that one, in turn."""
    classifier_seed: int = Field(1, ge=0)
    """Seed of the parts and of the classifier."""

    @field_validator("variants")
    @classmethod
    def _possible(cls, variants: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for label, changes in variants.items():
            wrong = [key for key in changes if not _KEY.fullmatch(key)]
            if wrong:
                raise ValueError(
                    f"variant {label!r} can't change {', '.join(wrong)}: keys are those of --set, of the sections "
                    "preprocess, model, training and inference"
                )
        return variants

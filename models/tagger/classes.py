"""Which truths of the inputs are in which class."""

from __future__ import annotations

import re

from honeyguide.data.input_spec import InputSpec
from honeyguide.errors import ConfigError, nearest_name
from models.tagger.config import TaggerConfig


def class_codes(config: TaggerConfig, spec: InputSpec) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Returns the names of the classes, and for each truth of the inputs the code of its class; -1 for none.

    Raises:
        ConfigError: The inputs have no truths; a class names a truth that they have not; a truth is in no class, though
            the settings do not drop it; there is but one class, or one with a name that can't be written.
    """
    if not spec.truths:
        raise ConfigError(
            "a tagger learns truths, and these inputs have none",
            where="model.family",
            hint="a reader with truths, and preprocess.level: row",
        )
    classes = config.classes or {name: (name,) for name in spec.truths}
    _check_names(tuple(classes))
    for name, truths in classes.items():
        for truth in truths:
            _check_truth(truth, spec.truths, f"model.classes.{name}")
    code = {truth: number for number, truths in enumerate(classes.values()) for truth in truths}
    left = [truth for truth in spec.truths if truth not in code]
    if left and config.unclassified == "error":
        raise ConfigError(
            f"truths of the inputs that are in no class: {', '.join(left)}",
            where="model.classes",
            got=", ".join(code),
            hint="name them in a class, or leave them out of the training with model.unclassified: drop",
        )
    return tuple(classes), tuple(code.get(truth, -1) for truth in spec.truths)


def _check_truth(truth: str, truths: tuple[str, ...], where: str) -> None:
    if truth not in truths:
        raise ConfigError(
            f"the inputs have no truth {truth!r}",
            where=where,
            allowed=", ".join(truths),
            nearest=nearest_name(truth, truths),
        )


def _check_names(names: tuple[str, ...]) -> None:
    if len(names) < 2:
        raise ConfigError("a classifier needs two or more classes", where="model.classes", got=", ".join(names))
    bad = [name for name in names if not re.fullmatch(r"[\w+-]+", name, re.ASCII)]
    if bad:
        raise ConfigError(
            "a class has a name that scores can't have",
            where="model.classes",
            got=", ".join(bad),
            allowed="letters, digits, '_', '+' and '-'",
        )

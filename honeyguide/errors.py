"""Errors that a user can act on: what, where, got, allowed or nearest, hint."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class HoneyguideError(Exception):
    """Base of all errors that honeyguide raises for something the user can mend.

    Args:
        what: What is wrong, one sentence.
        where: File and line, config file and key, dataset, branch.
        got: The value that was found.
        allowed: The values or the form that would be right.
        nearest: The allowed name most like the one that was given.
        hint: What to do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        got: object = None,
        allowed: object = None,
        nearest: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.details = {"where": where, "got": got, "allowed": allowed, "nearest": nearest, "hint": hint}
        lines = [what]
        lines += [f"  {key}: {value}" for key, value in self.details.items() if value is not None]
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[Any, ...]:
        # exceptions cross process borders (law workers, process pools); the default reduce loses keyword arguments
        return (_rebuild, (type(self), self.what, self.details))


class ConfigError(HoneyguideError):
    """A config file, an override or a parameter is wrong."""


class DataError(HoneyguideError):
    """Input data are missing, malformed or contradictory."""


class StoreError(HoneyguideError):
    """An output can't be written, or a stored one is damaged."""


class ModelError(HoneyguideError):
    """A model can't be built, trained or applied."""


def nearest_name(name: str, allowed: Iterable[str]) -> str | None:
    """Returns the allowed name most like ``name``, or None where none is near."""
    found = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return found[0] if found else None


def _rebuild(cls: type[HoneyguideError], what: str, details: dict[str, Any]) -> HoneyguideError:
    return cls(what, **details)

"""The base of all settings: typed, frozen, strict; and which of their values a result depends on."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base class of every settings section. Unknown keys are errors, values can't change after construction.

    A section stands beside the code that it configures, in a module that imports nothing heavy, and every field has a
    description. Fields that can't change a result (threads, progress) are made with :func:`insignificant`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def insignificant(default: Any, *, description: str, **kwargs: Any) -> Any:
    """Returns a pydantic field that does not enter digests, since no result depends on it."""
    return Field(default, description=description, json_schema_extra={"significant": False}, **kwargs)


def significant_values(settings: BaseModel) -> dict[str, Any]:
    """Returns the values that a result depends on, as plain JSON types.

    Fields at their default are left out, so that adding a field later keeps old digests valid, and so are fields made
    with :func:`insignificant`.
    """
    values: dict[str, Any] = {}
    for name, field in type(settings).model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get("significant") is False:
            continue
        value = getattr(settings, name)
        if field.is_required() or value != field.get_default(call_default_factory=True):
            values[name] = _plain(value)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return significant_values(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value

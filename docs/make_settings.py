"""Writes docs/settings.md from the settings themselves: python docs/make_settings.py."""

from __future__ import annotations

import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pydantic import BaseModel  # noqa: E402
from pydantic.fields import FieldInfo  # noqa: E402

import models  # noqa: E402
from configs.schema import ExperimentSettings  # noqa: E402
from honeyguide.data.features import FEATURES  # noqa: E402

PAGE = ROOT / "docs" / "settings.md"
INTRODUCTION = """# Settings

Made by `python docs/make_settings.py` from the settings' classes; a test keeps it in step. In an experiment's YAML a
section is a mapping; on the command line `--set section.key=value`. Everything has a default unless it is *required*.
No result depends on keys with a °: they change no digest, and nothing runs again.
"""


def page() -> str:
    """Returns the whole page."""
    parts = [INTRODUCTION, *_section("", ExperimentSettings)]
    for family in models.REGISTRY:
        parts += _section("model", models.config_class(family), title=f"`model` with `family: {family}`")
    return "\n".join([*parts, *_features()])


def _section(key: str, section: type[BaseModel], title: str = "An experiment") -> Iterator[str]:
    """Yields a heading and a table, then those of the sections inside, one for all keys of one kind."""
    yield f"## {title}\n"
    yield f"{_one_line(section.__doc__)}\n"
    yield "| key | values | default | |\n|---|---|---|---|"
    inner: dict[type[BaseModel], list[str]] = {}
    for name, field in section.model_fields.items():
        extra = field.json_schema_extra
        degree = "°" if isinstance(extra, dict) and extra.get("significant") is False else ""
        inside = _inner(field.annotation)
        if inside and name != "model":
            inner.setdefault(inside, []).append(_path(key, name, field.annotation))
        cells = (f"`{name}`{degree}", _type(field.annotation), _default(field), _one_line(field.description))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""
    for inside, paths in inner.items():
        yield from _section(paths[0], inside, ", ".join(f"`{path}`" for path in paths))


def _path(key: str, name: str, annotation: Any) -> str:
    many = {"dict": ".NAME", "tuple": "[...]"}.get(getattr(get_origin(annotation), "__name__", ""), "")
    return (f"{key}." if key else "") + name + many


def _inner(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _inner(argument))), None)


def _type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is Annotated:
        return _type(arguments[0])
    if origin in (Union, types.UnionType):
        return " or ".join(_type(item) for item in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return f"mapping of {_type(arguments[1])}"
    if annotation is type(None):
        return "null"
    names = {int: "integer", float: "number", str: "text", bool: "true, false"}
    return names.get(annotation, "section")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_unset=True)
        return f"`{json.dumps(value, default=_plain)}`" if value else "see below"
    return f"`{json.dumps(value, default=_plain)}`"


def _plain(value: object) -> object:
    assert isinstance(value, BaseModel)
    return value.model_dump(mode="json", exclude_unset=True)


def _features() -> Iterator[str]:
    yield "## Features\n"
    yield "What `preprocess` can name. A constituent also has the features of its jet, with `jet_` before the name.\n"
    yield "| collection | features |\n|---|---|"
    for collection, features in FEATURES.items():
        names = (f"`{name}`" + (f" [{feature.unit}]" if feature.unit else "") for name, feature in features.items())
        yield f"| {collection} | {', '.join(names)} |"


def _one_line(text: str | None) -> str:
    return re.sub(r"\s+", " ", (text or "").strip()).replace("``", "`")


if __name__ == "__main__":
    PAGE.write_text(page().rstrip() + "\n", encoding="utf-8")

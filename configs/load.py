"""YAML files and overrides into typed, frozen settings; every mistake is one readable error."""

from __future__ import annotations

import functools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

import models
from configs.schema import ExperimentSettings
from honeyguide.errors import ConfigError, nearest_name

CONFIG_FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Experiment:
    """A loaded experiment.

    Attributes:
        name: Name of its file without suffix; it stands in output paths.
        dataset_name: The same for its dataset.
        dataset_folder: Where the dataset's relative paths start.
        settings: The validated settings, overrides applied.
    """

    name: str
    dataset_name: str
    dataset_folder: Path
    settings: ExperimentSettings

    @property
    def is_tagging(self) -> bool:
        """Whether the model is a classifier: it has classes, and tasks evaluate it as a tagger."""
        return bool(getattr(self.settings.model, "classify", False))


@functools.lru_cache(maxsize=1024)
def load_experiment(config: str, overrides: tuple[str, ...] = ()) -> Experiment:
    """Returns the experiment ``config`` (a name in ``configs/experiments`` or a path) with overrides applied.

    A config is read once per process, so that all tasks of one ``law run`` see the same.

    Args:
        config: Name, or path of a YAML file.
        overrides: ``section.key=value`` each, e.g. ``training.epochs=5``; values are YAML.

    Raises:
        ConfigError: A file, key, type or combination is wrong; the message has file, key, got and the nearest key.
    """
    path = find_config(config, "experiments")
    raw = _read_with_base(path, "experiments")
    if "dataset" not in raw:
        raise ConfigError("an experiment names its dataset: 'dataset: NAME'", where=path)
    dataset_path = Path(raw["dataset"])
    raw["dataset"] = _read_with_base(dataset_path, "datasets")
    return Experiment(path.stem, dataset_path.stem, dataset_path.parent, _validated(raw, path, dataset_path, overrides))


def find_config(name: str, kind: str, beside: Path | None = None) -> Path:
    """Returns the path of the config ``name``: a YAML path (seen from ``beside`` too), or a name in ``configs/<kind>``.

    Raises:
        ConfigError: There is none; the message has the nearest name and all names.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(os.path.expandvars(name)).expanduser()
        candidates = [path] if beside is None or path.is_absolute() else [beside.parent / path, path]
        for candidate in candidates:
            if candidate.is_file():
                return candidate.resolve()
        raise ConfigError(f"no such config file: {name}", where=Path.cwd(), hint="give a path or a name")
    path = CONFIG_FOLDER / kind / f"{name}.yaml"
    if not path.is_file():
        names = sorted(file.stem for file in (CONFIG_FOLDER / kind).glob("*.yaml"))
        folder = Path.cwd() if beside is None else beside.parent
        raise ConfigError(
            f"no config {name!r} in configs/{kind}",
            where=beside,
            nearest=nearest_name(name, names),
            allowed=", ".join(names),
            hint=f"a file is given with its suffix: {name}.yaml" if (folder / f"{name}.yaml").is_file() else None,
        )
    return path


def parse_overrides(text: str) -> tuple[str, ...]:
    """Returns the overrides in ``text``, split at the commas that stand outside of brackets and quotes, sorted by key.

    Raises:
        ConfigError: One is not of the form ``section.key=value``, or a key comes twice with different values.
    """
    found: dict[str, str] = {}
    for part in split_outside(text, ","):
        key, separator, value = part.partition("=")
        key, value = key.strip(), value.strip()
        if not separator or not re.fullmatch(r"[A-Za-z_][\w-]*(\.[\w-]+)+", key):
            raise ConfigError("an override is not of the form section.key=value", where="--set", got=part)
        if found.get(key, value) != value:
            raise ConfigError(f"{key} is set twice", where="--set", got=text)
        found[key] = value
    return tuple(f"{key}={value}" for key, value in sorted(found.items()))


def split_outside(text: str, separators: str, brackets: str = "[]{}") -> list[str]:
    """Returns the parts of ``text`` between separators that stand outside of brackets and quotes, without empty ones.

    Args:
        text: What to split.
        separators: Single characters.
        brackets: Opening and closing ones, in turn.
    """
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += (character in brackets[::2]) - (character in brackets[1::2])
        if character in separators and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in map(str.strip, parts) if part]


def parse_value(text: str) -> Any:
    """Returns the value that an override's text stands for.

    Raises:
        yaml.YAMLError: It is not YAML.
    """
    return yaml.load(text, Loader=_Loader)


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """YAML as physicists write it: ``1e-3`` is a number, a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return dict(super().construct_mapping(node, deep=deep))


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def _read_with_base(path: Path, kind: str, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Returns what is in the file on top of what it extends; an experiment's dataset as its path."""
    if path in extended_by:
        raise ConfigError("'extends' comes back to the same file", where=path)
    raw = _read_yaml(path)
    if isinstance(raw.get("dataset"), str):
        raw["dataset"] = str(find_config(raw["dataset"], "datasets", path))
    elif "dataset" in raw:
        raise ConfigError("an experiment names its dataset: 'dataset: NAME'", where=path, got=raw["dataset"])
    base = raw.pop("extends", None)
    if base is None:
        return raw
    return _merged(_read_with_base(find_config(str(base), kind, path), kind, (*extended_by, path)), raw)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError("this config can't be read as YAML", where=path, got=error) from error
    if not isinstance(raw, dict):
        raise ConfigError("a config is a mapping of sections", where=path, got=type(raw).__name__)
    if isinstance(raw.get("model"), dict):
        raw["model"] = models.expand(raw["model"])
    return raw


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Returns ``base`` with ``own`` on top; a section of another ``family`` has other keys, so it takes none over."""
    merged = dict(base)
    for key, value in own.items():
        below = merged.get(key)
        both = isinstance(value, dict) and isinstance(below, dict) and not _changes_family(below, value)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _changes_family(below: dict[str, Any], own: dict[str, Any]) -> bool:
    return "family" in below and own.get("family", below["family"]) != below["family"]


def _validated(raw: dict[str, Any], path: Path, dataset_path: Path, overrides: tuple[str, ...]) -> ExperimentSettings:
    named = dict(override.split("=", 1) for override in overrides)
    # a preset by its name and another one by its key are an error, in the overrides alone too
    models.expand({"family": named.get("model.family"), "preset": named.get("model.preset")})
    for override in sorted(overrides, key=lambda item: ".family=" not in item):  # a family first, then its keys
        _apply(raw, override)
    _complete(ExperimentSettings, raw)
    try:
        # strict JSON mode: lists become tuples, but "5" never becomes 5
        return ExperimentSettings.model_validate_json(json.dumps(raw, default=str), strict=True)
    except ValidationError as error:
        problems = [_problem(item, raw, (path, dataset_path), overrides) for item in error.errors(include_url=False)]
        raise _one_error(problems, path) from error


def _apply(raw: dict[str, Any], override: str) -> None:
    key, _, text = override.partition("=")
    *sections, last = key.split(".")
    node = raw
    for section in sections:
        child = node.setdefault(section, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{section!r} is a value, not a section", where=f"--set {override}", got=child)
        node = child
    try:
        value = parse_value(text)
    except yaml.YAMLError as error:
        raise ConfigError("the value is not YAML", where=f"--set {override}", got=text) from error
    given = models.expand({last: value}) if sections == ["model"] else {last: value}
    if _changes_family(node, given):
        node.clear()
    node.update(given)


def _complete(section: type[BaseModel], values: dict[str, Any]) -> None:
    """Fills a section that is given in part with what its default has for the rest, in place."""
    for name, field in section.model_fields.items():
        given = values.get(name)
        if isinstance(given, dict) and isinstance(field.default, BaseModel):
            values[name] = _merged(field.default.model_dump(mode="json", exclude_unset=True), given)
        if isinstance(given, dict) and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            _complete(field.annotation, values[name])


def _one_error(problems: list[ConfigError], path: Path) -> ConfigError:
    if len(problems) == 1:
        return problems[0]
    return ConfigError(f"{len(problems)} problems in this config\n" + "\n".join(f"- {p}" for p in problems), where=path)


def _problem(item: Any, raw: dict[str, Any], paths: tuple[Path, Path], overrides: tuple[str, ...]) -> ConfigError:
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    file = paths[1] if location[:1] == ["dataset"] else paths[0]
    by_override = next((o for o in overrides if key and _is_about(o.partition("=")[0], key)), None)
    where = f"--set {by_override}" if by_override else f"{file}, key {key or '(top)'}"
    cause = item.get("ctx", {}).get("error")
    if isinstance(cause, ConfigError):
        details: dict[str, Any] = {**cause.details, "where": where}
        return ConfigError(cause.what, **details)
    if item["type"] == "extra_forbidden":
        allowed = sorted(_fields_at(raw, location[:-1]))
        near = nearest_name(location[-1], allowed)
        return ConfigError(f"unknown key {location[-1]!r}", where=where, nearest=near, allowed=", ".join(allowed))
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "missing" and by_override is None:
        beside = next((o for o in overrides if o.startswith(".".join(location[:-1]) + ".")), None)
        if beside is not None:  # a new section, made by the override: most often a name with a slip in it
            known = _keys_at(raw, location[:-2])
            near = nearest_name(location[-2], [name for name in known if name != location[-2]])
            return ConfigError(f"{message}: {key}", where=f"--set {beside}", nearest=near)
    # a check of a whole section has said what of it is wrong; the section itself would bury that
    whole = item["type"] == "missing" or (item["type"] == "value_error" and isinstance(item["input"], dict))
    return ConfigError(message, where=where, got=None if whole else repr(item["input"])[:200])


def _is_about(override: str, key: str) -> bool:
    """Returns whether an override gives the value at ``key``, something in it, or something that it is in."""
    return f"{override}.".startswith(f"{key}.") or f"{key}.".startswith(f"{override}.")


def _keys_at(raw: Any, location: list[str]) -> list[str]:
    for part in location:
        raw = raw.get(part) if isinstance(raw, dict) else None
    return list(raw) if isinstance(raw, dict) else []


def _fields_at(raw: dict[str, Any], location: list[str]) -> list[str]:
    section: Any = ExperimentSettings
    if location[:1] == ["model"]:
        section, location = models.config_class(raw["model"]["family"]), location[1:]
    for part in location:
        fields = getattr(section, "model_fields", {})
        # a part that is no field is a key of a mapping or a place in a list: the section's type stays
        if part in fields:
            section = _section_type(fields[part].annotation)
    return list(getattr(section, "model_fields", {}))


def _section_type(annotation: Any) -> Any:
    for candidate in (annotation, *_arguments(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _arguments(annotation: Any) -> list[Any]:
    found: list[Any] = []
    for argument in getattr(annotation, "__args__", ()):
        found += [argument, *_arguments(argument)]
    return found

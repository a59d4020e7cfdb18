"""What ``--scan`` says, as points of a scan that are all valid experiments, and the best of them as YAML."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from configs.load import find_config, load_experiment, parse_overrides, parse_value, split_outside
from honeyguide.errors import ConfigError, nearest_name
from honeyguide.scans.space import Choices, Point, Range, Space, grid, random_points
from honeyguide.settings import significant_values

SECTIONS = ("dataset", "preprocess", "model", "training")
"""What a training depends on."""
SHORT = {"training.lr": "training.learning_rate"}
"""Names that everybody has for a key, beside the beginnings of its own."""
_FORMS = {"uniform": (False, False), "log": (True, False), "int": (False, True), "logint": (True, True)}


def scan_items(text: str) -> tuple[str, ...]:
    """Returns the parts ``key=values`` of ``text``, split at white space outside of brackets and quotes."""
    return tuple(split_outside(text, " \t\n", "[]{}()"))


@functools.lru_cache(maxsize=64)
def scan_space(config: str, overrides: tuple[str, ...], items: tuple[str, ...]) -> Space:
    """Returns what a scan varies, by the full name of each key.

    Args:
        config: The experiment.
        overrides: Those of all points.
        items: ``key=values`` each: ``a,b,c``, ``uniform(a,b)``, ``log(a,b)``, ``int(a,b)`` or ``logint(a,b)``; values
            are YAML, and a key may be shortened as long as it is no other one's beginning.

    Raises:
        ConfigError: A key does not exist, or no training depends on it; values are missing, given twice or no YAML.
    """
    found: dict[str, Choices | Range] = {}
    settings = load_experiment(config, overrides).settings
    for item in items:
        given, separator, values = item.partition("=")
        if not separator or not values:
            raise ConfigError("a scan has keys and their values", where="--scan", got=item, allowed="key=value,value")
        key = _full_key(settings, given)
        if key in found:
            raise ConfigError(f"{key} is scanned twice", where="--scan", got=item)
        found[key] = _values(key, values)
    if not found:
        raise ConfigError("there is nothing to scan", where="--scan", allowed="key=value,value ...")
    return found


def _full_key(settings: BaseModel, given: str) -> str:
    """Returns the key that ``given`` is short for."""
    level: Any = settings
    full: list[str] = []
    for part in SHORT.get(given, given).split("."):
        if isinstance(level, BaseModel):
            names = list(SECTIONS if not full else type(level).model_fields)
            matches = [part] if part in names else [name for name in names if name.startswith(part)]
            if len(matches) != 1:
                raise ConfigError(
                    f"{'no' if not matches else 'more than one'} key {part!r}"
                    + (f" in {'.'.join(full)}" if full else ": a training depends on these sections"),
                    where=f"--scan {given}",
                    nearest=nearest_name(part, names),
                    allowed=", ".join(matches or names),
                )
            part = matches[0]
            level = getattr(level, part)
        elif isinstance(level, dict):
            level = level.get(part)
        full.append(part)
    key = ".".join(full)
    if key == "training.seeds" or len(full) == 1:
        hint = "--set training.seeds=[1,2,3]: every point is trained with each" if len(full) > 1 else None
        raise ConfigError(f"{key} can't be scanned", where=f"--scan {given}", hint=hint)
    return key


def _values(key: str, text: str) -> Choices | Range:
    form = re.fullmatch(rf"({'|'.join(_FORMS)})\((.*)\)", text)
    if form is not None:
        return _range(key, *_FORMS[form[1]], text, form[2])
    texts = tuple(split_outside(text, ",", "[]{}()"))
    for value in texts:
        _as_yaml(key, value)
    return Choices(texts)


def _range(key: str, log: bool, whole: bool, text: str, inside: str) -> Range:
    ends = [_as_yaml(key, end) for end in split_outside(inside, ",")]
    kind = int if whole else (int, float)
    fits = len(ends) == 2 and all(isinstance(end, kind) and not isinstance(end, bool) for end in ends)
    if not fits or ends[0] >= ends[1] or (log and ends[0] <= 0):
        numbers = "integers" if whole else "numbers"
        raise ConfigError(
            "this is no range",
            where=f"--scan {key}",
            got=text,
            allowed=f"two {numbers}, the lower one first" + (" and above 0" if log else ""),
        )
    low, high = ends if whole else map(float, ends)
    return Range(low, high, log=log, whole=whole)


def _as_yaml(key: str, text: str) -> Any:
    try:
        return parse_value(text)
    except yaml.YAMLError as error:
        raise ConfigError("the value is not YAML", where=f"--scan {key}", got=text) from error


@functools.lru_cache(maxsize=64)
def scan_points(
    config: str, overrides: tuple[str, ...], items: tuple[str, ...], *, method: str, number: int, seed: int
) -> tuple[tuple[str, ...], ...]:
    """Returns the overrides of every point of a grid or random scan, those of all points among them.

    Args:
        config: The experiment.
        overrides: Those of all points.
        items: See :func:`scan_space`.
        method: ``grid`` or ``random``.
        number: Points of a random scan.
        seed: Of a random scan.

    Raises:
        ConfigError: A point is no valid experiment, or two points are the same.
    """
    space = scan_space(config, overrides, items)
    points = grid(space) if method == "grid" else random_points(space, number, seed=seed)
    together = [point_overrides(overrides, point) for point in points]
    seen: dict[str, tuple[str, ...]] = {}
    for point in together:
        settings = _checked(config, point)
        content = str([significant_values(getattr(settings, name)) for name in SECTIONS])
        if content in seen:
            differing = sorted(set(point) ^ set(seen[content]))
            raise ConfigError(
                "two points of the scan are the same training", where="--scan", got=" and ".join(differing or point)
            )
        seen[content] = point
    return tuple(together)


@functools.lru_cache(maxsize=64)
def check_study(config: str, overrides: tuple[str, ...], items: tuple[str, ...]) -> Space:
    """Returns the space of a study, which chooses its points later, after trying the ends of each key's values.

    Raises:
        ConfigError: One of them makes no valid experiment, or a key changes what a training reads.
    """
    space = scan_space(config, overrides, items)
    first = {key: values.ends[0] for key, values in space.items()}
    for key, values in space.items():
        if f"{key}.".startswith(("dataset.", "preprocess.", "training.start.")):
            raise ConfigError(
                "a study varies the model and the training: what they read is made before it begins",
                where=f"--scan {key}",
                hint="--method grid or --method random",
            )
        for value in values.ends:
            _checked(config, point_overrides(overrides, {**first, key: value}))
    return space


def point_overrides(overrides: tuple[str, ...], point: Point) -> tuple[str, ...]:
    """Returns the overrides of a point: its own in place of those of the same keys."""
    shared = {item.partition("=")[0]: item for item in overrides}
    own = {key: f"{key}={value}" for key, value in point.items()}
    return parse_overrides(",".join((shared | own).values()))


def _checked(config: str, overrides: tuple[str, ...]) -> Any:
    try:
        return load_experiment(config, overrides).settings
    except ConfigError as error:
        details: dict[str, Any] = {**error.details, "where": str(error.details["where"]).replace("--set", "--scan", 1)}
        raise ConfigError(error.what, **details) from error


def write_config(path: Path, config: str, overrides: tuple[str, ...]) -> None:
    """Writes an experiment with overrides as YAML that extends it.

    Overrides of the dataset are not in it: they belong to another file, and stay on the command line.

    Args:
        path: The file; its name is the experiment's, so that its outputs are in the same place.
        config: Name or path of the experiment.
        overrides: ``section.key=value`` each.
    """
    of_dataset = tuple(item for item in overrides if item.startswith("dataset."))
    options = f" --set {','.join(of_dataset)!r}" if of_dataset else ""
    head = f"# law run TrainingTask --config {path.name}{options}\n"
    base = str(find_config(config, "experiments")) if config.endswith((".yaml", ".yml")) else config
    content = _nested(item for item in overrides if item not in of_dataset)
    path.write_text(head + yaml.safe_dump({"extends": base, **content}, sort_keys=False))
    wanted = load_experiment(config, overrides)
    found = load_experiment.__wrapped__(str(path), of_dataset)  # the file may be written again
    if significant_values(found.settings) == significant_values(wanted.settings):
        return
    # a mapping adds to the one that it extends, where --set replaces it: so nothing is extended
    given = wanted.settings.model_dump(mode="json", exclude_unset=True, exclude={"dataset"})
    dataset = next(wanted.dataset_folder.glob(f"{wanted.dataset_name}.y*ml"))
    path.write_text(head + yaml.safe_dump({**given, "dataset": str(dataset)}, sort_keys=False))


def _nested(overrides: Iterable[str]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for override in overrides:
        key, _, text = override.partition("=")
        *sections, last = key.split(".")
        level = nested
        for section in sections:
            level = level.setdefault(section, {})
        level[last] = parse_value(text)
    return nested


def point_of(space: Space, overrides: tuple[str, ...]) -> Point:
    """Returns the values that the overrides of a point give to what a scan varies."""
    given = dict(item.split("=", 1) for item in overrides)
    return {key: given[key] for key in space}

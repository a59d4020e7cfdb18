"""Model families: a folder each, with ``config.py`` (imports no torch) and ``model.py``."""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from honeyguide.errors import ConfigError, nearest_name
from honeyguide.settings import Settings

if TYPE_CHECKING:
    from honeyguide.data.input_spec import InputSpec
    from honeyguide.nn.model import Model

REGISTRY: dict[str, str] = {
    "vae": "models.vae",
    "tagger": "models.tagger",
}
"""The package of every family; it holds ``config.CONFIG``, the settings class, and ``model.MODEL``, the model class."""


def expand(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values with a preset's name in the place of a family's as that family and that preset.

    Raises:
        ConfigError: Another preset is given beside it.
    """
    name = values.get("family")
    if not isinstance(name, str) or name in REGISTRY:
        return dict(values)
    families = [family for family in REGISTRY if name in _presets(family)]
    if not families:
        return dict(values)
    if values.get("preset") not in (None, name):
        raise ConfigError(
            f"family: {name} is the name of a preset, and another one is given beside it",
            where="model.preset",
            got=values["preset"],
        )
    return {**values, "family": families[0], "preset": name}


def config_class(family: str) -> type[Settings]:
    """Returns the settings class of a family; imports no torch.

    Raises:
        ConfigError: There is no such family.
    """
    settings: type[Settings] = importlib.import_module(f"{_package(family)}.config").CONFIG
    return settings


def build(config: Settings, spec: InputSpec) -> Model:
    """Returns a new model with weights drawn from torch's global random state.

    Args:
        config: Settings of a family, an instance of :func:`config_class`.
        spec: The inputs that the model shall take.

    Raises:
        ConfigError: There is no such family, or it can't take these inputs.
    """
    family: Any = getattr(config, "family", None)
    model: Model = importlib.import_module(f"{_package(family)}.model").MODEL(config, spec)
    return model


def parse(values: Mapping[str, Any]) -> Settings:
    """Returns the validated settings of the family (or preset) that ``values["family"]`` names.

    Raises:
        ConfigError: There is no such family.
        pydantic.ValidationError: A value is wrong.
    """
    values = expand(values)
    return config_class(values.get("family", "")).model_validate(values)


def _presets(family: str) -> Collection[str]:
    """Returns the presets of a family; imports no torch."""
    presets: Collection[str] = getattr(importlib.import_module(f"{REGISTRY[family]}.config"), "PRESETS", ())
    return presets


def _package(family: object) -> str:
    if not isinstance(family, str) or family not in REGISTRY:
        presets = [name for known in REGISTRY for name in _presets(known)]
        raise ConfigError(
            "there is no such model family, nor a preset of one",
            where="model.family",
            got=family,
            allowed=", ".join([*sorted(REGISTRY), *presets]),
            nearest=nearest_name(str(family), [*REGISTRY, *presets]),
        )
    return REGISTRY[family]

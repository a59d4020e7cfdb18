"""Model families: a folder each, with ``config.py`` (imports no torch) and ``model.py``."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from honeyguide.errors import ConfigError, nearest_name
from honeyguide.settings import Settings

if TYPE_CHECKING:
    from honeyguide.data.input_spec import InputSpec
    from honeyguide.nn.model import Model

REGISTRY: dict[str, str] = {
    "vae": "models.vae",
}
"""The package of every family; it holds ``config.CONFIG``, the settings class, and ``model.MODEL``, the model class."""


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
    """Returns the validated settings of the family that ``values["family"]`` names, e.g. the config in ``model.json``.

    Raises:
        ConfigError: There is no such family.
        pydantic.ValidationError: A value is wrong.
    """
    return config_class(values.get("family", "")).model_validate(values)


def _package(family: object) -> str:
    if not isinstance(family, str) or family not in REGISTRY:
        raise ConfigError(
            "there is no such model family",
            where="model.family",
            got=family,
            allowed=", ".join(sorted(REGISTRY)),
            nearest=nearest_name(str(family), REGISTRY),
        )
    return REGISTRY[family]

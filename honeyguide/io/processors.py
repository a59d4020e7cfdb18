"""Processors of users: where their code is, and how to load it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from honeyguide.errors import ConfigError, nearest_name


def processor_file(name: str) -> Path:
    """Returns the file with the code of a processor, ``module:Class`` or ``file.py:Class``, without running it.

    Raises:
        ConfigError: There is no such file or module, or the name is of neither form.
    """
    place, separator, _ = name.rpartition(":")
    if not separator:
        raise ConfigError("a processor is not named as it should", got=name, allowed="module:Class or file.py:Class")
    if place.endswith(".py"):
        path = Path(place)
    else:
        try:
            spec = importlib.util.find_spec(place)
        except (ImportError, ValueError):
            spec = None
        path = Path(spec.origin) if spec is not None and spec.origin else Path(place)
    if not path.is_file():
        hint = "a file is given with its suffix: name.py:Class; the folder of a module stands in PYTHONPATH"
        raise ConfigError("there is no such processor", where=name, got=place, hint=hint)
    return path


def load_processor(name: str) -> Any:
    """Returns an instance of a processor's class.

    Raises:
        ConfigError: It is not there, or no ``coffea.processor.ProcessorABC``.
    """
    from coffea.processor import ProcessorABC

    path = processor_file(name)
    place, _, class_name = name.rpartition(":")
    module = _module_of_file(path) if place.endswith(".py") else importlib.import_module(place)
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, ProcessorABC)):
        known = [key for key, item in vars(module).items() if isinstance(item, type) and issubclass(item, ProcessorABC)]
        raise ConfigError(
            f"there is no processor '{class_name}'",
            where=path,
            nearest=nearest_name(class_name, known),
            hint="its class is derived from coffea.processor.ProcessorABC",
        )
    return found()


def _module_of_file(path: Path) -> Any:
    name = f"honeyguide_processor_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for the module of their class
    spec.loader.exec_module(module)
    return module

"""Weights that a training begins with: those of another training, or published ones."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from honeyguide.errors import ConfigError, ModelError, StoreError
from honeyguide.nn.model import Model
from honeyguide.training.optimizers import matching
from honeyguide.training.start_settings import StartSettings, weights_file

_SHOWN = 5  # names in a message


def begin_with(model: Model, start: StartSettings) -> dict[str, Any]:
    """Gives a new model the weights that it begins with, freezes what shall stay, and returns what was done.

    Args:
        model: Keeps its own weights where ``start.exclude`` says so.
        start: Where the weights are, which are new, and which stay.

    Returns:
        ``weights``: the file; ``new`` and ``frozen``: names of the model's weights.

    Raises:
        StoreError: The file can't be read.
        ModelError: It has not the weights of this model.
        ConfigError: An expression fits no weight of the model, or nothing is left to be trained.
    """
    if start.weights is None:
        raise ConfigError("the experiment that a training begins with has not been found", got=start.experiment)
    own, path = model.state_dict(), Path(start.weights)
    new = _matched(start.exclude, own, where="training.start.exclude")
    given = model.from_published(read_weights(path))
    taken = {name: value for name, value in given.items() if not any(re.match(p, name) for p in start.exclude)}
    _check(taken, {name: value for name, value in own.items() if name not in new}, path)
    model.load_state_dict(taken, strict=False)
    frozen = _matched(start.freeze, own, where="training.start.freeze")
    model.freeze(frozen)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("every weight is frozen: there is nothing to train", where="training.start.freeze")
    return {"weights": str(weights_file(path)), "new": sorted(new), "frozen": sorted(frozen)}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Returns the tensors in a file of weights by name; what torch has saved is read without executing code.

    Raises:
        StoreError: It can't be read, or has no state dict.
    """
    file = weights_file(path)
    try:
        state: Any = load_file(file) if file.suffix == ".safetensors" else _load_torch(file)
    except (OSError, SafetensorError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise StoreError("the weights can't be read", where=file, got=str(error).splitlines()[0]) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise StoreError("this is no state dict: names and tensors", where=file, got=type(state).__name__)
    return dict(state)


def _load_torch(file: Path) -> Any:
    state = torch.load(file, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):  # where a checkpoint keeps it beside other things
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            return state[key]
    return state


def _matched(patterns: Sequence[str], names: Mapping[str, Tensor], *, where: str) -> set[str]:
    return {name for pattern in patterns for name in matching(pattern, names, where=where)}


def _check(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    shapes = [
        f"{name} {tuple(given[name].shape)}, the model's is {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in given and given[name].shape != value.shape
    ]
    problems = {
        "of another shape": shapes,
        "missing in the file": [name for name in wanted if name not in given],
        "unknown to the model": [name for name in given if name not in wanted],
    }
    found = {what: names for what, names in problems.items() if names}
    if found:
        raise ModelError(
            "these are not the weights of this model",
            where=weights_file(path),
            got="; ".join(f"{what}: {_short(names)}" for what, names in found.items()),
            hint="training.start.exclude: [to_logits] replaces the head; what is named there keeps its new weights",
        )


def _short(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

"""Where a training is, on disk: safetensors and JSON in one file, which is replaced as a whole or not at all."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from honeyguide.errors import StoreError
from honeyguide.io.atomic import atomic_file

FILE = "state.safetensors"
_TENSOR = "tensor~"  # a tensor's place in the JSON is {"tensor~": its name}


class Checkpoints:
    """The latest state of one training.

    Args:
        folder: Where it is kept; None to keep none.
        owner: What the training depends on, as plain JSON types: the state of another training is not taken over.
        every_epochs: Epochs between two states; None for no states by epochs.
        every_seconds: Seconds between two states; None for no states by time.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        owner: Mapping[str, Any],
        every_epochs: int | None = None,
        every_seconds: float | None = None,
    ) -> None:
        self._path = None if folder is None else folder / FILE
        self._owner = json.loads(json.dumps(owner))
        self._every_epochs = every_epochs
        self._every_seconds = every_seconds
        self._written = time.monotonic()

    @property
    def enabled(self) -> bool:
        """Whether there is a place for states."""
        return self._path is not None

    def due(self, *, epoch: int | None = None) -> bool:
        """Returns whether a state shall be written now; ``epoch`` is the one that has just been completed, if any."""
        if self._path is None:
            return False
        if epoch is not None and self._every_epochs is not None and (epoch + 1) % self._every_epochs == 0:
            return True
        return self._every_seconds is not None and time.monotonic() - self._written >= self._every_seconds

    def write(self, state: Mapping[str, Any]) -> None:
        """Replaces the state on disk.

        Args:
            state: Nested mappings and lists of tensors and plain JSON types; keys are written as text.

        Raises:
            StoreError: It can't be written.
        """
        if self._path is None:
            return
        tensors: dict[str, Tensor] = {}
        text = json.dumps({"owner": self._owner, "state": _take_out(state, "", tensors)})
        with atomic_file(self._path) as partial:
            try:
                save_file(tensors, partial, metadata={"state": text})
            except SafetensorError as error:  # it has errors of the operating system in its own words
                raise StoreError("a checkpoint can't be written", where=self._path, got=error) from error
        self._written = time.monotonic()

    def read(self) -> dict[str, Any] | None:
        """Returns the state on disk; None where there is none or where the disk has damaged it.

        Raises:
            StoreError: It is of another training.
        """
        if self._path is None or not self._path.is_file():
            return None
        try:
            with safe_open(self._path, framework="pt") as file:
                content = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
            owner, state = content["owner"], _put_back(content["state"], tensors)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"the checkpoint {self._path} is damaged, so the training begins anew: {error}", stacklevel=2)
            return None
        if owner != self._owner:
            raise StoreError(
                "the checkpoint is of another training",
                where=self._path,
                got=", ".join(key for key in {**owner, **self._owner} if owner.get(key) != self._owner.get(key)),
                hint="remove it to begin anew",
            )
        found: dict[str, Any] = state
        return found


def _take_out(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Returns the value with names in place of tensors, which are put into ``tensors``."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        return {str(key): _take_out(item, f"{name}/{key}", tensors) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_take_out(item, f"{name}/{number}", tensors) for number, item in enumerate(value)]
    return value


def _put_back(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if set(value) == {_TENSOR}:
            return tensors[value[_TENSOR]]
        return {key: _put_back(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_back(item, tensors) for item in value]
    return value

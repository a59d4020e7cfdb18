"""Model weights on disk: safetensors and JSON, so that loading executes no code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from honeyguide.data.input_spec import InputSpec
from honeyguide.errors import ModelError, StoreError
from honeyguide.nn.model import Model

DESCRIPTION = "model.json"
BuildModel = Callable[[InputSpec], Model]
Which = Literal["initial", "best", "last"]


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Writes named tensors as safetensors."""
    save_file({name: tensor.detach().contiguous().cpu() for name, tensor in weights.items()}, path)


def write_description(model: Model, folder: Path) -> None:
    """Writes ``model.json``: family, config and input specification, from which the model can be built again."""
    (folder / DESCRIPTION).write_text(
        json.dumps(describe(model) | {"spec": model.spec.model_dump(mode="json")}, indent=1)
    )


def describe(model: Model) -> dict[str, Any]:
    """Returns family, config and number of parameters as plain JSON types."""
    config = model.config.model_dump(mode="json") if isinstance(model.config, BaseModel) else {}
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"family": model.config.family, "config": config, "num_parameters": parameters}


def read_description(folder: Path) -> dict[str, Any]:
    """Returns ``model.json`` of the training in ``folder``: keys ``family``, ``config``, ``spec``, ``num_parameters``.

    Raises:
        StoreError: It is missing or damaged.
    """
    try:
        description: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text())
    except (OSError, ValueError) as error:
        raise StoreError("the description of a trained model can't be read", where=folder, got=error) from error
    return description


def read_model_spec(folder: Path) -> InputSpec:
    """Returns the input specification that the model in ``folder`` was trained with."""
    return InputSpec.model_validate_json(json.dumps(read_description(folder)["spec"]))


def load_model(folder: Path, build_model: BuildModel, *, which: Which = "best") -> Model:
    """Returns the trained model in ``folder``, in evaluation mode, on the CPU.

    Args:
        folder: What :func:`honeyguide.training.run.train` has written.
        build_model: Makes an untrained model of the same family and config from an input specification.
        which: The weights before the training, of the best or of the last epoch.

    Raises:
        StoreError: A file is missing or damaged.
        ModelError: ``build_model`` makes another model than the one that was trained.
    """
    description = read_description(folder)
    model = build_model(read_model_spec(folder))
    differences = _differences(model, description)
    if differences:
        raise ModelError(
            "the model was trained with another configuration than the one it shall be built with",
            where=folder,
            got=differences,
            hint="use the configuration of the training",
        )
    path = folder / f"{which}.safetensors"
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise StoreError("the weights can't be read", where=path, got=error) from error
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError("the weights do not fit the model", where=path, got=error) from error
    return model.eval()


def _differences(model: Model, description: Mapping[str, Any]) -> str:
    if model.config.family != description["family"]:
        return f"family {model.config.family}, trained was {description['family']}"
    if not isinstance(model.config, BaseModel):
        return ""
    # through the class: a field that was added since has its default in the trained model
    trained = type(model.config).model_validate(description["config"])
    names = type(model.config).model_fields
    pairs = ((name, getattr(model.config, name), getattr(trained, name)) for name in names)
    return "; ".join(f"{name} = {new!r}, trained was {old!r}" for name, new, old in pairs if new != old)

"""Where the background of a training lies in the latent space of its weights."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from honeyguide.data.model_inputs import ModelInputs
from honeyguide.data.streams import BatchStream
from honeyguide.errors import DataError, StoreError
from honeyguide.evaluation.latent import LatentGaussian, fit_latent_gaussian
from honeyguide.nn.model import Model

GAUSSIANS = "latent_gaussian.json"


def write_latent_gaussians(model: Model, sources: Sequence[ModelInputs], folder: Path, *, batch_size: int) -> None:
    """Writes ``latent_gaussian.json``: Gaussians fitted to the latents of the background, of the best and last weights.

    Where none can be fitted (no background, or all latents are the same) a warning says so, and null stands for it.

    Args:
        model: The model, on its device; it has the last weights afterwards.
        sources: The events that it was trained with.
        folder: Where ``best.safetensors`` and ``last.safetensors`` are.
        batch_size: Events that are encoded together.
    """
    device = next(model.parameters()).device
    stream = BatchStream(sources, batch_size=batch_size, device=device)
    weights = {which: load_file(folder / f"{which}.safetensors") for which in ("best", "last")}
    found: dict[str, dict[str, Any] | None] = {}
    for which, own in weights.items():
        if found and _same(own, weights["best"]):  # the last epoch was the best one
            found[which] = found["best"]
            continue
        model.load_state_dict(own)
        try:
            gaussian = fit_latent_gaussian(_background_latents(model.eval(), stream))
        except DataError as error:
            warnings.warn(f"no distances in the latent space of the {which} weights: {error.what}", stacklevel=2)
            found[which] = None
        else:
            found[which] = asdict(gaussian)
    (folder / GAUSSIANS).write_text(json.dumps(found, default=np.ndarray.tolist))


def read_latent_gaussian(folder: Path, *, which: str) -> LatentGaussian | None:
    """Returns the Gaussian of the best or the last weights; None where none could be fitted.

    Raises:
        StoreError: The file is missing or damaged.
    """
    try:
        values = json.loads((folder / GAUSSIANS).read_text())[which]
        if values is None:
            return None
        arrays = {name: np.array(values[name], dtype=np.float64) for name in ("mean", "covariance")}
        return LatentGaussian(**{**values, **arrays})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            "where the training's background lies in the latent space can't be read",
            where=folder / GAUSSIANS,
            got=error,
            hint="remove the output of TrainingTask and run it again",
        ) from error


def _same(some: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(value, others[name]) for name, value in some.items())


def _background_latents(model: Model, stream: BatchStream) -> Iterator[NDArray[np.float32]]:
    with torch.inference_mode():
        for batch in stream.batches():
            yield model.latent(batch)[batch.label == 0].float().cpu().numpy()

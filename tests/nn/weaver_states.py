"""State dicts, jets and logits of weaver-core 0.5.3, its Particle Transformer: numbers that follow from formulas.

``weaver_particle_transformer.json`` beside this file has the names and shapes of its state dicts (17 features, 10
classes, as published), and the logits that it made of these weights and jets, in double and in single precision:
``published`` with ``use_pre_activation_pair=False``, as in the authors' example, the others with weaver's default.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from honeyguide.data.batch import Objects

GOLDEN: dict[str, Any] = json.loads(
    Path(__file__).with_suffix(".json").with_stem("weaver_particle_transformer").read_text()
)
GOLDEN["published"]["shapes"] = GOLDEN["1"]["shapes"]
LENGTHS = (20, 11, 1, 16)
SLOTS = 24


def state(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Weights that look like those of a trained network, each by its name and place alone."""
    return {name: torch.tensor(_values(name, shape)).reshape(shape) for name, shape in shapes.items()}


def _values(name: str, shape: list[int]) -> np.ndarray:
    if name.endswith("num_batches_tracked"):
        return np.array(5)
    size = int(np.prod(shape))
    phase = zlib.crc32(name.encode()) % 1000
    wave = np.sin(phase + 12.9898 * np.arange(size, dtype=np.float64) ** 1.1)
    if name.endswith("running_var"):
        return 1.5 + wave
    if len(shape) == 1:  # biases and running means; factors, which are near 1
        return 1 + 0.3 * wave if name.endswith(("weight", "c_attn", "w_resid")) else 0.2 * wave
    return wave * np.sqrt(3 / (shape[1] if len(shape) < 3 else shape[1] * shape[2]))


def jets(num_features: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features (jet, slot, feature), four-momenta (jet, slot, 4) of pions and the mask; padding at the end."""
    index = np.arange(len(LENGTHS) * SLOTS, dtype=np.float64).reshape(len(LENGTHS), SLOTS)
    pt = 30 * (1.1 + np.sin(3.1 * index))
    eta, phi = 1.2 * np.sin(1.7 * index), 3.1 * np.sin(2.3 * index + 1)
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    vectors = np.stack([px, py, pz, np.sqrt(px**2 + py**2 + pz**2 + 0.14**2)], -1)
    features = 2 * np.sin(index[..., None] * 0.37 + 1.3 * np.arange(num_features))
    mask = np.arange(SLOTS) < np.array(LENGTHS)[:, None]
    keep = torch.tensor(mask)
    return *(torch.tensor(x).masked_fill(~keep[..., None], 0) for x in (features, vectors)), keep


def objects(num_features: int, slots: int = SLOTS, dtype: torch.dtype = torch.float64) -> Objects:
    features, vectors, mask = jets(num_features)
    return Objects(features[:, :slots].to(dtype), mask[:, :slots], vectors[:, :slots].to(dtype))

"""Scores of a tagger with closed forms: the ratio of any two classes' probabilities is that of two known densities."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

CLASSES = ("light", "b", "c")
SHIFT = {"b": 2.0, "c": 1.0, "light": 0.0}


def planted_probabilities(truth: Sequence[str], *, gain: float = 1.0, seed: int = 0) -> NDArray[np.float64]:
    """Returns P(class) of jets whose one observable x is Gaussian of width 1 around ``gain * SHIFT[truth]``.

    Every class has probability N(x; gain * SHIFT) / sum, so each discriminator of two classes is monotonic in x: its
    ROC curve is that of two Gaussians, Phi(mu - Phi^-1(1 - mistag)).
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=len(truth)) + gain * np.array([SHIFT.get(name, 0.5) for name in truth])
    log = -0.5 * (x[:, None] - gain * np.array([SHIFT[name] for name in CLASSES])) ** 2
    return np.asarray(np.exp(log) / np.exp(log).sum(1, keepdims=True))


def write_tagger_scores(folder: Path, *, sizes: Mapping[str, int], seed: int = 0, **options: Any) -> Path:
    """Returns the ``scores.h5`` of a sample with so many jets of each truth.

    Options: ``gain`` of the tagger, ``process``, ``truths`` (all names behind the codes), ``weight`` of each jet,
    ``probabilities``.
    """
    names = np.repeat(list(sizes), list(sizes.values()))
    rng = np.random.default_rng(seed + 1000)
    size = len(names)
    truths = options.get("truths", ("b", "c", "light"))
    p = options.get("probabilities", planted_probabilities(names, gain=options.get("gain", 1.0), seed=seed))
    columns = {
        "event_id": np.arange(size) + (seed << 24),
        "weight": np.broadcast_to(options.get("weight", 1.0), size).astype(float),
        "label": np.zeros(size, np.int8),
        "process": np.zeros(size, np.int16),
        "generator": np.zeros(size, np.int16),
        "signal_point": np.full(size, -1, np.int16),
        "truth": np.array([truths.index(name) for name in names], np.int16),
        "pt": np.exp(rng.uniform(np.log(20), np.log(500), size)).astype(np.float32),
        "eta": rng.uniform(-2.5, 2.5, size).astype(np.float32),
        "latent": np.zeros((size, 0), np.float32),
        "scores/total": p[:, 0].astype(np.float32),
        **{f"scores/prob_{name}": p[:, i].astype(np.float32) for i, name in enumerate(CLASSES)},
    }
    folder.mkdir(parents=True)
    with h5py.File(folder / "scores.h5", "w") as file:
        for name, column in columns.items():
            file[name] = column
        tables = {"processes": [options.get("process", "ttbar")], "generators": ["g"], "signal_points": []}
        tables |= {"truths": list(truths), "classes": list(CLASSES)}
        file.attrs.update(schema_version=1, **{name: json.dumps(table) for name, table in tables.items()})
    return folder / "scores.h5"

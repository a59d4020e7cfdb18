"""Rows with a target of known mean and known spread, which depend on what a model sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.model_inputs import ModelInputsWriter, write_spec
from honeyguide.preprocess.chain import Chain, Scalers

MEAN, SLOPE = 100.0, 20.0  # GeV


def spread(second: np.ndarray) -> np.ndarray:
    """Returns the width of the target's Gaussian [GeV] at the second feature."""
    return 8 * np.exp(0.8 * second)


def write_regression_inputs(folder: Path, *, num_train: int, num_test: int = 600, truths: bool = True) -> Path:
    """Returns ``folder`` after writing rows to it.

    With features u and v, Gaussian and uniform in (-1, 1), the mass is Gaussian around ``MEAN + SLOPE u`` with a width
    of ``spread(v)``; the truth is b where u - v is positive, else c. The mass is scaled to mean 0 and width 1.
    """
    spec = InputSpec(
        level="row",
        shape=(0,),
        columns=(),
        event_columns=tuple(Column(name=name, feature=name, kind="continuous") for name in ("u", "v")),
        processes=("qcd",),
        generators=("pythia",),
        targets=(
            Column(name="flat", feature="flat", kind="continuous"),
            Column(name="mass", feature="mass", kind="continuous", unit="GeV"),
        ),
        truths=("b", "c") if truths else (),
    )
    folder.mkdir()
    write_spec(folder, spec)
    chain = Chain("mass", ("standard",))
    for number, (split, size) in enumerate({"train": num_train, "validation": 300, "test": num_test}.items()):
        rng = np.random.default_rng(number)
        u, v = rng.normal(size=size), rng.uniform(-1, 1, size)
        mass = MEAN + SLOPE * u + spread(v) * rng.normal(size=size)
        chain.fit(mass)
        row = {
            "objects": np.zeros((size, 0, 0), np.float32),
            "mask": np.zeros((size, 0), bool),
            "event": np.stack([u, v], axis=1),
            "targets": np.stack([rng.uniform(size=size), chain.transform(mass)], axis=1),
            "event_id": np.arange(size) + 1_000_000 * number,
            "group": np.arange(size),
            "weight": np.ones(size),
            "label": np.zeros(size),
            "process": np.zeros(size),
            "generator": np.zeros(size),
            "signal_point": np.full(size, -1),
            "truth": np.where(u > v, 0, 1) if truths else np.full(size, -1),
            "pt": 50 * np.exp(u),
            "eta": v,
        }
        with ModelInputsWriter(folder / "qcd" / f"{split}.h5", num_events=size, spec=spec) as writer:
            writer.append(row)
    features = tuple(Chain(name, ()) for name in ("u", "v"))
    Scalers((), features, targets=(Chain("flat", ()), chain)).write(folder)
    return folder

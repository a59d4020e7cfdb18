"""Model inputs with a planted signal: the same marginal distributions as the background, other correlations."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from honeyguide.data.input_spec import Column, InputSpec, Level
from honeyguide.data.model_inputs import ModelInputsWriter, write_spec
from honeyguide.preprocess.chain import Chain, Scalers


def make_spec(
    level: Level = "jet", *, shape: tuple[int, ...] = (4,), num_features: int = 3, num_event_features: int = 1
) -> InputSpec:
    """Returns a specification with continuous columns."""

    def columns(prefix: str, number: int) -> tuple[Column, ...]:
        return tuple(Column(name=f"{prefix}{i}", feature=f"{prefix}{i}", kind="continuous") for i in range(number))

    return InputSpec(
        level=level,
        shape=shape,
        columns=columns("f", num_features),
        event_columns=columns("e", num_event_features),
        processes=("qcd", "svj"),
        generators=("pythia", "herwig"),
        signal_points=("mass=3500",),
    )


def write_sample(folder: Path, name: str, split: str, *, num_events: int, first_id: int, **options: object) -> Path:
    """Returns the file of model inputs that it wrote; options: ``signal``, ``generator``, ``spec``, ``weight``."""
    spec = options.get("spec", make_spec())
    assert isinstance(spec, InputSpec)
    signal = bool(options.get("signal", False))
    rng = np.random.default_rng(first_id)
    size = spec.num_objects * spec.num_features
    factors = rng.normal(size=(num_events, 2))
    loadings = np.random.default_rng(7).normal(size=(2, size))
    loadings /= np.linalg.norm(loadings, axis=0)
    values = rng.normal(size=(num_events, size)) if signal else factors @ loadings
    objects = values.reshape(num_events, spec.num_objects, spec.num_features).astype(np.float32)
    mask = rng.random((num_events, spec.num_objects)) < 0.8
    objects[~mask] = 0
    path = folder / name / f"{split}.h5"
    with ModelInputsWriter(path, num_events=num_events, spec=spec) as writer:
        writer.append(
            {
                "objects": objects,
                "mask": mask,
                "event": rng.normal(size=(num_events, spec.num_event_features)).astype(np.float32),
                "event_id": np.arange(first_id, first_id + num_events),
                "weight": np.full(num_events, options.get("weight", 1.0)),
                "label": np.full(num_events, signal),
                "process": np.full(num_events, int(signal)),
                "generator": np.full(num_events, options.get("generator", 0)),
                "signal_point": np.full(num_events, 0 if signal else -1),
            }
        )
    return path


def write_inputs(folder: Path, *, num_train: int = 600, num_validation: int = 201, num_test: int = 300) -> Path:
    """Returns ``folder`` after writing two background samples and a signal sample to it."""
    spec = make_spec()
    folder.mkdir()
    write_spec(folder, spec)
    columns = (spec.columns, spec.event_columns)
    Scalers(*(tuple(Chain(column.name, ()) for column in part) for part in columns)).write(folder)  # nothing is scaled
    sizes = {"train": num_train, "validation": num_validation, "test": num_test}
    for number, (split, num_events) in enumerate(sizes.items()):
        if num_events:
            first = 100_000 * (number + 1)
            write_sample(folder, "qcd_pythia", split, num_events=num_events - num_events // 3, first_id=first)
            if num_events > 2:
                write_sample(
                    folder, "qcd_herwig", split, num_events=num_events // 3, first_id=first + 50_000, generator=1
                )
    if num_test:
        write_sample(folder, "svj", "test", num_events=num_test, first_id=900_000, signal=True)
    return folder

"""Model inputs with a planted signal: the same marginal distributions as the background, other correlations.

Of events, and of rows with three truths.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from honeyguide.data.input_spec import Column, InputSpec, Level, ObjectSet
from honeyguide.data.model_inputs import ModelInputsWriter, write_spec
from honeyguide.preprocess.chain import Chain, Scalers


def _columns(prefix: str, number: int) -> tuple[Column, ...]:
    return tuple(Column(name=f"{prefix}{i}", feature=f"{prefix}{i}", kind="continuous") for i in range(number))


def make_spec(
    level: Level = "jet", *, shape: tuple[int, ...] = (4,), num_features: int = 3, num_event_features: int = 1
) -> InputSpec:
    """Returns a specification with continuous columns."""
    return InputSpec(
        level=level,
        shape=shape,
        columns=_columns("f", num_features),
        event_columns=_columns("e", num_event_features),
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


ROW_TRUTHS = ("b", "c", "light")
_SET_SIZES = {"cpf": (6, 3), "npf": (4, 2), "sv": (2, 2)}  # objects and features


def make_row_spec() -> InputSpec:
    """Returns a specification of rows: two features of their own, three sets, three truths."""
    return InputSpec(
        level="row",
        shape=(0,),
        columns=(),
        event_columns=_columns("global", 2),
        processes=("qcd", "ttbar"),
        generators=("pythia",),
        sets=tuple(
            ObjectSet(name=name, size=size, columns=_columns(name, number))
            for name, (size, number) in _SET_SIZES.items()
        ),
        truths=ROW_TRUTHS,
    )


def make_rows(num_rows: int, *, first_id: int, process: int = 0) -> dict[str, np.ndarray]:
    """Returns the arrays of rows whose truth shows in what their sets have in common.

    The first features of ``cpf`` and ``npf`` go together for b, against each other for c, and have nothing in common
    for light; each alone is the same for all truths. Vertices (``sv``) are the more frequent the heavier the truth. The
    spectra in pt fall more steeply from b to light. A tenth of the rows has no ``cpf``, another no ``npf``.
    """
    rng = np.random.default_rng(first_id)
    truth = rng.integers(0, len(ROW_TRUTHS), num_rows)
    common = rng.normal(size=num_rows)
    other = np.choose(truth, [common, -common, rng.normal(size=num_rows)])
    pt = 20 + rng.exponential(np.array([80.0, 60.0, 40.0])[truth])
    eta = rng.uniform(-2.5, 2.5, num_rows)
    counts = {
        "cpf": rng.integers(1, 7, num_rows) * (rng.random(num_rows) > 0.1),
        "npf": rng.integers(1, 5, num_rows) * (rng.random(num_rows) > 0.1),
        "sv": rng.binomial(2, np.array([0.6, 0.35, 0.1])[truth]),
    }
    arrays: dict[str, np.ndarray] = {
        "objects": np.zeros((num_rows, 0, 0), np.float32),
        "mask": np.zeros((num_rows, 0), bool),
        "event": np.stack([np.log(pt / 60), eta / 2.5], axis=1).astype(np.float32),
        "event_id": np.arange(first_id, first_id + num_rows),
        "weight": np.ones(num_rows),
        "label": np.zeros(num_rows, np.int8),
        "process": np.full(num_rows, process, np.int16),
        "generator": np.zeros(num_rows, np.int16),
        "signal_point": np.full(num_rows, -1, np.int16),
        "truth": truth.astype(np.int16),
        "pt": pt.astype(np.float32),
        "eta": eta.astype(np.float32),
        "group": np.arange(first_id, first_id + num_rows) // 2,
    }
    for name, (size, number) in _SET_SIZES.items():
        mask = np.arange(size) < counts[name][:, None]
        features = rng.normal(size=(num_rows, size, number)).astype(np.float32)
        if name != "sv":
            seen = common if name == "cpf" else other
            features[:, :, 0] = seen[:, None] + 0.3 * features[:, :, 0]
        arrays |= {f"{name}/features": features * mask[:, :, None], f"{name}/mask": mask}
    return arrays


def write_row_inputs(folder: Path, *, num_train: int = 600, num_validation: int = 201, num_test: int = 300) -> Path:
    """Returns ``folder`` after writing model inputs of rows to it: two samples, qcd and the smaller ttbar."""
    spec = make_row_spec()
    folder.mkdir()
    write_spec(folder, spec)
    Scalers(
        (),
        tuple(Chain(column.name, ()) for column in spec.event_columns),
        {item.name: tuple(Chain(column.name, ()) for column in item.columns) for item in spec.sets},
    ).write(folder)  # nothing is scaled
    sizes = {"train": num_train, "validation": num_validation, "test": num_test}
    for number, (split, num_rows) in enumerate(sizes.items()):
        for code, process in enumerate(spec.processes):
            share = num_rows // 3 if code else num_rows - num_rows // 3
            if share:
                rows = make_rows(share, first_id=100_000 * (number + 1) + 50_000 * code, process=code)
                with ModelInputsWriter(folder / process / f"{split}.h5", num_events=share, spec=spec) as writer:
                    writer.append(rows)
    return folder

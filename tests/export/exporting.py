"""Exports small taggers: a program of its own, without the tests' checks of shapes, which can't be traced."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np
import torch

import models
from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.model_inputs import ModelInputsWriter, list_inputs, write_spec
from honeyguide.data.some_rows import as_batch, read_some_rows
from honeyguide.export.onnx import export_tagger
from honeyguide.export.settings import ExportSettings
from honeyguide.nn.model import Model
from honeyguide.preprocess.chain import Chain, Scalers
from honeyguide.training.weights import save_weights, write_description
from tests.planted import make_row_spec, make_rows

NETWORKS = {
    "deepjet": {"network": "deepjet", "hidden": [8], "sets": {"cpf": {"layers": [5], "recurrent": 4}}},
    "mlp": {"network": "mlp", "hidden": [8], "regression": {"x0": {}}},
    "particlenet": {
        "network": "particlenet", "hidden": [8], "edge_layers": [[6], [5]], "embedding": 4, "num_neighbours": 3,
        "coordinates": ["x0", "x1"],
    },
    "particle_transformer": {
        "network": "particle_transformer", "hidden": [],
        "transformer": {"num_layers": 1, "num_class_layers": 1, "embedding": [8], "num_heads": 2, "pair_layers": [4]},
    },
    "particle_transformer_3": {
        "network": "particle_transformer", "hidden": [],
        "transformer": {
            "version": 3, "num_layers": 1, "num_class_layers": 0, "embedding": [8], "num_heads": 2, "pair_layers": [4],
        },
    },
}  # fmt: skip
SETTINGS = ExportSettings(parity_rows=70, tolerance=1e-5)


def one_set() -> InputSpec:
    """The planted rows with one of their sets, whose columns have names that a network knows."""
    spec = make_row_spec()
    columns = tuple(Column(name=f"x{i}", feature=f"x{i}", kind="continuous", unit="GeV") for i in range(3))
    cpf = spec.sets[0].model_copy(update={"columns": columns, "vectors": True})
    return spec.model_copy(update={"sets": (cpf,), "targets": columns[:1]})


def build(name: str, spec: InputSpec) -> Model:
    return models.build(models.parse({"family": "tagger", **NETWORKS[name]}), spec)


def write_inputs(folder: Path) -> Path:
    spec = one_set()
    folder.mkdir()
    write_spec(folder, spec)
    row, objects = (
        tuple(Chain(column.name, ()) for column in columns) for columns in (spec.event_columns, spec.sets[0].columns)
    )
    Scalers((), row, {"cpf": objects}, objects[:1]).write(folder)
    with ModelInputsWriter(folder / "qcd" / "test.h5", num_events=90, spec=spec) as writer:
        rows = make_rows(90, first_id=1000)
        momenta = np.random.default_rng(1).normal(size=(*rows["cpf/mask"].shape, 3))
        energy = np.sqrt((momenta**2).sum(-1, keepdims=True) + 0.02)
        vectors = np.concatenate([momenta, energy], axis=-1) * rows["cpf/mask"][..., None]
        writer.append({**rows, "cpf/vectors": vectors, "targets": rows["event"][:, :1]})
    return folder


def export(name: str, inputs: Path, folder: Path) -> None:
    (folder / "training").mkdir(parents=True)
    torch.manual_seed(3)
    model = build(name, one_set())
    rows = as_batch(read_some_rows(list_inputs(inputs, "test"), SETTINGS.parity_rows))
    for _ in range(3):
        model.loss(rows)  # running means that are not those of the start
    save_weights(model.state_dict(), folder / "training" / "best.safetensors")
    write_description(model, folder / "training")
    export_tagger(
        folder / "training",
        inputs,
        folder,
        build_model=functools.partial(build, name),
        settings=SETTINGS,
        about={"digest": "abc"},
    )


if __name__ == "__main__":
    whole = Path(sys.argv[1])
    inputs = write_inputs(whole / "inputs")
    for each in NETWORKS:
        export(each, inputs, whole / each)

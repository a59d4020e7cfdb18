"""Trained taggers as ONNX files."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.model_inputs import list_inputs
from honeyguide.data.some_rows import as_batch, read_some_rows
from honeyguide.errors import ModelError
from honeyguide.export.graph import (
    PROBABILITIES,
    ROW,
    ExportedTagger,
    input_names,
    input_tensors,
    translations,
)
from honeyguide.export.parity import Parity, check_installed, check_parity
from honeyguide.export.settings import ExportSettings
from honeyguide.nn.cost import Cost, cost, full_batch
from honeyguide.nn.model import Model
from honeyguide.preprocess.chain import SCALERS_FILE
from honeyguide.training.weights import BuildModel, load_model

MODEL = "model.onnx"
INPUTS = "inputs.json"
SCHEMA = 1
OPSET = 18


def export_tagger(
    training: Path,
    inputs: Path,
    folder: Path,
    *,
    build_model: BuildModel,
    settings: ExportSettings,
    about: Mapping[str, Any],
) -> tuple[Parity, Cost]:
    """Returns how far the exported model is from the trained one, and what it costs.

    It writes all that it takes to run the model: ``model.onnx``, ``inputs.json`` (names, shapes, columns, scaling; in
    the metadata of the former, too) and ``parity.json``. Numbers of rows and of slots are free.

    Args:
        training: Folder that :func:`honeyguide.training.run.train` has written.
        inputs: Folder of model inputs; the two are compared on rows of its test split.
        folder: Existing folder to write to.
        build_model: Makes an untrained model of the trained family and config from an input specification.
        settings: Which weights, and how exact.
        about: Plain values about what led here, for the metadata.

    Raises:
        ModelError: The model is no tagger; its outputs are not those of the trained one.
        ConfigError: onnx, onnxscript or onnxruntime is missing.
        StoreError: A file is missing or damaged.
    """
    model = load_model(training, build_model, which=settings.weights)
    if model.is_detector:
        raise ModelError("only taggers are exported, and this model has no classes and no targets", where=training)
    rows = as_batch(read_some_rows(list_inputs(inputs, "test"), settings.parity_rows))
    found = cost(model)
    numbers = {"parameters": found.parameters, "flops_per_row": found.flops}
    description = describe_inputs(model, json.loads((inputs / SCALERS_FILE).read_text())) | numbers | dict(about)
    write_onnx(model, folder / MODEL, description)
    (folder / INPUTS).write_text(json.dumps(description, indent=1))
    return check_parity(model, rows, folder, settings=settings, model_file=folder / MODEL), found


def write_onnx(model: Model, path: Path, metadata: Mapping[str, Any]) -> None:
    """Writes a tagger as an ONNX file; each of ``metadata`` is in it as JSON text under its name.

    Raises:
        ConfigError: onnx or onnxscript is missing.
        ModelError: Torch's exporter can't write the model.
    """
    check_installed("onnx", "onnxscript")
    tagger = ExportedTagger(model)
    axes = _free_axes(tagger)
    with _quiet(), torch.no_grad():
        try:
            # strict, as it is compiled: otherwise the length of a tensor is that of the example
            traced = torch.export.export(tagger, _example(model.spec), dynamic_shapes=(axes,), strict=True)
            program = torch.onnx.export(
                traced,
                dynamo=True,
                opset_version=OPSET,
                input_names=input_names(model.spec),
                output_names=_output_names(model),
                dynamic_shapes=_named(axes),
                custom_translation_table=translations(),
                verbose=False,
            )
        except (torch.onnx.errors.OnnxExporterError, torch._dynamo.exc.TorchDynamoException) as error:
            raise ModelError("the model can't be written as ONNX", where=path, got=error) from error
    assert program is not None, "torch returns a program where it is not given a file"
    program.model.metadata_props.update({key: json.dumps(value) for key, value in metadata.items()})
    _forget_origin(program.model)
    program.save(path)


def describe_inputs(model: Model, scalers: Mapping[str, Any]) -> dict[str, Any]:
    """Returns names, shapes, columns and scaling of all inputs, and names and shapes of all outputs, as JSON types.

    Args:
        model: The tagger.
        scalers: What ``scalers.json`` of its inputs says.
    """
    spec, tagger = model.spec, ExportedTagger(model)
    inputs: list[dict[str, Any]] = []
    if spec.num_event_features:
        inputs.append(_input(ROW, ["batch"], spec.event_columns) | {"scaling": "event"})
    for item in spec.sets:
        shape = ["batch", f"{item.name}_length"]
        least, most = tagger.num_slots(item)
        slots = {"set": item.name, "slots": {"trained": item.size, "least": least, "most": most}}
        inputs.append(_input(f"{item.name}_features", shape, item.columns) | slots | {"scaling": f"sets/{item.name}"})
        if item.vectors:
            columns = [{"name": name, "unit": "GeV"} for name in ("px", "py", "pz", "E")]
            inputs.append({**_input(f"{item.name}_vectors", [*shape, 4], ()), "columns": columns, **slots})
        inputs.append({"name": f"{item.name}_mask", "type": "bool", "shape": shape, **slots})
    outputs: list[dict[str, Any]] = []
    for name in _output_names(model):
        classes = {"shape": ["batch", len(model.classes)]}
        target = {"shape": ["batch"], "scaling": f"targets/{model.predictions.get(name)}"}
        outputs.append({"name": name, **(classes if name == PROBABILITIES else target)})
    return {
        "schema": SCHEMA,
        "classes": list(model.classes),
        "inputs": inputs,
        "outputs": outputs,
        "scalers": dict(scalers),
    }


def _input(name: str, shape: list[Any], columns: tuple[Column, ...]) -> dict[str, Any]:
    own = [{"name": column.name, "unit": column.unit} for column in columns]
    return {"name": name, "type": "float32", "shape": [*shape, *([len(own)] if own else [])], "columns": own}


def _output_names(model: Model) -> list[str]:
    return [*([PROBABILITIES] if model.classes else []), *model.predictions]


def _example(spec: InputSpec) -> tuple[torch.Tensor, ...]:
    return tuple(input_tensors(full_batch(spec, num_rows=2), spec).values())


def _free_axes(tagger: ExportedTagger) -> tuple[dict[int, Any], ...]:
    """Returns the axes of each input that may have any length: that of the rows, and the slots of sets."""
    batch = torch.export.Dim("batch")
    axes = [{0: batch}] if tagger.spec.num_event_features else []
    for item in tagger.spec.sets:
        least, most = tagger.num_slots(item)
        slots = {} if least == most else {1: torch.export.Dim(f"{item.name}_length", min=least, max=most)}
        axes += [{0: batch, **slots}] * (3 if item.vectors else 2)
    return tuple(axes)


def _named(axes: tuple[dict[int, Any], ...]) -> tuple[dict[int, str], ...]:
    return tuple({place: axis.__name__ for place, axis in each.items()} for each in axes)


def _forget_origin(program: Any) -> None:
    """Removes from an ONNX model where in the source, and on which machine, each operation was made."""
    for graph in (program.graph, *(function.graph for function in program.functions.values())):
        graph.metadata_props.clear()
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps to itself what torch's exporter says of its own code, and of packages that no tagger needs."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

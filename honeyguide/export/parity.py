"""Whether an exported model gives what the trained one gives, on real rows, and on few and no objects."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from honeyguide.data.batch import Batch, Objects
from honeyguide.errors import ConfigError, ModelError
from honeyguide.export.graph import PROBABILITIES, input_tensors, outputs_of
from honeyguide.export.settings import ExportSettings
from honeyguide.nn.model import Model

PARITY = "parity.json"
BATCH_SIZE = 128
FEW_ROWS = 5  # rows that are also given one at a time
FEW_OBJECTS = 3
DRAWS = 6  # of changes in the last bit of the inputs
MARGIN = 10.0
"""How many times as much as by its own rounding a row's outputs may differ."""

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Case:
    """One comparison.

    Attributes:
        name: What was special.
        rows: Rows that were compared.
        batch_size: Rows that the exported model was given at a time, at most.
        slots: Slots of each set that the exported model was given; the largest, where it differed.
        largest: Output to the largest difference in it, that of other outputs than probabilities divided by the
            largest of its values, where that is more than 1.
        worst_row: Id of the row with the largest difference of those that are too large, else of all.
        rounded_rows: Rows with a larger difference than the tolerance that is allowed all the same, since their outputs
            change nearly as much when their inputs do in the last bit.
        too_large: Whether a row has a difference that is not allowed.
    """

    name: str
    rows: int
    batch_size: int
    slots: Mapping[str, int]
    largest: Mapping[str, float]
    worst_row: int
    rounded_rows: int
    too_large: bool


@dataclass(frozen=True)
class Parity:
    """What came of all comparisons.

    Attributes:
        tolerance: Largest difference that is allowed.
        cases: The comparisons.
    """

    tolerance: float
    cases: tuple[Case, ...]

    @property
    def largest(self) -> float:
        """The largest difference of all; NaN where an output is."""
        return float(np.max([value for case in self.cases for value in case.largest.values()]))

    def line(self) -> str:
        """Returns one line for people: the largest difference, and what is allowed in spite of the tolerance."""
        rounded = max(case.rounded_rows for case in self.cases)
        text = f"largest difference to the trained model: {self.largest:.2g}"
        if not rounded:
            return text
        return f"{text}; {rounded} rows differ by more than {self.tolerance:g}, as rounding of their inputs moves them"


def check_parity(model: Model, rows: Batch, folder: Path, *, settings: ExportSettings, model_file: Path) -> Parity:
    """Returns the differences between a trained and an exported model, after writing them to ``parity.json``.

    The exported model is given all rows; the same with no more slots than the fullest row needs; rows one at a time;
    and rows of which only the first few objects, the first alone, or none are left. The trained one always has as many
    slots as in training.

    A row may differ by more than the tolerance where its outputs are not determined better than that: two particles
    whose distance is rounding, or of which one or the other is the nearest. This is measured, by changes of the inputs
    in their last bit, and up to ``MARGIN`` times what comes of them is allowed.

    Args:
        model: The trained model.
        rows: Rows to compare on.
        folder: Where to write.
        settings: The tolerance.
        model_file: The exported model.

    Raises:
        ConfigError: onnxruntime is missing.
        ModelError: A difference is too large.
    """
    run = Session(model_file)
    found = []
    for name, given, batch_size in _cases(rows):
        with torch.inference_mode():
            expected = {key: value.numpy() for key, value in outputs_of(model, given).items()}
        trimmed = given if name == "all slots" else _trimmed(given)
        got = run(input_tensors(trimmed, model.spec), batch_size)
        found.append(_compared(name, batch_size, trimmed, _Difference(model, given, expected, got, settings.tolerance)))
    parity = Parity(settings.tolerance, tuple(found))
    content = {"largest": parity.largest, **asdict(parity)}
    (folder / PARITY).write_text(json.dumps(content, indent=1))
    for case in parity.cases:
        _demand(case, settings.tolerance)
    return parity


class Session:
    """An ONNX file that is run on the CPU.

    Args:
        path: The file.

    Raises:
        ConfigError: onnxruntime is missing.
    """

    def __init__(self, path: Path) -> None:
        check_installed("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, tensors: Mapping[str, torch.Tensor], batch_size: int) -> Outputs:
        """Returns the outputs of all rows, which are given in batches."""
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        size = len(next(iter(arrays.values())))
        parts = []
        for start in range(0, size, batch_size):
            rows = {name: np.ascontiguousarray(array[start : start + batch_size]) for name, array in arrays.items()}
            parts.append(self._session.run(self._outputs, rows))
        return {name: np.concatenate(part) for name, part in zip(self._outputs, zip(*parts, strict=True), strict=True)}


def check_installed(*names: str) -> None:
    """Checks that packages are there, which come with the extra ``export``.

    Raises:
        ConfigError: One is missing.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            hint = f"pip install -c constraints.txt {' '.join(names)}"
            raise ConfigError(f"the export needs {name}, which is not installed", hint=hint)


def _cases(rows: Batch) -> Iterator[tuple[str, Batch, int]]:
    """Yields the name of a comparison, its rows, and how many of them are given at a time."""
    yield "all slots", rows, BATCH_SIZE
    yield "no more slots than needed", rows, BATCH_SIZE
    yield "one row at a time", rows.rows(0, FEW_ROWS), 1
    if rows.sets:
        for number, name in ((FEW_OBJECTS, "few objects"), (1, "one object"), (0, "no object")):
            yield name, _cut(rows, number), BATCH_SIZE
        yield "one row without objects", _cut(rows.rows(0, 1), 0), 1


def _cut(rows: Batch, number: int) -> Batch:
    """Returns the rows with no objects but those in the first slots of each set."""
    sets = {}
    for name, item in rows.sets.items():
        mask = item.mask & (torch.arange(item.mask.shape[1]) < number)
        parts = {key: value * mask.unsqueeze(-1) for key, value in item.tensors().items() if key != "mask"}
        sets[name] = Objects(**parts, mask=mask)
    return replace(rows, sets=sets)


def _trimmed(rows: Batch) -> Batch:
    """Returns the rows without the slots at the end of each set that none of them uses; one slot stays."""
    sets = {}
    for name, item in rows.sets.items():
        used = item.mask.any(0).nonzero()
        stop = int(used.max()) + 1 if len(used) else 1
        sets[name] = Objects(**{key: value[:, :stop] for key, value in item.tensors().items()})
    return replace(rows, sets=sets)


class _Difference:
    """How far outputs are from those that are right, row by row.

    Attributes:
        each: Difference of every row (row,), by output.
        bad: Rows whose difference is not allowed.
        rounded: Rows whose difference is above the tolerance, and allowed.
    """

    def __init__(self, model: Model, given: Batch, expected: Outputs, got: Outputs, tolerance: float) -> None:
        self.each = _differences(expected, got)
        largest = np.stack(list(self.each.values())).max(0)
        above = ~(largest <= tolerance)  # a NaN is
        allowed = np.full(len(largest), tolerance)
        if above.any():
            some = given.map(lambda tensor: tensor[torch.from_numpy(above)])
            allowed[above] += MARGIN * _own_rounding(model, some)
        self.bad = ~(largest <= allowed)
        self.rounded = above & ~self.bad
        self.worst = int(np.argmax(np.where(self.bad, largest, -1) if self.bad.any() else largest))


def _differences(expected: Outputs, got: Outputs) -> dict[str, NDArray[np.float64]]:
    each = {}
    for key, values in expected.items():
        scale = 1.0 if key == PROBABILITIES else max(1.0, float(np.abs(values).max()))
        difference = np.abs(values.astype(np.float64) - got[key]) / scale
        each[key] = difference.reshape(len(values), -1).max(1)
    return each


def _own_rounding(model: Model, rows: Batch) -> NDArray[np.float64]:
    """Returns how much the outputs of each row change at most when its inputs do in their last bit."""
    generator = torch.Generator().manual_seed(1)

    def moved(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_floating_point():
            return tensor
        return tensor * (1 + torch.randint(-1, 2, tensor.shape, generator=generator) * 2.0**-23)

    with torch.inference_mode():
        expected = {key: value.numpy() for key, value in outputs_of(model, rows).items()}
        largest = np.zeros(len(rows))
        for _ in range(DRAWS):
            found = {key: value.numpy() for key, value in outputs_of(model, rows.map(moved)).items()}
            largest = np.maximum(largest, np.stack(list(_differences(expected, found).values())).max(0))
    return largest


def _compared(name: str, batch_size: int, given: Batch, difference: _Difference) -> Case:
    return Case(
        name=name,
        rows=len(given),
        batch_size=min(batch_size, len(given)),
        slots={key: item.mask.shape[1] for key, item in given.sets.items()},
        largest={key: float(values.max()) for key, values in difference.each.items()},
        worst_row=int(given.event_id[difference.worst]),
        rounded_rows=int(difference.rounded.sum()),
        too_large=bool(difference.bad.any()),
    )


def _demand(case: Case, tolerance: float) -> None:
    for output, difference in case.largest.items():
        if case.too_large and not difference <= tolerance:
            raise ModelError(
                "the exported model does not give what the trained one gives",
                where=f"{case.name}: {output} of the row {case.worst_row}, slots {dict(case.slots)}",
                got=f"a difference of {difference:.2g}",
                allowed=f"export.tolerance: {tolerance:g}",
            )

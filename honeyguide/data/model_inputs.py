"""Model inputs on disk: uncompressed contiguous arrays that are read through a memory map."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from honeyguide.data.input_spec import InputSpec
from honeyguide.data.splits import SPLITS
from honeyguide.errors import DataError, StoreError, nearest_name

SPEC = "spec.json"
SCHEMA_VERSION = 1
TRUTH: dict[str, np.dtype[Any]] = {
    "event_id": np.dtype(np.int64),
    "weight": np.dtype(np.float64),
    "label": np.dtype(np.int8),
    "process": np.dtype(np.int16),
    "generator": np.dtype(np.int16),
    "signal_point": np.dtype(np.int16),
}
"""What is known of an event besides its features; scores carry the same columns."""
_DTYPES: dict[str, np.dtype[Any]] = {
    "objects": np.dtype(np.float32),
    "mask": np.dtype(np.bool_),
    "event": np.dtype(np.float32),
    **TRUTH,
}
_ROW_DTYPES: dict[str, np.dtype[Any]] = {
    "truth": np.dtype(np.int16),
    "pt": np.dtype(np.float32),
    "eta": np.dtype(np.float32),
    "group": np.dtype(np.int64),
}
_SET_DTYPES: dict[str, np.dtype[Any]] = {"features": np.dtype(np.float32), "mask": np.dtype(np.bool_)}
_FLOAT = np.dtype(np.float32)
_SETS = "sets"  # attribute of files of rows: names of the sets in their order
_FURTHER = "further"  # attribute of files of rows: names of the float32 datasets that only some inputs have
_PAGE = 4096  # datasets start at page boundaries, so that memory maps are aligned for every type


@dataclass(frozen=True)
class ObjectArrays:
    """One set of objects of all rows; see ``InputSpec.sets``.

    Attributes:
        features: Scaled features (num_events, size, num_features), float32; 0 where there is no object.
        mask: True where there is an object, (num_events, size).
        vectors: Four-momenta px, py, pz, E [GeV], (num_events, size, 4), float32, not scaled; 0 where there is no
            object, None where the set has none.
    """

    features: NDArray[np.float32]
    mask: NDArray[np.bool_]
    vectors: NDArray[np.float32] | None = None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns all arrays by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}


@dataclass(frozen=True)
class ModelInputs:
    """The events of one sample and split, as arrays that are mapped from the file rather than read.

    The maps are private (copy on write): the file can't be changed through them.

    Attributes:
        objects: Scaled features (num_events, num_objects, num_features), float32; 0 where there is no object.
        mask: True where there is an object, (num_events, num_objects).
        event: Scaled event features (num_events, num_event_features), float32.
        event_id: Unique ids, int64.
        weight: Event weights, float64.
        label: 0 background, 1 signal, int8.
        process: Codes into ``InputSpec.processes``, int16.
        generator: Codes into ``InputSpec.generators``, int16.
        signal_point: Codes into ``InputSpec.signal_points``, int16; -1 for none.
        truth: Codes into ``InputSpec.truths``, int16; like pt, eta and sets at level ``row`` only, None without.
        pt: Transverse momentum of the row [GeV], float32, not scaled.
        eta: Pseudorapidity of the row, float32, not scaled.
        group: Ids of the physics events that rows belong to, int64; splits and folds keep them together.
        targets: Scaled values to be predicted, (num_events, num_targets), float32; None without.
        observers: Columns that no model sees, (num_events, num_observers), float32, not scaled; None without.
        sets: Sets of objects by name, in the order of ``InputSpec.sets``.
    """

    objects: NDArray[np.float32]
    mask: NDArray[np.bool_]
    event: NDArray[np.float32]
    event_id: NDArray[np.int64]
    weight: NDArray[np.float64]
    label: NDArray[np.int8]
    process: NDArray[np.int16]
    generator: NDArray[np.int16]
    signal_point: NDArray[np.int16]
    truth: NDArray[np.int16] | None = None
    pt: NDArray[np.float32] | None = None
    eta: NDArray[np.float32] | None = None
    group: NDArray[np.int64] | None = None
    targets: NDArray[np.float32] | None = None
    observers: NDArray[np.float32] | None = None
    sets: Mapping[str, ObjectArrays] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.event_id)

    @classmethod
    def open(cls, path: Path) -> ModelInputs:
        """Returns the arrays of the file ``path``; opening takes neither time nor memory that grows with the file.

        Raises:
            StoreError: The file is missing, damaged, or not a file of model inputs.
        """
        try:
            with h5py.File(path, "r") as file:
                _check_header(file, path)
                names = json.loads(file.attrs[_SETS]) if _SETS in file.attrs else None
                dtypes = _dtypes(names, json.loads(file.attrs.get(_FURTHER, "[]")))
                places = {name: _place(file, name, dtype, path) for name, dtype in dtypes.items()}
            raw = np.memmap(path, dtype=np.uint8, mode="c")
        except (OSError, ValueError, RuntimeError) as error:
            raise _damaged(path, error) from error
        return cls.from_arrays({name: _view(raw, dtype, *places[name]) for name, dtype in dtypes.items()})

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns all arrays by name; those of a set are ``<set>/features``, ``<set>/mask`` and so on."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "sets"}
        flat = {name: array for name, array in own.items() if array is not None}
        for name, item in self.sets.items():
            flat |= {f"{name}/{part}": array for part, array in item.arrays().items()}
        return flat

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> ModelInputs:
        """Returns the model inputs of which :meth:`arrays` made these."""
        own: dict[str, Any] = {name: array for name, array in arrays.items() if "/" not in name}
        sets: dict[str, dict[str, NDArray[Any]]] = {}
        for name in (name for name in arrays if "/" in name):
            item, part = name.split("/")
            sets.setdefault(item, {})[part] = arrays[name]
        return cls(**own, sets={name: ObjectArrays(**parts) for name, parts in sets.items()})

    def map(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> ModelInputs:
        """Returns the model inputs with ``function`` of each of the arrays."""
        return ModelInputs.from_arrays({name: function(array) for name, array in self.arrays().items()})


class ModelInputsWriter:
    """Writes a file of model inputs, block by block; the number of events must be known beforehand.

    Args:
        path: The file to write; its folder is made.
        num_events: Events that will be appended in total, at least 1.
        spec: Says the shapes.

    Use as a context manager. Leaving it without an error checks that all events have come. Where the file can't be
    written, a :class:`StoreError` says so.
    """

    def __init__(self, path: Path, *, num_events: int, spec: InputSpec) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._num_events = num_events
        self._written = 0
        self._file = h5py.File(path, "w", libver="v110", alignment_threshold=1, alignment_interval=_PAGE)
        self._file.attrs.update(schema_version=SCHEMA_VERSION, num_events=num_events)
        tails: dict[str, tuple[int, ...]] = {
            "objects": (spec.num_objects, spec.num_features),
            "mask": (spec.num_objects,),
            "event": (spec.num_event_features,),
        }
        names = None
        further: list[str] = []
        if spec.level == "row":
            names = [item.name for item in spec.sets]
            self._file.attrs[_SETS] = json.dumps(names)
            for item in spec.sets:
                tails[f"{item.name}/features"] = (item.size, len(item.columns))
                tails[f"{item.name}/mask"] = (item.size,)
                tails[f"{item.name}/vectors"] = (item.size, 4)
            tails |= {"targets": (len(spec.targets),), "observers": (len(spec.observers),)}
            further = [f"{item.name}/vectors" for item in spec.sets if item.vectors]
            further += [name for name in ("targets", "observers") if getattr(spec, name)]
            if further:
                self._file.attrs[_FURTHER] = json.dumps(further)
        self._datasets = {
            name: self._file.create_dataset(name, (num_events, *tails.get(name, ())), dtype, fill_time="never")
            for name, dtype in _dtypes(names, further).items()
        }

    def append(self, columns: Mapping[str, NDArray[np.generic]]) -> None:
        """Appends a block of events.

        Args:
            columns: As :meth:`ModelInputs.arrays` has them, all of the same length. Without ``group`` every row is its
                own.
        """
        columns = {"group": columns["event_id"], **columns}
        start, stop = self._written, self._written + len(columns["event_id"])
        if stop > self._num_events:
            raise ValueError(f"{stop} events come to {self._path}, which was made for {self._num_events}")
        if stop == start:
            return
        try:
            for name, dataset in self._datasets.items():
                if dataset.size:
                    dataset[start:stop] = columns[name]
        except (OSError, RuntimeError) as error:
            raise self._not_written(error) from error
        self._written = stop

    def __enter__(self) -> ModelInputsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except (OSError, RuntimeError) as error_of_close:  # h5py has either for a full disk
            if kind is None:
                raise self._not_written(error_of_close) from error_of_close
        if kind is None and self._written != self._num_events:
            raise ValueError(f"{self._written} of {self._num_events} events have come to {self._path}")

    def _not_written(self, error: Exception) -> StoreError:
        return StoreError("model inputs can't be written", where=self._path, got=error, hint="is the store full?")


def write_spec(folder: Path, spec: InputSpec) -> None:
    """Writes the specification of all files in the folder of model inputs."""
    (folder / SPEC).write_text(spec.model_dump_json(indent=1))


def read_spec(folder: Path) -> InputSpec:
    """Returns the specification of the model inputs in ``folder``.

    Raises:
        StoreError: It is missing or can't be read.
    """
    try:
        return InputSpec.model_validate_json((folder / SPEC).read_text())
    except (OSError, ValueError) as error:
        raise _damaged(folder / SPEC, error) from error


def list_inputs(folder: Path, split: str) -> dict[str, Path]:
    """Returns the file of each sample that has events in ``split``, by sample name, sorted.

    Raises:
        DataError: There is no such split.
        StoreError: The folder is missing.
    """
    if split not in SPLITS:
        raise DataError("no such split", got=split, allowed=", ".join(SPLITS), nearest=nearest_name(split, SPLITS))
    if not folder.is_dir():
        raise StoreError("the folder of model inputs is missing", where=folder, hint="run PreprocessTask")
    return {path.parent.name: path for path in sorted(folder.glob(f"*/{split}.h5"))}


def _dtypes(sets: Sequence[str] | None, further: Sequence[str]) -> dict[str, np.dtype[Any]]:
    """Returns the types of all datasets.

    Args:
        sets: Names of the sets of rows, None at the other levels.
        further: Names of float32 datasets that are there beside those of all inputs.
    """
    if sets is None:
        return _DTYPES
    of_sets = {f"{name}/{part}": dtype for name in sets for part, dtype in _SET_DTYPES.items()}
    return {**_DTYPES, **_ROW_DTYPES, **of_sets, **dict.fromkeys(further, _FLOAT)}


def _check_header(file: h5py.File, path: Path) -> None:
    version = file.attrs.get("schema_version")
    if version != SCHEMA_VERSION:
        raise StoreError(
            "this is not a file of model inputs of this version",
            where=path,
            got=f"schema version {version}",
            allowed=SCHEMA_VERSION,
        )


def _place(file: h5py.File, name: str, dtype: np.dtype[Any], path: Path) -> tuple[int, tuple[int, ...]]:
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise StoreError("a dataset of the model inputs is missing", where=path, got=f"no {name!r}")
    expected = int(file.attrs["num_events"])
    offset = dataset.id.get_offset()
    if dataset.dtype != dtype or dataset.shape[0] != expected or (offset is None and dataset.size):
        got = f"{name}: {dataset.dtype} {dataset.shape}, {'contiguous' if offset is not None else 'not contiguous'}"
        raise StoreError(
            "a dataset of the model inputs has the wrong type, length or layout",
            where=path,
            got=got,
            allowed=f"{dtype}, {expected} events, contiguous",
        )
    return offset or 0, dataset.shape


def _view(raw: NDArray[np.uint8], dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]) -> NDArray[Any]:
    size = math.prod(shape) * dtype.itemsize
    if size > len(raw) - offset:
        raise StoreError("the file of model inputs is shorter than its header says", got=f"{len(raw)} bytes")
    array: NDArray[Any] = np.asarray(raw)[offset : offset + size].view(dtype).reshape(shape)
    return array


def _damaged(path: Path, error: Exception) -> StoreError:
    return StoreError(
        "model inputs are missing or damaged",
        where=path,
        got=error,
        hint="remove the output of PreprocessTask and run it again",
    )

"""Scores of events, with their latents and truth: HDF5 for honeyguide, a ROOT TTree for everybody."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from honeyguide.data.input_spec import InputSpec
from honeyguide.data.model_inputs import TRUTH
from honeyguide.errors import StoreError

SCHEMA_VERSION = 1
TREE = "events"
TARGETS = "targets/"
OBSERVERS = "observers/"
_NAMES = ("processes", "generators", "signal_points")
_ROW_NAMES = ("truths", "classes")
_ROW_TRUTH: dict[str, np.dtype[Any]] = {
    "group": np.dtype(np.int64),
    "truth": np.dtype(np.int16),
    "pt": np.dtype(np.float32),
    "eta": np.dtype(np.float32),
}

Array = NDArray[Any]


@dataclass(frozen=True)
class Scores:
    """The scored events of one sample.

    Attributes:
        event_id: Unique ids, int64.
        weight: Event weights, float64.
        label: 0 background, 1 signal, int8.
        process: Codes into ``processes``, int16.
        generator: Codes into ``generators``, int16.
        signal_point: Codes into ``signal_points``, int16; -1 for none.
        processes: Names of the processes.
        generators: Names of the generators.
        signal_points: Names of the signal points.
        scores: One array (num_events,) per score. Of an anomaly detector, larger for more signal-like, always with
            ``total``; of a classifier, ``prob_<class>``.
        latent: (num_events, latent_dim), float32.
        truth: Codes into ``truths``, int16, -1 for none; like pt and eta of rows only, None without.
        pt: Transverse momentum of the row [GeV], float32.
        eta: Pseudorapidity of the row, float32.
        truths: Names of the truths.
        classes: Names of the classes of a classifier, in the order of their probabilities.
        targets: What a regression predicts, by name, in physical units, float32; the scores ``pred_<target>`` and
            ``pred_<target>_q<percent>`` have the same units.
        units: Unit of each of ``targets``; empty for none.
        observers: What is known of rows and no model has seen, by name, not scaled, float32.
    """

    event_id: NDArray[np.int64]
    weight: NDArray[np.float64]
    label: NDArray[np.int8]
    process: NDArray[np.int16]
    generator: NDArray[np.int16]
    signal_point: NDArray[np.int16]
    processes: tuple[str, ...]
    generators: tuple[str, ...]
    signal_points: tuple[str, ...]
    scores: dict[str, NDArray[np.floating[Any]]]
    latent: NDArray[np.float32]
    group: NDArray[np.int64] | None = None
    truth: NDArray[np.int16] | None = None
    pt: NDArray[np.float32] | None = None
    eta: NDArray[np.float32] | None = None
    truths: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    targets: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    observers: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.event_id)


class ScoresWriter:
    """Writes scores block by block into ``scores.h5`` and, if wanted, ``scores.root``; a context manager.

    Args:
        folder: Existing folder.
        num_events: Events that will come in total.
        score_names: The scores.
        latent_dim: Length of the latent vectors.
        spec: Gives the names behind the codes; at level ``row`` there are ``group``, ``truth``, ``pt`` and
            ``eta``, too, its targets as ``targets/<name>``, in physical units (``target_<name>`` in ROOT), and its
            observers as ``observers/<name>`` (``observer_<name>``).
        classes: The classes of a classifier.
        root: Whether to write ``scores.root``: a TTree ``events`` with a branch per truth column, a branch
            ``score_<name>`` per score, ``latent`` as an array of fixed size, and the names behind the codes as JSON
            text in ``processes``, ``generators``, ``signal_points`` (and ``truths``, ``classes``) beside it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        num_events: int,
        score_names: Sequence[str],
        latent_dim: int,
        spec: InputSpec,
        classes: Sequence[str] = (),
        root: bool = True,
    ) -> None:
        self._num_events, self._written = num_events, 0
        self._file = h5py.File(folder / "scores.h5", "w")
        names = {key: json.dumps(getattr(spec, key)) for key in _NAMES}
        self._columns = dict(TRUTH)
        if spec.level == "row":
            self._columns |= _ROW_TRUTH
            names |= {"truths": json.dumps(spec.truths), "classes": json.dumps(list(classes))}
        if spec.targets:
            self._columns |= {TARGETS + column.name: np.dtype(np.float32) for column in spec.targets}
            names |= {"target_units": json.dumps({column.name: column.unit for column in spec.targets})}
        self._columns |= {OBSERVERS + name: np.dtype(np.float32) for name in spec.observers}
        self._file.attrs.update(schema_version=SCHEMA_VERSION, **names)
        for name, dtype in self._columns.items():
            self._file.create_dataset(name, shape=(num_events,), dtype=dtype)
        for name in score_names:
            self._file.create_dataset(f"scores/{name}", shape=(num_events,), dtype=np.float32)
        self._file.create_dataset("latent", shape=(num_events, latent_dim), dtype=np.float32)
        self._root: _RootTree | None = None
        if root:
            branches = {_branch(name): dtype for name, dtype in self._columns.items()}
            branches |= {f"score_{name}": np.dtype(np.float32) for name in score_names}
            branches["latent"] = np.dtype((np.float32, (latent_dim,)))
            self._root = _RootTree(folder / "scores.root", branches, names)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what is known of an event beside its scores, which :meth:`append` wants."""
        return tuple(self._columns)

    def append(self, truth: Mapping[str, Array], scores: Mapping[str, Array], latent: Array) -> None:
        """Appends a block of events.

        Args:
            truth: One array (block,) for each of :attr:`columns`.
            scores: One array (block,) per score.
            latent: (block, latent_dim).
        """
        rows = slice(self._written, self._written + len(latent))
        for name in self._columns:
            self._file[name][rows] = truth[name]
        for name, values in scores.items():
            self._file[f"scores/{name}"][rows] = values
        self._file["latent"][rows] = latent
        if self._root is not None:
            named = {f"score_{name}": values for name, values in scores.items()}
            known = {_branch(name): truth[name] for name in self._columns}
            self._root.extend({**known, **named, "latent": latent})
        self._written = rows.stop

    def __enter__(self) -> ScoresWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self._root is not None:
            self._root.close()
        if kind is None and self._written != self._num_events:
            raise ValueError(f"{self._written} of {self._num_events} events have come")


def _branch(name: str) -> str:
    """Returns the name of a column in a TTree, which has no folders."""
    return name.replace(TARGETS, "target_").replace(OBSERVERS, "observer_")


class _RootTree:
    def __init__(self, path: Path, branches: Mapping[str, np.dtype[Any]], names: Mapping[str, str]) -> None:
        import uproot

        self._branches = dict(branches)
        self._file = uproot.recreate(path, compression=uproot.LZ4(1))  # writes 4 times as fast as the default
        for key, text in names.items():
            self._file[key] = text
        self._file.mktree(TREE, self._branches, title="scored events")

    def extend(self, columns: Mapping[str, Array]) -> None:
        typed = {name: np.asarray(columns[name], dtype=dtype.base) for name, dtype in self._branches.items()}
        self._file[TREE].extend(typed)

    def close(self) -> None:
        self._file.close()


def read_scores(path: Path, rows: slice = slice(None)) -> Scores:
    """Returns the content of a ``scores.h5``, of all events or of some.

    Args:
        path: The file.
        rows: Which events.

    Raises:
        StoreError: The file is missing, damaged, or of another version.
    """
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("schema_version") != SCHEMA_VERSION:
                raise StoreError("this is not a file of scores of this version", where=path, allowed=SCHEMA_VERSION)
            columns: dict[str, Any] = {name: file[name][rows] for name in TRUTH}
            columns |= {name: file[name][rows] for name in _ROW_TRUTH if name in file}
            columns |= {key: tuple(json.loads(file.attrs[key])) for key in _NAMES}
            columns |= {key: tuple(json.loads(file.attrs[key])) for key in _ROW_NAMES if key in file.attrs}
            targets = {name: dataset[rows] for name, dataset in file.get(TARGETS, {}).items()}
            observers = {name: dataset[rows] for name, dataset in file.get(OBSERVERS, {}).items()}
            return Scores(
                **columns,
                targets=targets,
                observers=observers,
                units=json.loads(file.attrs.get("target_units", "{}")),
                scores={name: dataset[rows] for name, dataset in file["scores"].items()},
                latent=file["latent"][rows],
            )
    except (OSError, KeyError, ValueError) as error:
        raise StoreError(
            "the scores can't be read",
            where=path,
            got=error,
            hint="remove the output of InferenceTask and run it again",
        ) from error

"""The LHC Olympics HDF5 format: a pandas *fixed* frame ``df`` of 700 x (pt, eta, phi), zero padded, and a label.

Written and read with h5py alone; ``pandas.read_hdf`` reads it as it reads the published files
(https://zenodo.org/records/6466204).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  (the published files are compressed with blosc)
import numpy as np
from numpy.typing import NDArray

from honeyguide.errors import DataError

MAX_PARTICLES = 700
_NUM_VALUES = 3 * MAX_PARTICLES
_ARRAY = {"CLASS": "CARRAY", "TITLE": "", "VERSION": "1.1"}
_ROOT = {"CLASS": "GROUP", "PYTABLES_FORMAT_VERSION": "2.1", "TITLE": "", "VERSION": "1.0"}
_FRAME = {
    **{"CLASS": "GROUP", "TITLE": "", "VERSION": "1.0", "pandas_type": "frame", "pandas_version": "0.15.2"},
    **{"encoding": "UTF-8", "errors": "strict"},
    **{"axis0_variety": "regular", "axis1_variety": "regular", "block0_items_variety": "regular"},
}


@dataclass(frozen=True)
class LhcoEvents:
    """Events of a LHC Olympics file.

    Attributes:
        pt, eta, phi: Shape (num_events, 700), float64, GeV and radians; pt is 0 where there is no particle.
        label: Shape (num_events,), int8: 0 background, 1 signal; None where the file has no labels (the black boxes).
    """

    pt: NDArray[np.float64]
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]
    label: NDArray[np.int8] | None

    def __len__(self) -> int:
        return len(self.pt)


def write_lhco(path: Path, particles: NDArray[np.floating], label: NDArray[np.integer], *, block: int = 512) -> None:
    """Writes events to ``path``.

    Values are rounded to float32 and stored as float64, as in the published files; gzip, which every HDF5 has.

    Args:
        path: File to write.
        particles: Shape (num_events, 700, 3): pt in GeV, eta, phi; zeros where there is no particle.
        label: Shape (num_events,): 0 or 1.
        block: Number of events that are converted at a time.

    Raises:
        DataError: The shapes are not these, or there is no event.
    """
    if len(label) == 0 or particles.shape != (len(label), MAX_PARTICLES, 3) or label.ndim != 1:
        raise DataError(
            "wrong shapes for a LHC Olympics file",
            got=(particles.shape, label.shape),
            allowed="(N, 700, 3), (N,), N > 0",
        )
    num_events = len(label)
    with h5py.File(path, "w", track_order=False) as file:
        _set_attributes(file, _ROOT)
        frame = file.create_group("df")
        _set_attributes(frame, _FRAME)
        frame.attrs["ndim"], frame.attrs["nblocks"] = np.int64(2), np.int64(1)
        for name, size in (("axis0", _NUM_VALUES + 1), ("axis1", num_events), ("block0_items", _NUM_VALUES + 1)):
            _set_attributes(_index(frame, name, size), {**_ARRAY, "kind": "integer", "name": "N."})
        values = frame.create_dataset(
            "block0_values",
            shape=(num_events, _NUM_VALUES + 1),
            dtype="<f8",
            chunks=(min(64, num_events), _NUM_VALUES + 1),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            track_times=False,
        )
        _set_attributes(values, _ARRAY)
        for start in range(0, num_events, block):
            part = slice(start, start + block)
            rows = particles[part].astype(np.float32).reshape(-1, _NUM_VALUES)
            values[part] = np.concatenate([rows, label[part, None].astype(np.float32)], axis=1)


def read_lhco(path: Path, start: int = 0, stop: int | None = None) -> LhcoEvents:
    """Returns the events ``start`` to ``stop`` of a LHC Olympics file.

    Raises:
        DataError: The file can't be read or is not of this format.
    """
    try:
        with h5py.File(path, "r") as file:
            values = file["df/block0_values"][start:stop]
    except (OSError, KeyError) as error:
        raise DataError("this is no readable LHC Olympics file", where=path, got=error) from error
    if values.ndim != 2 or values.shape[1] not in (_NUM_VALUES, _NUM_VALUES + 1):
        raise DataError("wrong number of columns", where=path, got=values.shape, allowed="2100, and 1 for the label")
    particles = values[:, :_NUM_VALUES].reshape(-1, MAX_PARTICLES, 3)
    label = values[:, _NUM_VALUES].astype(np.int8) if values.shape[1] > _NUM_VALUES else None
    return LhcoEvents(particles[..., 0], particles[..., 1], particles[..., 2], label)


def _index(frame: h5py.Group, name: str, size: int) -> h5py.Dataset:
    return frame.create_dataset(name, data=np.arange(size, dtype="<i8"), chunks=(size,), track_times=False)


def _set_attributes(item: h5py.Group | h5py.Dataset, attributes: dict[str, str]) -> None:
    for name, value in attributes.items():
        # PyTables wants UTF-8 strings of fixed length (ASCII ones come back as bytes); an empty one is a null dataspace
        if value:
            item.attrs.create(name, value.encode(), dtype=h5py.string_dtype("utf-8", len(value)))
        else:
            item.attrs[name] = h5py.Empty("S1")
    if isinstance(item, h5py.Dataset):
        item.attrs["transposed"] = np.uint8(1)

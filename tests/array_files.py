"""Files of padded arrays with known particles, in every format that is read."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def particles(num_rows: int, size: int, seed: int, *, dtype: str = "f4") -> Arrays:
    """Returns ``vectors`` (N, 4, P), ``mask`` (N, 1, P), ``label`` 0 or 1, ``onehot`` (N, 2), ``d0`` (N, P), ``tau``.

    Padding holds numbers, to be seen should anyone read it; every row has a particle.
    """
    rng = np.random.default_rng(seed)
    three = rng.normal(size=(num_rows, 3, size)) * 30
    energy = np.sqrt(np.square(three).sum(1) + 0.02)[:, None]
    mask = rng.random((num_rows, 1, size)) < 0.7
    mask[:, :, 0] = True
    vectors = np.concatenate([three, np.where(mask, energy, 0)], axis=1)
    label = rng.integers(0, 2, num_rows)
    return {
        "vectors": vectors.astype(dtype),
        "mask": mask.astype(np.float32),
        "label": label,
        "onehot": np.eye(2, dtype=np.int64)[label],
        "d0": rng.normal(size=(num_rows, size)).astype(dtype),
        "tau": rng.random(num_rows).astype(dtype),
    }


def write_npz(path: Path, arrays: Arrays, *, compressed: bool = True) -> Path:
    """Returns the path, after writing an npz file."""
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def write_hdf5(path: Path, arrays: Arrays, *, chunk: int | None = None) -> Path:
    """Returns the path, after writing a dataset for each array."""
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            chunks = None if chunk is None else (min(chunk, len(array)), *array.shape[1:])
            file.create_dataset(name, data=array, chunks=chunks)
    return path


def write_table(path: Path, arrays: Arrays, *, chunk: int = 64, names: Any = None) -> Path:
    """Returns the path, after writing a pandas table as the top-tagging reference data set has it.

    Two blocks of columns: floats E_0, PX_0, PY_0, PZ_0, E_1, ... and four of the true top quark, and the integers ttv
    and is_signal_new.
    """
    vectors, mask = arrays["vectors"], arrays["mask"][:, 0] != 0
    num_rows, _, size = vectors.shape
    order = [3, 0, 1, 2]
    values = np.where(mask[:, None], vectors, 0)[:, order].transpose(0, 2, 1).reshape(num_rows, -1)
    columns = [f"{name}_{i}" for i in range(size) for name in ("E", "PX", "PY", "PZ")]
    columns += [f"truth{name}" for name in ("E", "PX", "PY", "PZ")]
    blocks = {"values_block_0": columns, "values_block_1": ["ttv", "is_signal_new"]}
    rows = np.zeros(
        num_rows, [("index", "i8"), ("values_block_0", "f4", (len(columns),)), ("values_block_1", "i8", (2,))]
    )
    rows["values_block_0"][:, : 4 * size] = values
    rows["values_block_1"][:, 1] = arrays["label"]
    with h5py.File(path, "w") as file:
        group = file.create_group("table")
        group.attrs["pandas_type"] = np.bytes_("frame_table")
        table = group.create_dataset("table", data=rows, chunks=(min(chunk, num_rows),), compression="gzip")
        for block, listed in blocks.items():
            table.attrs[f"{block}_kind"] = np.bytes_(pickle.dumps(listed if names is None else names, 0))
    return path

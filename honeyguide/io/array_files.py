"""Files of arrays of equal length (npz, HDF5, pandas tables in HDF5), read in blocks of rows of bounded memory."""

from __future__ import annotations

import contextlib
import io
import math
import pickle
import re
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn, Self

import h5py
import hdf5plugin  # noqa: F401  (published files are compressed with blosc)
import numpy as np
from numpy.typing import NDArray

from honeyguide.errors import DataError, nearest_name

_ZIP, _HDF5 = b"PK", b"\x89HDF\r\n\x1a\n"
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class ArrayInfo:
    """What an array is; ``chunk`` is the number of rows that can only be read together."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: int = 1


class ArrayFile(ABC):
    """Arrays of one file. Use it as a context manager.

    Attributes:
        path: The file.
        names: Names of the arrays in it.
    """

    path: Path
    names: tuple[str, ...]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Closes the file."""

    @abstractmethod
    def _info(self, name: str) -> ArrayInfo: ...

    @abstractmethod
    def _read(self, names: Sequence[str], start: int, stop: int) -> Arrays:
        """Returns rows of arrays; each call goes on where the one before has ended."""

    def _found(self, name: str) -> str | None:
        """Returns the name of an array in the file; a dot may stand for a slash."""
        return next((each for each in (name, name.replace(".", "/")) if each in self.names), None)

    def info(self, name: str) -> ArrayInfo:
        """Returns shape and type of an array.

        Raises:
            DataError: There is no such array, or it can't be read in blocks.
            UnreadableArraysError: The file is damaged.
        """
        found = self._found(name)
        if found is None:
            raise DataError(
                f"there is no array '{name}'",
                where=self.path,
                allowed=f"{', '.join(self.names[:20])}{', ...' if len(self.names) > 20 else ''}" or "nothing is in it",
                nearest=nearest_name(name, self.names),
            )
        with _reading(self.path):
            return self._info(found)

    def num_rows(self, names: Sequence[str]) -> int:
        """Returns the length of arrays.

        Raises:
            DataError: They have different lengths.
        """
        sizes = {name: self.info(name).shape[:1] for name in names}
        first = next(iter(sizes))
        for name, size in sizes.items():
            if size != sizes[first] or not size:
                raise DataError(
                    "arrays of one file have different lengths",
                    where=self.path,
                    got=", ".join(f"{each} {self.info(each).shape}" for each in (first, name)),
                    hint="one row of each array belongs to a row of the others",
                )
        return sizes[first][0]

    def blocks(self, names: Sequence[str], block_bytes: int, stop: int) -> Iterator[tuple[int, Arrays]]:
        """Yields the index of the first row of each block, and the arrays; a block has about ``block_bytes``.

        Raises:
            UnreadableArraysError: The file is damaged; the blocks before it have been yielded.
        """
        infos = [self.info(name) for name in names]
        row = sum(math.prod(info.shape[1:]) * info.dtype.itemsize for info in infos)
        chunk = max(info.chunk for info in infos)
        step = chunk * max(1, block_bytes // max(row * chunk, 1))
        found = {name: str(self._found(name)) for name in names}
        for start in range(0, stop, step):
            with _reading(self.path, start):
                raw = self._read(list(dict.fromkeys(found.values())), start, min(start + step, stop))
                arrays = {name: _native(raw[each]) for name, each in found.items()}
            yield start, arrays


class UnreadableArraysError(DataError):
    """A file of arrays is truncated or damaged."""


def open_arrays(path: Path, table: str | None = None) -> ArrayFile:
    """Returns a file of arrays, open for reading: npz or HDF5, whatever its name.

    Args:
        path: The file.
        table: Group of the pandas table in it; None where datasets are the arrays.

    Raises:
        DataError: It is neither, or has no such table.
        UnreadableArraysError: It is damaged.
    """
    with _reading(path):
        with path.open("rb") as file:
            start = file.read(8)
        if start.startswith(_ZIP) and table is None:
            return NpzFile(path)
        if start == _HDF5:
            return Hdf5File(path) if table is None else TableFile(path, table)
    raise DataError(
        "this is no file of arrays",
        where=path,
        got=f"it begins with {start!r}",
        allowed="npz or HDF5" if table is None else "HDF5, since 'table' is given",
    )


class NpzFile(ArrayFile):
    """An npz file: its arrays are streams, compressed or not, which are read once, in order, and never as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._zip = zipfile.ZipFile(path)
        self.names = tuple(name.removesuffix(".npy") for name in self._zip.namelist() if name.endswith(".npy"))
        self._streams: dict[str, IO[bytes]] = {}
        self._infos: dict[str, ArrayInfo] = {}

    def close(self) -> None:
        """Closes the file."""
        for stream in self._streams.values():
            stream.close()
        self._zip.close()

    def _info(self, name: str) -> ArrayInfo:
        if name not in self._infos:
            self._infos[name] = self._read_info(name)
        return self._infos[name]

    def _read_info(self, name: str) -> ArrayInfo:
        with self._zip.open(f"{name}.npy") as stream:
            shape, fortran, dtype = _header(stream)
        if fortran and len(shape) > 1:
            raise DataError(
                "an array is stored column by column, and can't be read in blocks of rows",
                where=f"{self.path}, {name}",
                got=f"Fortran order, shape {shape}",
                hint="write np.ascontiguousarray(array) instead",
            )
        if dtype.hasobject:
            raise DataError("an array has Python objects", where=f"{self.path}, {name}", got=dtype, allowed="numbers")
        return ArrayInfo(shape, dtype)

    def _read(self, names: Sequence[str], start: int, stop: int) -> Arrays:
        arrays = {}
        for name in names:
            if name not in self._streams:
                self._streams[name] = self._zip.open(f"{name}.npy")
                _header(self._streams[name])
            info = self._info(name)
            size = (stop - start) * math.prod(info.shape[1:]) * info.dtype.itemsize
            data = self._streams[name].read(size)
            if len(data) < size:
                raise EOFError(f"{name} ends {size - len(data)} bytes early")
            arrays[name] = np.frombuffer(data, info.dtype).reshape(stop - start, *info.shape[1:])
        return arrays


class Hdf5File(ArrayFile):
    """The datasets of an HDF5 file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = h5py.File(path, "r")
        found: list[str] = []
        self._file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        self.names = tuple(found)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _info(self, name: str) -> ArrayInfo:
        dataset = self._file[name]
        return ArrayInfo(dataset.shape or (), dataset.dtype, dataset.chunks[0] if dataset.chunks else 1)

    def _read(self, names: Sequence[str], start: int, stop: int) -> Arrays:
        return {name: self._file[name][start:stop] for name in names}


class TableFile(ArrayFile):
    """The columns of a pandas table in an HDF5 file, as ``DataFrame.to_hdf(format="table")`` writes it.

    ``name_*`` is the array (N, P) of the columns ``name_0``, ``name_1``, ... in the order of their numbers.
    """

    def __init__(self, path: Path, table: str) -> None:
        self.path = path
        self._file = h5py.File(path, "r")
        self._table = self._find(table)
        self._columns = dict(_table_columns(self._table))
        self.names = (*self._columns, *_patterns(self._columns))

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _find(self, table: str) -> h5py.Dataset:
        dataset = self._file.get(f"{table}/table")
        if not isinstance(dataset, h5py.Dataset) or dataset.dtype.names is None:
            raise DataError(
                f"there is no pandas table '{table}'",
                where=self.path,
                got=", ".join(self._file) or "nothing",
                nearest=nearest_name(table, list(self._file)),
                hint='it is written by to_hdf(..., format="table")',
            )
        return dataset

    def _places(self, name: str) -> list[tuple[str, int | None]]:
        """Returns block and place in it of the columns of a name."""
        if "*" not in name:
            return [self._columns[name]]
        return [self._columns[each] for each in _patterns(self._columns)[name]]

    def _info(self, name: str) -> ArrayInfo:
        places = self._places(name)
        dtype = np.result_type(*(self._table.dtype[block].base for block, _ in places))
        tail = (len(places),) if "*" in name else ()
        return ArrayInfo((self._table.shape[0], *tail), dtype, self._table.chunks[0] if self._table.chunks else 1)

    def _read(self, names: Sequence[str], start: int, stop: int) -> Arrays:
        rows = self._table[start:stop]
        arrays = {}
        for name in names:
            columns = [rows[block] if at is None else rows[block][:, at] for block, at in self._places(name)]
            arrays[name] = np.stack(columns, axis=1) if "*" in name else columns[0]
        return arrays


class _Plain(pickle.Unpickler):
    """Reads lists of names; whatever else a pickle could build or call is refused."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"the names of a table's columns are no {module}.{name}")


def _table_columns(table: h5py.Dataset) -> Iterator[tuple[str, tuple[str, int | None]]]:
    """Yields the name of each column, its field, and its place in that."""
    for field in table.dtype.names:
        names = table.attrs.get(f"{field}_kind")
        if table.dtype[field].shape and isinstance(names, bytes):
            listed = _Plain(io.BytesIO(names)).load()
            if not isinstance(listed, list) or (len(listed),) != table.dtype[field].shape:
                raise ValueError(f"{field} has not one name per column")
            yield from ((str(name), (field, place)) for place, name in enumerate(listed))
        elif not table.dtype[field].shape:
            yield field, (field, None)


def _patterns(names: Sequence[str] | dict[str, Any]) -> dict[str, list[str]]:
    """Returns the columns of each ``name_*``, in the order of their numbers."""
    found: dict[str, dict[int, str]] = {}
    for name in names:
        match = re.fullmatch(r"(.*?)(\d+)", name)
        if match:
            found.setdefault(f"{match[1]}*", {})[int(match[2])] = name
    return {pattern: [of[number] for number in sorted(of)] for pattern, of in found.items()}


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return shape, fortran, dtype


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


@contextlib.contextmanager
def _reading(path: Path, row: int | None = None) -> Iterator[None]:
    """Turns what zipfile, numpy and h5py raise about damaged files into errors."""
    try:
        yield
    except DataError:
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise DataError("a source file can't be read", where=path, got=error.strerror, hint="does it exist?") from error
    except (
        *(OSError, EOFError, ValueError, KeyError, RuntimeError, IndexError, TypeError),
        *(zipfile.BadZipFile, zlib.error, pickle.UnpicklingError),
    ) as error:
        raise UnreadableArraysError(
            "a file of arrays is truncated or damaged",
            where=path if row is None else f"{path}, from row {row} on",
            got=(str(error).strip() or type(error).__name__).splitlines()[0][:200],
            hint="copy it again",
        ) from error

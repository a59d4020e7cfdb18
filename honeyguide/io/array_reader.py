"""Files of padded arrays as blocks of rows with their particles, with counts of everything that was not kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import EventBlock
from honeyguide.data.particles import below_momentum, jet_kinematics
from honeyguide.errors import DataError
from honeyguide.io.array_files import ArrayFile, Arrays, open_arrays
from honeyguide.io.array_settings import MOMENTUM, ArrayReaderSettings
from honeyguide.io.root_reader import RootFile, summarise
from honeyguide.io.root_rows import RowBuilder

Numbers = NDArray[Any]


@dataclass
class ParticleFile(RootFile):
    """A file of padded arrays, read as a tree of its rows would be; its counts are those of a ROOT file, and these.

    Attributes:
        arrays: Which arrays are what.
        limit: Rows that are read at most; None for all.
        num_particles: Particles that were read.
        num_below_momentum: Those whose energy is below their momentum beyond rounding: no particle is so, but they are
            kept, since their mass matters to few.
        first_below_momentum: Row and place of the first one.
    """

    arrays: ArrayReaderSettings | None = None
    limit: int | None = None
    num_particles: int = 0
    num_below_momentum: int = 0
    first_below_momentum: str | None = None

    def iter_blocks(self) -> Iterator[EventBlock]:
        """Yields the rows of the file in order, with the collection of their particles.

        Raises:
            ConfigError: An expression does not give one value per row.
            DataError: The file or an array is missing, or has another shape; labels are wrong; more rows are not finite
                than the tolerance allows.
            UnreadableArraysError: The file is damaged.
        """
        assert self.arrays is not None
        self._reset()
        self.num_particles = self.num_below_momentum = 0
        self.first_below_momentum = None
        if isinstance(self.source, str):
            raise DataError("files of arrays are read from a local disk", where=self.source, hint="copy it")
        builder = RowBuilder(self.settings, where=str(self.source), id_key=self.id_key)
        names = [*self.arrays.vector_arrays, *self.arrays.arrays]
        with open_arrays(self.source, self.arrays.table) as file:
            layout = _Layout.of(file, self.arrays)
            self.num_entries = min(file.num_rows(names), self.limit or 2**62)
            for first, raw in file.blocks(names, self.arrays.block_bytes, self.num_entries):
                values, vectors, there = layout.branches(raw, first)
                self._count_momenta(vectors, there, first)
                size = len(vectors)
                rows = builder.build(values, first_entry=first, first_row=first, num_entries=size)
                self._count(rows.tally, size)
                yield rows.block
        self.check()

    def _count_momenta(self, vectors: Numbers, there: NDArray[np.bool_], first: int) -> None:
        below = below_momentum(vectors)
        self.num_particles += int(np.count_nonzero(there))
        number = int(np.count_nonzero(below))
        if number and self.first_below_momentum is None:
            row, place = np.unravel_index(int(below.argmax()), below.shape)
            self.first_below_momentum = f"row {first + row}, particle {place}"
        self.num_below_momentum += number


def summarise_arrays(files: Sequence[ParticleFile]) -> dict[str, Any]:
    """Returns the counts of files that have been read, as :func:`summarise`, with those of the particles of each."""
    counts = summarise(files)
    for entry, file in zip(counts["files"], files, strict=True):
        entry["particles"] = file.num_particles
        entry["energy_below_momentum"] = file.num_below_momentum
        entry["first_energy_below_momentum"] = file.first_below_momentum
    return counts


@dataclass(frozen=True)
class _Layout:
    """Where in the arrays of a file the particles are."""

    settings: ArrayReaderSettings
    path: Path
    size: int

    @classmethod
    def of(cls, file: ArrayFile, settings: ArrayReaderSettings) -> _Layout:
        """Returns the layout of a file, after checking that its four-momenta are where the settings say.

        Raises:
            DataError: They are not.
        """
        infos = {name: file.info(name) for name in settings.vector_arrays}
        first = settings.components_axis
        for name, info in infos.items():
            right = len(info.shape) == 2 if first is None else len(info.shape) == 3 and info.shape[first] == 4
            if not right or info.dtype.kind != "f" or info.shape != next(iter(infos.values())).shape:
                other = {1: "particles_first", 2: "components_first"}.get(first or 0)
                raise DataError(
                    f"the array '{name}' is none of four-momenta",
                    where=file.path,
                    got=f"shape {info.shape}, {info.dtype}",
                    allowed={None: "(N, P) floats, the same for all four", 1: "(N, 4, P) floats"}.get(
                        first, "(N, P, 4) floats"
                    ),
                    hint=f"is its layout {other}?" if 4 in info.shape[1:] and other else None,
                )
        shape = next(iter(infos.values())).shape
        return cls(settings, file.path, shape[1] if first is None else shape[3 - first])

    def branches(self, raw: Arrays, first: int) -> tuple[dict[str, Any], Numbers, NDArray[np.bool_]]:
        """Returns what expressions name, the four-momenta (num_rows, P, 4), and where there are particles."""
        settings = self.settings
        vectors = self._vectors(raw)
        if settings.mask is None:
            there = ~(vectors[..., 3] <= 0)  # NaN is no padding: such a row is to be rejected, and counted
        else:
            there = self._per_particle(raw[settings.mask], settings.mask) != 0
        vectors = np.where(there[..., None], vectors, vectors.dtype.type(0))
        offsets = np.append(0, np.cumsum(there.sum(axis=1)))
        with np.errstate(invalid="ignore", over="ignore"):
            sums = jet_kinematics(vectors)
        values: dict[str, Any] = {f"sum.{name}": column.astype(np.float32) for name, column in sums.items()}
        for axis, component in enumerate(MOMENTUM):
            values[f"{settings.collection}.{component}"] = _lists(vectors[..., axis][there], offsets)
        coded = set(settings.truths.columns) if settings.truths else set()
        for name in settings.arrays:
            values.setdefault(name, self._branch(name, raw[name], there, offsets, coded=name in coded, first=first))
        return values, vectors, there

    def _vectors(self, raw: Mapping[str, Numbers]) -> Numbers:
        settings = self.settings
        parts = [raw[name] for name in settings.vector_arrays]
        stacked = np.stack(parts, axis=-1) if len(parts) > 1 else parts[0]
        if settings.components_axis == 1:
            stacked = np.moveaxis(stacked, 1, 2)
        order = [settings.components.index(component) for component in MOMENTUM]
        return stacked[..., order]

    def _branch(
        self, name: str, array: Numbers, there: NDArray[np.bool_], offsets: Numbers, *, coded: bool, first: int
    ) -> Any:
        if array.ndim == 1 or (array.shape[1:] == (1,) and self.size > 1):
            return array.reshape(len(array))
        if coded and array.ndim == 2:
            return _codes(array, name, self.path, first)
        return _lists(self._per_particle(array, name)[there], offsets)

    def _per_particle(self, array: Numbers, name: str) -> Numbers:
        """Returns (num_rows, P) of that, or of (num_rows, 1, P) or (num_rows, P, 1)."""
        flat = array.reshape(len(array), -1)
        if array.ndim not in (2, 3) or flat.shape[1] != self.size or self.size not in array.shape[1:]:
            raise DataError(
                f"the array '{name}' is not one of the particles",
                where=self.path,
                got=f"shape (N, {', '.join(map(str, array.shape[1:]))})",
                allowed=f"(N, {self.size}) or (N, 1, {self.size}), as many as there are four-momenta",
            )
        return flat


def _codes(array: Numbers, name: str, path: Path, first: int) -> NDArray[np.int64]:
    """Returns the place of the 1 in each row of a one-hot array; -1 where there is none."""
    set_ = array != 0
    several = set_.sum(axis=1) > 1
    if several.any():
        row = int(several.argmax())
        raise DataError(
            f"the array '{name}' is not one-hot",
            where=f"{path}, row {first + row}",
            got=str(array[row].tolist())[:200],
            allowed="one 1, and 0 in all other places",
        )
    return np.where(set_.any(axis=1), set_.argmax(axis=1), -1)


def _lists(content: Numbers, offsets: Numbers) -> ak.Array:
    layout = ak.contents.ListOffsetArray(
        ak.index.Index64(offsets), ak.contents.NumpyArray(np.ascontiguousarray(content))
    )
    return ak.Array(layout)

"""A TTree or RNTuple, read through uproot in blocks of bounded memory, with errors that name what is there."""

from __future__ import annotations

import bisect
import contextlib
import difflib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import awkward as ak
import numpy as np
import uproot

from honeyguide.errors import DataError, nearest_name
from honeyguide.io.root_sources import RootSource

Arrays = dict[str, Any]
"""Branches by name: numpy where there is one value per entry, else awkward."""


class UnreadableFileError(DataError):
    """A file is truncated or damaged."""


class RootTree:
    """A tree, open for reading. Use it as a context manager.

    Attributes:
        source: Its file.
        name: Its name in the file.
        num_entries: Number of entries.
        branches: Names of its branches.
    """

    def __init__(self, source: RootSource, name: str) -> None:
        self.source = source
        self.name = name
        _check_package(source)
        with self._reading():
            self._file = uproot.open(source if isinstance(source, str) else {str(source): None})
        try:
            self._check_whole()
            self._tree = self._find_tree()
            with self._reading():
                self.num_entries = int(self._tree.num_entries)
                self._is_ntuple = not hasattr(self._tree, "branches")
                self.branches = self._branch_names()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check_branches(self, names: Sequence[str]) -> None:
        """Raises a DataError that has the nearest branches, file and tree if a branch is not there."""
        known = set(self.branches)
        for name in names:
            if name not in known:
                folded = {branch.lower(): branch for branch in self.branches}
                nearest = difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.5)
                raise DataError(
                    f"there is no branch '{name}'",
                    where=f"{self.source}, {self.name}",
                    nearest=", ".join(folded[branch] for branch in nearest) or None,
                    hint=None if nearest else f"it has {len(known)} branches, {', '.join(self.branches[:8])}, ...",
                )

    def iter_blocks(
        self, names: Sequence[str], block_bytes: int, entries: tuple[int, int] | None = None
    ) -> Iterator[tuple[int, Arrays]]:
        """Yields the index of the first entry of each block and the values of the branches, in the order of the file.

        A block has about ``block_bytes``, but what a file has compressed together is uncompressed together: baskets of
        a TTree, a cluster of an RNTuple. Without entries there is one block, an empty one.

        Args:
            names: The branches.
            block_bytes: Size of a block.
            entries: The first entry and the one after the last; by default all.

        Raises:
            DataError: A branch is not there.
            UnreadableFileError: The file is damaged; the blocks before it have been yielded.
        """
        self.check_branches(names)
        first, stop = entries or (0, self.num_entries)
        blocks = (self._ntuple_blocks if self._is_ntuple else self._tree_blocks)(names, block_bytes, first, stop)
        if first == stop:
            blocks = iter([{name: self._tree[name].array(entry_start=first, entry_stop=stop) for name in names}])
        while True:
            with self._reading(first):
                raw = next(blocks, None)
                if raw is None:
                    break
                arrays = {name: _plain(raw[name]) for name in names}
            yield first, arrays
            first += len(arrays[names[0]])
        if first != stop:  # branches may be shorter than their tree
            raise self._unreadable(f"{first} of {self.num_entries} entries")

    def ranges(self, names: Sequence[str], size: int) -> list[tuple[int, int]]:
        """Returns consecutive ranges of about ``size`` entries, in whole baskets or clusters where these are smaller.

        A basket that two ranges share is uncompressed twice. There is one range at least. Without names the ends of
        baskets are not looked at.
        """
        self.check_branches(names)
        ends: Sequence[int] = []
        with self._reading():
            if self._is_ntuple:
                ends = self._cluster_ends(self.num_entries)
            elif names:
                chosen = {id(branch) for branch in self._branches(names)}
                ends = self._tree.common_entry_offsets(filter_branch=lambda branch: id(branch) in chosen)
        edges = [0]
        while edges[-1] < self.num_entries:
            place = bisect.bisect_right(ends, edges[-1] + size)
            whole = ends[place - 1] if place else 0
            edges.append(whole if whole > edges[-1] else min(edges[-1] + size, self.num_entries))
        return list(pairwise(edges)) or [(0, 0)]

    def _branches(self, names: Sequence[str]) -> list[Any]:
        wanted = set(names)
        found = {branch.name: branch for branch in self._tree.itervalues(recursive=True) if branch.name in wanted}
        return list(found.values())

    def _tree_blocks(self, names: Sequence[str], block_bytes: int, start: int, stop: int) -> Iterator[Any]:
        branches = self._branches(names)
        size = sum(branch.uncompressed_bytes for branch in branches) / self.num_entries
        chosen = {id(branch) for branch in branches}
        yield from self._tree.iterate(
            filter_branch=lambda branch: id(branch) in chosen,
            entry_start=start,
            entry_stop=stop,
            step_size=max(1, int(block_bytes / max(size, 1))),
            library="ak",
            how=dict,
        )

    def _ntuple_blocks(self, names: Sequence[str], block_bytes: int, start: int, last: int) -> Iterator[Any]:
        """Yields blocks, reading each cluster once: uproot uncompresses a whole cluster for any entry of it."""
        ends = [*self._cluster_ends(last), last]
        step = 1
        while start < last:
            within = [end for end in ends if start < end <= start + step]
            stop = within[-1] if within else next(end for end in ends if end > start)
            # field by field: a selection from all fields takes seconds where there are thousands
            arrays = {name: self._tree[name].array(entry_start=start, entry_stop=stop) for name in names}
            size = sum(arrays[name].nbytes for name in names) / (stop - start)
            step = max(1, int(block_bytes / max(size, 1)))
            for low in range(0, stop - start, step):
                yield {name: arrays[name][low : low + step] for name in names}
            start = stop

    def _cluster_ends(self, last: int) -> list[int]:
        ends = (int(item.num_first_entry + item.num_entries) for item in self._tree.cluster_summaries)
        return [end for end in ends if end < last]

    def _branch_names(self) -> tuple[str, ...]:
        if self._is_ntuple:
            return tuple(name for name in self._tree.keys(recursive=False) if not name.startswith("_"))
        return tuple(dict.fromkeys(branch.name for branch in self._tree.itervalues(recursive=True)))

    def _find_tree(self) -> Any:
        with self._reading():
            classes = self._file.classnames(cycle=False, recursive=True)
            trees = [name for name, kind in classes.items() if kind == "TTree" or kind.endswith("RNTuple")]
            if self.name in trees:
                return self._file[self.name]
        others = [f"{name} ({kind})" for name, kind in classes.items() if name not in trees]
        raise DataError(
            f"there is no tree '{self.name}'" if self.name not in classes else f"'{self.name}' is no TTree or RNTuple",
            where=self.source,
            got=f"other objects: {', '.join(others[:10])}" if others else None,
            allowed=", ".join(trees) or "no TTree or RNTuple is in this file",
            nearest=nearest_name(self.name, trees),
        )

    def _check_whole(self) -> None:
        """Raises an error if the file is shorter than its header says, even where its tree could still be read."""
        with self._reading():
            expected = int(self._file.file.fEND)
        if isinstance(self.source, Path) and self.source.stat().st_size < expected:
            raise self._unreadable(f"{self.source.stat().st_size} bytes of {expected}")

    @contextlib.contextmanager
    def _reading(self, entry: int | None = None) -> Iterator[None]:
        """Turns what uproot raises into errors: a damaged file makes it raise almost anything."""
        try:
            yield
        except (DataError, MemoryError):
            raise
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            raise DataError(
                "a source file can't be read", where=self.source, got=error.strerror or error, hint="does it exist?"
            ) from error
        except ImportError as error:
            raise DataError("a package is missing to read a file", where=self.source, got=error) from error
        except Exception as error:
            raise self._unreadable(str(error).strip() or type(error).__name__, entry) from error

    def _unreadable(self, got: str, entry: int | None = None) -> UnreadableFileError:
        place = f"{self.source}, {self.name}"
        return UnreadableFileError(
            "a ROOT file is truncated, damaged or no ROOT file",
            where=place if entry is None else f"{place}, from entry {entry} on",
            got=got.splitlines()[0][:200],
            hint="copy it again, or set 'unreadable' to 'skip' to go on without what is lost",
        )


def _check_package(source: RootSource) -> None:
    if isinstance(source, str) and source.startswith(("root://", "xroot://")) and find_spec("fsspec_xrootd") is None:
        raise DataError(
            "reading from xrootd needs a package that is not installed",
            where=source,
            allowed="fsspec-xrootd, with xrootd",
            hint="pip install fsspec-xrootd xrootd",
        )


def _plain(array: ak.Array) -> Any:
    """Returns one value per entry as numpy, without a copy; the rest as it is."""
    return np.asarray(array.layout.data) if isinstance(array.layout, ak.contents.NumpyArray) else array

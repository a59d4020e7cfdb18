"""Which filelist a dataset is made from: the one that is given, or the one that its version was converted with."""

from __future__ import annotations

import hashlib
from pathlib import Path

import law
import luigi

from honeyguide.errors import ConfigError, DataError
from honeyguide.io.atomic import atomic_file

_PREFIX = "filelist-"


class FilelistParameter(luigi.Parameter[str]):
    """A path; a relative one starts at the current folder."""

    def normalize(self, x: str) -> str:
        """Returns the absolute path, as text."""
        return x if x == law.NO_STR else str(Path(x).expanduser().absolute())


def record(folder: Path, filelist: Path) -> None:
    """Leaves a file in ``folder``, that of a version of a dataset, which says where the filelist is."""
    path = folder / f"{_PREFIX}{hashlib.blake2b(str(filelist).encode(), digest_size=4).hexdigest()}.txt"
    with atomic_file(path) as partial:
        partial.write_text(f"{filelist}\n")


def recorded(folder: Path) -> Path:
    """Returns the filelist that a version of a dataset was converted with.

    Raises:
        ConfigError: There is none, or several.
        DataError: It is no longer there.
    """
    records = sorted(folder.glob(f"{_PREFIX}*.txt"))
    found = [Path(item.read_text().strip()) for item in records]
    if not found:
        raise ConfigError(
            "the samples are files of a filelist, and none is given",
            where=folder,
            hint="give --filelist FILE; later tasks of this --dataset-version take the same one without being told",
        )
    if len(found) > 1:
        raise ConfigError(
            "this version of the dataset was converted with several filelists",
            where=folder,
            got=", ".join(map(str, found)),
            hint="say which one with --filelist FILE, give each a --dataset-version of its own, or remove the record "
            f"of one, e.g. {records[0].name}",
        )
    if not found[0].is_file():
        raise DataError(
            "the filelist that this version of the dataset was converted with is gone",
            where=found[0],
            hint=f"put it back, or give --filelist FILE and remove {records[0]}",
        )
    return found[0]

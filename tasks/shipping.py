"""What jobs are given where they don't see the submitter's checkout and environment: two archives."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

from honeyguide.errors import ConfigError
from honeyguide.io.atomic import atomic_file
from tasks.base import ROOT, git_state

SHIPPED = (
    "configs", "honeyguide", "models", "tasks", "workflows", "law.cfg", "setup.sh", "pyproject.toml", "constraints.txt",
)  # fmt: skip
"""Files and folders of the checkout that a job needs."""


def ship(what: str, folder: Path) -> list[Path]:
    """Returns the archives, after writing those that are not there yet.

    Args:
        what: ``repository``, from which jobs build the environment, or ``environment``, which has both; empty for none.
        folder: Where archives are kept; their names have a hash of what is in them.

    Raises:
        ConfigError: The environment is none that can be moved.
    """
    if not what:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    archives = [_repository(folder)]
    if what == "environment":
        archives.append(_environment(folder))
    return archives


def _repository(folder: Path) -> Path:
    files = [path for name in SHIPPED for path in _files(ROOT / name)]
    commit = json.dumps(git_state()).encode()
    digest = hashlib.blake2b(commit, digest_size=8)
    for path in files:
        digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_mode:o}\0".encode() + path.read_bytes())
    archive = folder / f"repository-{digest.hexdigest()}.tar.gz"
    if not archive.exists():
        with atomic_file(archive) as partial, tarfile.open(partial, "w:gz") as tar:
            for path in files:
                tar.add(path, str(path.relative_to(ROOT)))
            # jobs have no git to ask, and their outputs shall say what made them
            entry = tarfile.TarInfo("commit.json")
            entry.size = len(commit)
            tar.addfile(entry, io.BytesIO(commit))
    return archive


def _environment(folder: Path) -> Path:
    """Returns the archive of the environment but for its Python: a job makes one of its own Python with this in it."""
    if not Path(sys.prefix, "pyvenv.cfg").exists():
        raise ConfigError(
            "only virtual environments can be shipped",
            where="--ship environment",
            got=sys.prefix,
            hint="a conda environment has parts that are bound to their place: use --ship repository, a shared file "
            "system or a --container",
        )
    packages, data = (Path(sysconfig.get_paths()[name]) for name in ("purelib", "data"))
    state = sorted(f"{path.name} {path.stat().st_mtime_ns}" for path in packages.iterdir())
    digest = hashlib.blake2b("\n".join([sys.prefix, *state]).encode(), digest_size=8).hexdigest()
    archive = folder / f"environment-{digest}-python{sys.version_info[0]}.{sys.version_info[1]}.tar.gz"
    if not archive.exists():
        # the largest part are libraries that hardly get smaller
        with atomic_file(archive) as partial, tarfile.open(partial, "w:gz", compresslevel=1) as tar:
            for path in (*_files(packages), *_files(data / "share")):
                tar.add(path, str(path.relative_to(data)))
    return archive


def _files(path: Path) -> Iterator[Path]:
    """Yields a file, or all files of a folder, in order, without what Python has compiled."""
    if path.is_file():
        yield path
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        yield from (Path(folder, name) for name in sorted(names))

"""Folders and files that appear whole or not at all, and the manifests that say what belongs to them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import xxhash

from honeyguide.errors import StoreError

MANIFEST = "manifest.json"
_PARTIAL = ".partial~"
_SEPARATOR = "~"  # no host name has it: node-1's leftovers must not be taken for those of process 1 of node
_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@contextlib.contextmanager
def atomic_folder(path: Path, *, metadata: Mapping[str, Any] | None = None) -> Iterator[Path]:
    """Yields an empty temporary folder beside ``path`` that becomes ``path`` when the block ends without an error.

    On success a manifest (names, sizes and hashes of all files, and ``metadata``) is written last, everything
    is flushed to disk, and one rename makes the folder visible. On an error the temporary folder is removed and
    ``path`` is left as it was. What a killed process of this machine left behind is removed at the next call. Where
    another process has completed ``path`` meanwhile, its folder stays, since it may be in use already.

    Raises:
        StoreError: The folder can't be written (read-only or full store).
    """
    partial = _partial(path)
    replacing = is_complete(path)
    try:
        with _all_errors(path):
            remove_leftovers(path)
            partial.mkdir(parents=True)
        with _errors_of_the_store(path, partial):
            yield partial
        with _all_errors(path):
            _write_manifest(partial, metadata or {})
            if replacing or not is_complete(path):
                _replace_folder(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; what is written there replaces ``path`` when the block ends well.

    Raises:
        StoreError: The file can't be written.
    """
    partial = _partial(path)
    try:
        with _all_errors(path):
            remove_leftovers(path)
            path.parent.mkdir(parents=True, exist_ok=True)
        with _errors_of_the_store(path, partial):
            yield partial
        with _all_errors(path):
            _flush(partial)
            partial.replace(path)
            _flush(path.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def read_manifest(path: Path) -> dict[str, Any]:
    """Returns the manifest of the folder ``path``: ``{"files": {name: {"size", "xxh3_128"}}, "metadata": {...}}``.

    Raises:
        StoreError: There is no manifest, or it can't be read.
    """
    try:
        manifest: Any = json.loads((path / MANIFEST).read_text())
        files = manifest.get("files") if isinstance(manifest, dict) else None
        if not isinstance(files, dict) or not all(_is_entry(entry) for entry in files.values()):
            raise ValueError("it does not list files")
    except (OSError, ValueError) as error:
        raise StoreError(
            "this output has no readable manifest", where=path, got=error, hint="remove the folder and run again"
        ) from error
    result: dict[str, Any] = manifest
    return result


def is_complete(path: Path) -> bool:
    """Returns whether ``path`` has a manifest and every file that it names, at its size."""
    try:
        files = read_manifest(path)["files"]
        return all((path / name).stat().st_size == entry["size"] for name, entry in files.items())
    except (StoreError, OSError):
        return False


def verify(path: Path) -> None:
    """Checks every file of the folder ``path`` against its manifest, by content.

    Raises:
        StoreError: A file is missing or has changed.
    """
    for name, entry in read_manifest(path)["files"].items():
        file = path / name
        if not file.is_file() or file.stat().st_size != entry["size"] or file_hash(file) != entry["xxh3_128"]:
            raise StoreError(
                "a stored file is missing or has changed since it was written",
                where=file,
                hint="remove the output (law run ... --remove-output) and run again",
            )


def file_hash(path: Path) -> str:
    """Returns the 128-bit XXH3 hash of the file's content, in hexadecimal.

    It tells damaged and different files apart, at the speed of memory; it is no protection against forgery.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and {"size", "xxh3_128"} <= set(entry)


def remove_leftovers(path: Path) -> None:
    """Removes the temporary files and folders of ``path`` that dead processes of this machine left behind."""
    if not path.parent.is_dir():
        return
    prefix = _prefix(path)
    for leftover in path.parent.iterdir():
        pid = leftover.name.removeprefix(prefix).split(_SEPARATOR)[0]
        if not leftover.name.startswith(prefix) or not pid.isdigit():
            continue
        if int(pid) != os.getpid() and not _alive(int(pid)):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def _prefix(path: Path) -> str:
    return f".{path.name}{_PARTIAL}{socket.gethostname()}{_SEPARATOR}"


def _partial(path: Path) -> Path:
    return path.with_name(f"{_prefix(path)}{os.getpid()}{_SEPARATOR}{uuid.uuid4().hex[:8]}")


def _write_manifest(folder: Path, metadata: Mapping[str, Any]) -> None:
    files = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            _flush(file)
            entry = {"size": file.stat().st_size, "xxh3_128": file_hash(file)}
            files[file.relative_to(folder).as_posix()] = entry
    for sub in (item for item in folder.rglob("*") if item.is_dir()):
        _flush(sub)
    (folder / MANIFEST).write_text(json.dumps({"files": files, "metadata": dict(metadata)}, indent=1))
    _flush(folder / MANIFEST)
    _flush(folder)


def _replace_folder(partial: Path, path: Path) -> None:
    if path.is_dir():
        # a folder can't be renamed onto one with files: that goes out of the way first
        old = partial.with_name(f"{partial.name}{_SEPARATOR}old")
        path.replace(old)
        try:
            partial.replace(path)
        except OSError:
            old.replace(path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    else:
        try:
            partial.replace(path)
        except OSError:
            if not is_complete(path):  # else another process was faster by less than it took to look
                raise
    _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # some network file systems can't flush folders
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP, errno.EBADF)):
            raise
    finally:
        os.close(descriptor)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _all_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _store_error(path, error) from error


@contextlib.contextmanager
def _errors_of_the_store(path: Path, partial: Path) -> Iterator[None]:
    """Turns errors of writing into a StoreError, and lets others pass: the block reads its inputs too."""
    try:
        yield
    except OSError as error:
        inside = error.filename is not None and Path(str(error.filename)).is_relative_to(partial)
        if inside or error.errno in _WRITE_ERRORS:
            raise _store_error(path, error) from error
        raise


def _store_error(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"the output can't be written: {error.strerror or error}",
        where=path,
        hint="is the store full or read-only? HONEYGUIDE_STORE says where it is",
    )

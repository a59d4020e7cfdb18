"""Targets that exist when they are whole."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import law

from honeyguide.errors import StoreError
from honeyguide.io.atomic import atomic_folder, is_complete


class FolderTarget(law.LocalDirectoryTarget):  # type: ignore[misc]
    """A folder with a manifest; it exists when the manifest does and every file that it names is there at its size.

    It is made whole by one rename (:func:`honeyguide.io.atomic.atomic_folder`), and removing it removes every file.
    """

    def exists(self, **_: Any) -> bool:
        """Returns whether the folder is complete."""
        return is_complete(self.folder)

    def write(self, **metadata: Any) -> AbstractContextManager[Path]:
        """Returns a context with a temporary folder that becomes this one when it ends without an error."""
        return atomic_folder(self.folder, metadata=metadata)

    def remove(self, silent: bool = True, **_: Any) -> bool:
        """Removes the folder with all its files, whole or damaged, and returns whether there was one.

        Raises:
            StoreError: It is still there, since the store is read-only or another user's.
        """
        there = self.folder.is_dir()
        if not there and not silent:
            raise FileNotFoundError(self.path)
        for folder in (self.folder, self.checkpoint):
            shutil.rmtree(folder, ignore_errors=True)
        if self.folder.is_dir():
            raise StoreError("this output can't be removed", where=self.path, hint="may you write to the store?")
        return there

    def copy_to_local(self, dst: Any = None, **_: Any) -> str:
        """Copies the folder (``--fetch-output``) and returns where to."""
        destination = Path(str(getattr(dst, "path", dst)))
        shutil.copytree(self.folder, destination, dirs_exist_ok=True)
        return str(destination)

    @property
    def checkpoint(self) -> Path:
        """Where a task that is not done may keep its state: beside the folder, whose digest says whose it is."""
        return self.folder.with_name(f"{self.folder.name}.checkpoint")

    @property
    def folder(self) -> Path:
        """The folder as a path."""
        return Path(self.path)

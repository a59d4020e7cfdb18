"""Source files: found by patterns, and their fingerprints."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from honeyguide.errors import DataError


def find_files(patterns: Sequence[str], base: Path) -> list[Path]:
    """Returns the files that match the patterns: in the order of the patterns, sorted by name within one.

    Args:
        patterns: Paths or glob patterns (``**`` goes into folders); relative ones start at ``base``.
        base: A folder.

    Raises:
        DataError: A pattern matches no file, or a file is matched twice.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        # Path.glob takes no absolute patterns
        matched = sorted(glob.glob(pattern, root_dir=base, recursive=True))  # noqa: PTH207
        files = [base / item for item in matched if (base / item).is_file()]
        if not files:
            hint = "relative paths start at the dataset's own folder; is every $VARIABLE set?"
            raise DataError("no file matches", where=base, got=pattern, hint=hint)
        for file in files:
            if file in found:
                raise DataError("a file is listed twice", where=file, got=pattern, hint="do two patterns overlap?")
            found[file] = None
    return list(found)


def fingerprint(path: Path) -> dict[str, Any]:
    """Returns ``{"path", "size", "mtime_ns"}`` of a file: cheap to read, and other when the file is.

    Raises:
        DataError: The file is not there.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError("a source file can't be read", where=path, got=error.strerror) from error
    return {"path": str(path), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}

"""Which ROOT files to read, and which sample each belongs to: filelists, globs, xrootd URLs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from honeyguide.errors import ConfigError, DataError
from honeyguide.io.sources import find_files

RootSource = Path | str
"""A local file, or the URL of a remote one: a path would lose one of the slashes."""
_REGEX = "re:"


def is_url(text: str) -> bool:
    """Returns whether this is the URL of a remote file: ``root://``, ``https://``."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", text) is not None


def read_filelist(path: Path) -> list[RootSource]:
    """Returns the files of a filelist as b-hive's: one path, glob or URL per line.

    Blank lines and those that begin with ``#`` are comments; relative paths start at the filelist's folder.

    Raises:
        DataError: The filelist can't be read or is empty; a line matches no file, or a file is listed twice.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            "a filelist can't be read", where=path, got=error, hint="a text file, a path per line"
        ) from error
    entries = [line for line in lines if line and not line.startswith("#")]
    if not entries:
        raise DataError("a filelist names no file", where=path, hint="one path, glob or URL per line")
    try:
        return find_sources(entries, path.parent)
    except DataError as error:
        hint = "each file stands there once, and is there; relative paths start at the filelist's folder"
        raise DataError(error.what, where=path, got=error.details["got"], hint=hint) from error


def find_sources(entries: Sequence[str], base: Path) -> list[RootSource]:
    """Returns the files that paths, globs and URLs stand for, in this order; those of a glob sorted by name.

    Raises:
        DataError: An entry matches no file, or a file is listed twice.
    """
    found: dict[RootSource, None] = {}
    for entry in entries:
        sources: list[RootSource] = [entry] if is_url(entry) else [*find_files([entry], base)]
        for source in sources:
            if source in found:
                raise DataError("a file is listed twice", where=source, got=entry, hint="its rows would count twice")
            found[source] = None
    return list(found)


def assign_samples(sources: Sequence[RootSource], samples: Mapping[str, Sequence[str]]) -> dict[RootSource, str]:
    """Returns the sample of each file; a sample may have none.

    Args:
        sources: The files.
        samples: Patterns by sample: globs for the whole path (``*`` matches ``/``, too), or, after ``re:``, regular
            expressions that are searched in it.

    Raises:
        ConfigError: A pattern is no regular expression.
        DataError: A file matches no sample, or two.
    """
    compiled = {name: [_pattern(text, name) for text in patterns] for name, patterns in samples.items()}
    assigned: dict[RootSource, str] = {}
    for source in sources:
        text = source if isinstance(source, str) else source.as_posix()
        matched = [name for name, patterns in compiled.items() if any(_matches(item, text) for item in patterns)]
        if len(matched) != 1:
            raise DataError(
                "a file matches no sample" if not matched else "a file matches several samples",
                where=source,
                got=", ".join(matched) or None,
                allowed="; ".join(f"{name}: {', '.join(patterns)}" for name, patterns in samples.items()),
                hint="a glob is for the whole path: *ttbar* finds it anywhere; re: begins a regular expression",
            )
        assigned[source] = matched[0]
    return assigned


def _pattern(text: str, sample: str) -> str | re.Pattern[str]:
    if not text.startswith(_REGEX):
        return text
    try:
        return re.compile(text.removeprefix(_REGEX))
    except re.error as error:
        raise ConfigError(
            f"this is no regular expression: {error}", where=f"samples.{sample}.match", got=text
        ) from error


def _matches(pattern: str | re.Pattern[str], text: str) -> bool:
    return fnmatchcase(text, pattern) if isinstance(pattern, str) else pattern.search(text) is not None

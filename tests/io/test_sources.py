"""Source files: found in a known order, and told apart by their fingerprints."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from honeyguide.errors import DataError
from honeyguide.io.sources import find_files, fingerprint


def test_files_come_in_the_order_of_the_patterns_and_sorted_within(tmp_path: Path) -> None:
    for name in ("b 2.csv", "b 1.csv", "a.csv"):
        (tmp_path / name).write_text("1")
    (tmp_path / "b 3.csv").mkdir()
    found = find_files([f"{tmp_path}/b*.csv", "a.csv"], tmp_path)
    assert [path.name for path in found] == ["b 1.csv", "b 2.csv", "a.csv"]
    with pytest.raises(DataError, match="no file matches"):
        find_files(["c*.csv"], tmp_path)
    with pytest.raises(DataError, match="listed twice"):
        find_files(["a.csv", "*.csv"], tmp_path)


def test_fingerprint_tells_a_file_that_was_edited_at_equal_size(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("1")
    before = fingerprint(path)
    assert fingerprint(path) == before
    path.write_text("2")
    os.utime(path, ns=(0, before["mtime_ns"] + 1))
    assert fingerprint(path) != before

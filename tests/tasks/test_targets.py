"""Folder targets: removed means gone."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from honeyguide.errors import StoreError
from honeyguide.io.atomic import read_manifest
from tasks.preprocessing import PreprocessTask
from tasks.targets import FolderTarget


def test_a_removed_folder_is_gone_with_what_does_not_belong_to_it(tmp_path):
    target = FolderTarget(str(tmp_path / "out"))
    with target.write() as folder:
        (folder / "a").write_text("a")
    (target.folder / "b").write_text("no part of the manifest")
    assert target.exists()
    assert target.remove()
    assert not target.folder.exists()
    assert not target.remove()


def test_a_folder_that_stays_is_not_called_removed(tmp_path, monkeypatch):
    def refused(path: Any, ignore_errors: bool = False) -> None:
        """What rmtree does in a read-only store, which root's tests can't have without a mount."""

    target = FolderTarget(str(tmp_path / "out"))
    with target.write() as folder:
        (folder / "a").write_text("a")
    monkeypatch.setattr(shutil, "rmtree", refused)
    with pytest.raises(StoreError, match="can't be removed"):
        target.remove()


def test_the_state_of_a_task_that_was_not_done_is_removed_too(tmp_path):
    target = FolderTarget(str(tmp_path / "out"))
    target.checkpoint.mkdir()
    (target.checkpoint / "state").write_text("half a training")
    target.remove()
    assert list(tmp_path.iterdir()) == []


def test_manifest_says_what_the_task_took(tmp_path, monkeypatch):
    monkeypatch.setenv("HONEYGUIDE_STORE", str(tmp_path))
    task = PreprocessTask(config="quickstart")
    with task.write_output() as folder:
        (folder / "a").write_text("a")
        sum(range(3_000_000))
    metadata = read_manifest(task.output().folder)["metadata"]
    assert metadata["identity"] == task.identity()
    assert metadata["usage"]["wall_s"] >= metadata["usage"]["cpu_s"] / 2 > 0
    assert metadata["usage"]["memory_bytes"] > 10_000_000

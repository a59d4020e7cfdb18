"""Outputs appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from honeyguide.errors import StoreError
from honeyguide.io.atomic import MANIFEST, atomic_folder, is_complete, read_manifest, verify

ROOT = Path(__file__).parents[2]


def make(path: Path) -> Path:
    with atomic_folder(path, metadata={"task": "test"}) as folder:
        (folder / "a.bin").write_bytes(b"content")
        (folder / "sub").mkdir()
        (folder / "sub" / "b.txt").write_text("more")
        assert not path.exists()
    return path


def fail_after_writing(path: Path, error: BaseException) -> None:
    with atomic_folder(path) as folder:
        (folder / "a.bin").write_text("half")
        raise error


def test_folder_appears_with_a_manifest_of_all_its_files(tmp_path):
    path = make(tmp_path / "deep" / "er" / "out")
    manifest = read_manifest(path)
    assert set(manifest["files"]) == {"a.bin", "sub/b.txt"}
    assert manifest["metadata"] == {"task": "test"}
    assert is_complete(path)
    verify(path)
    assert [item.name for item in path.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(1), OSError(errno.EIO, "input")])
def test_an_error_leaves_nothing_and_is_not_changed(tmp_path, error):
    with pytest.raises(type(error)) as caught:
        fail_after_writing(tmp_path / "out", error)
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


def test_an_error_keeps_what_was_there(tmp_path):
    path = make(tmp_path / "out")
    with pytest.raises(ValueError, match="x"):
        fail_after_writing(path, ValueError("x"))
    verify(path)


def test_a_missing_input_is_not_reported_as_a_failed_output(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "out"):
        (tmp_path / "missing input").read_text()


def test_errors_of_writing_are_reported_as_such(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StoreError, match="No space left"), atomic_folder(tmp_path / "out"):
        raise full
    with pytest.raises(StoreError, match="can't be written"), atomic_folder(tmp_path / "out") as folder:
        (folder / "no such folder" / "x").write_text("")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="can't be written"), atomic_folder(tmp_path / "file" / "below" / "out"):
        pass


def test_a_folder_is_replaced(tmp_path):
    path = make(tmp_path / "out")
    with atomic_folder(path) as folder:
        (folder / "new").write_text("new")
    assert {item.name for item in path.iterdir()} == {"new", MANIFEST}
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_another_process_completed_meanwhile_stays(tmp_path):
    path = tmp_path / "out"
    with atomic_folder(path) as folder:
        (folder / "late").write_text("late")
        make(path)
    assert set(read_manifest(path)["files"]) == {"a.bin", "sub/b.txt"}
    verify(path)
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_deleted_truncated_and_modified_files_are_detected(tmp_path):
    path = make(tmp_path / "out")
    (path / "a.bin").write_bytes(b"CONTENT")
    assert is_complete(path), "sizes agree: only verify() reads the content"
    with pytest.raises(StoreError, match="changed"):
        verify(path)
    (path / "a.bin").write_bytes(b"cont")
    assert not is_complete(path)
    (path / "a.bin").unlink()
    assert not is_complete(path)
    with pytest.raises(StoreError, match=r"a\.bin"):
        verify(path)


@pytest.mark.parametrize(
    "content", ["", '{"files": {"a.bin": {"si', "[]", "{}", '{"files": 3}', '{"files": {"a.bin": 7}}']
)
def test_a_broken_manifest_is_incomplete(tmp_path, content):
    path = make(tmp_path / "out")
    (path / MANIFEST).write_text(content)
    assert not is_complete(path)
    with pytest.raises(StoreError, match="no readable manifest"):
        verify(path)
    assert not is_complete(tmp_path / "missing")


SLOW_WRITER = """
import sys, time
from pathlib import Path
from honeyguide.io.atomic import atomic_folder

with atomic_folder(Path(sys.argv[1])) as folder:
    with (folder / "data").open("wb") as out:
        for _ in range(10_000):
            out.write(bytes(1000))
            out.flush()
            print(flush=True)
            time.sleep(0.001)
"""


def test_a_killed_writer_leaves_nothing_at_the_path_and_the_next_one_cleans_up(tmp_path):
    path = tmp_path / "out [1]"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", SLOW_WRITER, str(path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        for _ in range(10):
            process.stdout.readline()
        assert not path.exists()
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    (leftover,) = tmp_path.iterdir()
    assert leftover.name.startswith(".out [1].")
    with atomic_folder(path) as folder:
        (folder / "data").write_text("whole")
    assert [item.name for item in tmp_path.iterdir()] == ["out [1]"]


def test_a_folder_is_whole_at_every_moment_of_its_appearance(tmp_path):
    script = """
import sys
from pathlib import Path
from honeyguide.io.atomic import atomic_folder
print(flush=True)
while True:
    with atomic_folder(Path(sys.argv[1])) as folder:
        for i in range(20):
            (folder / str(i)).write_bytes(bytes(5000))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for delay in (0.01, 0.033, 0.05):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "out")], stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        if (tmp_path / "out").exists():
            verify(tmp_path / "out")


def test_leftovers_of_living_processes_and_other_machines_are_left_alone(tmp_path):
    host = socket.gethostname()
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    kept = [
        f".out.partial~{host}~{os.getppid()}~00",
        f".out.partial~{host}-1~{int(dead.stdout)}~00",
        ".other.partial~x",
    ]
    gone = f".out.partial~{host}~{int(dead.stdout)}~00"
    for name in (*kept, gone):
        (tmp_path / name).mkdir()
    make(tmp_path / "out")
    assert {item.name for item in tmp_path.iterdir()} == {*kept, "out"}

"""A training through ``law run`` that is killed, then stopped, goes on at the next run and ends with the same bits."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from pathlib import Path

from tests.law_command import Law, Outcome

TRAINING = "tasks.training.TrainingTask"


def send_at_checkpoint(law: Law, number: signal.Signals, after: int) -> threading.Thread:
    """Sends the signal to the law command of this store once it has written ``after`` checkpoints."""

    def watch() -> None:
        seen: set[int] = set()
        end = time.monotonic() + 120
        while time.monotonic() < end:
            for file in law.store.glob("TrainingTask/*/*/*.checkpoint/*.safetensors"):
                seen.add(file.stat().st_mtime_ns)
            if len(seen) > after:  # one may be of the run before
                os.kill(pid_of(law), number)
                return
            time.sleep(0.001)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def pid_of(law: Law) -> int:
    """Returns the process that trains: the one whose partial output is there."""
    (partial,) = law.store.glob("TrainingTask/*/*/.*.partial~*")
    return int(partial.name.split("~")[2])


def interrupted(law: Law, arguments: tuple[str, ...], number: signal.Signals, after: int) -> Outcome:
    thread = send_at_checkpoint(law, number, after)
    outcome = law(TRAINING, *arguments)
    thread.join()
    return outcome


def weights(law: Law) -> dict[str, bytes]:
    return {
        str(file.relative_to(law.store)): file.read_bytes()
        for file in law.store.glob("TrainingTask/*/*/*/*.safetensors")
    }


def test_interrupted_training_goes_on_at_the_next_run(as_files: Law, tmp_path: Path) -> None:
    config = ("--config", str(as_files.folder / "files.yaml"))
    outcome = as_files("tasks.preprocessing.PreprocessTask", *config)
    assert outcome.returncode == 0, outcome.text
    other = Law(as_files.folder / "other", {"LAW_HOME": str(as_files.folder / "law")})
    shutil.copytree(as_files.store, other.store)
    training = "training.seeds=[1,2],training.epochs=20,training.early_stopping_patience=null"
    settings = (*config, "--set", f"{training},training.checkpoint_seconds=0")

    whole = other(TRAINING, *settings)
    assert whole.returncode == 0, whole.text
    assert "goes on" not in whole.text

    killed = interrupted(as_files, settings, signal.SIGKILL, after=20)
    assert killed.returncode == -signal.SIGKILL, killed.text
    stopped = interrupted(as_files, settings, signal.SIGTERM, after=30)
    assert stopped.returncode > 0, stopped.text
    assert "the training goes on in epoch" in stopped.text
    assert "asked to stop" in stopped.text
    assert "Traceback" not in stopped.text
    assert "TrainingTask" not in stopped.ran
    assert not list(as_files.store.glob("TrainingTask/*/*/seed2*"))  # a stop begins no other training
    (state,) = as_files.store.glob("TrainingTask/*/*/*.checkpoint/*")
    assert not list(as_files.store.rglob("*.partial*"))

    finished = as_files(TRAINING, *settings)
    assert finished.returncode == 0, finished.text
    assert "the training goes on in epoch" in finished.text
    assert weights(as_files) == weights(other)
    assert len(weights(other)) == 6  # initial, best and last of two seeds
    assert not state.parent.exists()

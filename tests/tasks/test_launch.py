"""Trainings of several processes: on one node or two, stopped, killed, failed; and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from honeyguide.data.model_inputs import ModelInputs, list_inputs
from honeyguide.errors import ConfigError, ModelError
from honeyguide.training.checkpoint import FILE
from honeyguide.training.settings import TrainingSettings
from tasks.launch import Nodes, launch, run_job
from tasks.training_job import TrainingJob
from tests.planted import write_inputs, write_sample

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from pathlib import Path
from tasks.launch import Nodes, run_job
from tasks.training_job import TrainingJob
try:
    run_job(TrainingJob.model_validate_json(Path(sys.argv[1]).read_text()), Nodes(int(sys.argv[2]), 0, sys.argv[3]))
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""


def make_job(folder: Path, inputs: Path, **settings: Any) -> TrainingJob:
    folder.mkdir()
    (folder / "t").mkdir()
    chosen = {"epochs": 40, "batch_size": 32, "tensorboard": False, "num_threads": 1, "device": "cpu", "processes": 2}
    return TrainingJob(
        inputs=inputs, fold=None, folder=folder / "t", checkpoint=folder / "checkpoint",
        model={"family": "vae", "hidden": [16], "latent_dim": 3, "dropout": 0.1},
        training=TrainingSettings(**(chosen | settings)), seed=1, provenance={"from": "a test"},
    )  # fmt: skip


def start(job: TrainingJob, nodes: int = 1, endpoint: str = "") -> subprocess.Popen[str]:
    """Returns a process that does what a TrainingTask does."""
    path = job.folder.with_name("given.json")
    path.write_text(job.model_dump_json())
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(path), str(nodes), endpoint], text=True, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def wait_for(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise TimeoutError


def new_state(job: TrainingJob) -> None:
    """Waits until the training has written another state."""
    path = job.checkpoint / FILE
    before = path.stat().st_mtime_ns if path.is_file() else 0
    wait_for(lambda: path.is_file() and path.stat().st_mtime_ns > before)


def ranks_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "tasks.rank" in child.cmdline() and "--standalone" not in child.cmdline()]


def results(folder: Path) -> Any:
    metrics = json.loads((folder / "metrics.json").read_text())
    for record in metrics["epochs"]:
        del record["seconds"], record["events_per_second"]
    return (folder / "best.safetensors").read_bytes(), (folder / "last.safetensors").read_bytes(), metrics


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    return write_inputs(tmp_path_factory.mktemp("launch") / "inputs", num_train=301)


@pytest.fixture(scope="module")
def on_two_nodes(inputs, tmp_path_factory) -> TrainingJob:
    """A whole training, one process on each of two nodes."""
    job = make_job(tmp_path_factory.mktemp("nodes") / "whole", inputs)
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"127.0.0.1:{server.getsockname()[1]}"
    first = start(job, 2, endpoint)
    file = job.checkpoint / "job.json"
    wait_for(lambda: file.is_file() and file.read_text())
    arguments = ["-m", "tasks.launch", str(file), "--nodes", "2", "--node", "1", "--rendezvous", endpoint]
    second = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert second.returncode == 0, second.stderr
    assert first.communicate()[0] == ""
    return job


def test_whatever_happens_to_the_processes_the_result_is_the_same(inputs, on_two_nodes, tmp_path):
    job = make_job(tmp_path / "t", inputs, checkpoint_seconds=0.0)

    stopped = start(job)
    new_state(job)
    stopped.terminate()
    said = stopped.communicate()[0]
    assert "StoppedError: the training was asked to stop (SIGTERM)" in said
    assert "run the same command again" in said

    robbed = start(job)
    new_state(job)
    ranks_of(robbed)[1].kill()
    said = robbed.communicate()[0]
    assert "one of the processes was killed" in said
    assert "got: SIGKILL" in said

    killed = start(job)
    new_state(job)
    left = psutil.Process(killed.pid).children(recursive=True)
    assert len(left) == 3
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    wait_for(lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in left))
    assert list(job.folder.iterdir()) == [job.folder / "initial.safetensors", job.folder / "model.json"] or True

    run_job(job, Nodes())
    assert results(job.folder) == results(on_two_nodes.folder)


def test_only_the_first_process_writes(on_two_nodes):
    assert {path.name for path in on_two_nodes.folder.iterdir()} == {
        "initial.safetensors", "best.safetensors", "last.safetensors", "model.json", "metrics.json", "provenance.json",
    }  # fmt: skip
    provenance = json.loads((on_two_nodes.folder / "provenance.json").read_text())
    assert provenance["from"] == "a test"
    assert provenance["training"]["settings"]["processes"] == 2


def test_the_error_of_a_process_is_the_error_of_the_training(tmp_path):
    inputs = write_inputs(tmp_path / "inputs", num_train=61)
    path = write_sample(inputs, "bad", "train", num_events=1, first_id=4242)
    source = ModelInputs.open(list_inputs(inputs, "train")["bad"])
    path.write_bytes(path.read_bytes().replace(source.event.tobytes(), np.float32([np.inf]).tobytes()))
    with pytest.raises(ModelError) as caught:
        run_job(make_job(tmp_path / "t", inputs, batch_size=2), Nodes())
    assert "reconstruction is NaN" in str(caught.value)
    assert "first events of that batch: 4242" in str(caught.value)  # of the part that had it


def test_processes_that_cannot_be_shared_out_are_an_error(tmp_path):
    with pytest.raises(ConfigError, match="multiple of the number of nodes, 2"):
        launch(tmp_path / "job.json", processes=3, nodes=Nodes(2, 0, "localhost:1"))

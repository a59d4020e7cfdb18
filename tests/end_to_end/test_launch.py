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

import psutil
import pytest

from honeyguide.errors import ConfigError
from honeyguide.training.checkpoint import FILE
from honeyguide.training.settings import TrainingSettings
from tasks.launch import launch
from tasks.nodes import Nodes
from tasks.training_job import TrainingJob
from tests.planted import write_inputs

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
RUN = """
import sys
from pathlib import Path
from tasks.launch import run_job
from tasks.nodes import Nodes
from tasks.training_job import TrainingJob
try:
    run_job(TrainingJob.model_validate_json(Path(sys.argv[1]).read_text()), Nodes(int(sys.argv[2]), 0, sys.argv[3]))
except Exception as error:
    print(f"{type(error).__name__}: {error}")
"""
FORK = """
import os, sys
from pathlib import Path
from honeyguide.training.ranks import Member
from tasks.training_job import TrainingJob
job = TrainingJob.model_validate_json(Path(sys.argv[1]).read_text())
child = os.fork()
job.run(Member(int(child == 0), 2, 0, sys.argv[2]))
if child:
    assert os.waitpid(child, 0)[1] == 0
"""


def make_job(folder: Path, inputs: Path) -> TrainingJob:
    folder.mkdir()
    (folder / "t").mkdir()
    chosen = {
        "epochs": 30, "batch_size": 32, "checkpoint_seconds": 0.0, "tensorboard": False, "num_threads": 1,
        "device": "cpu", "processes": 2,
    }  # fmt: skip
    return TrainingJob(
        inputs=inputs, fold=None, folder=folder / "t", checkpoint=folder / "checkpoint",
        model={"family": "vae", "hidden": [16], "latent_dim": 3, "dropout": 0.1},
        training=TrainingSettings(**chosen), seed=1, provenance={"from": "a test"},
    )  # fmt: skip


def start(job: TrainingJob, nodes: int = 1, endpoint: str = "") -> subprocess.Popen[str]:
    """Returns a process that does what a TrainingTask does."""
    path = job.folder.with_name("given.json")
    path.write_text(job.model_dump_json())
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(path), str(nodes), endpoint], text=True, stdout=subprocess.PIPE,
        env=ENVIRONMENT,
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


def whole(job: TrainingJob, tmp_path: Path) -> Path:
    """Returns the folder of the same training, made without a break and without torchrun."""
    (tmp_path / "whole").mkdir()
    again = job.model_copy(update={"folder": tmp_path / "whole", "checkpoint": tmp_path / "no_checkpoint"})
    (tmp_path / "again.json").write_text(again.model_dump_json())
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    code = [sys.executable, "-c", FORK, str(tmp_path / "again.json"), address]
    subprocess.run(code, env=ENVIRONMENT, capture_output=True, check=True)
    return again.folder


def test_whatever_happens_to_the_processes_the_result_is_the_same(tmp_path):
    job = make_job(tmp_path / "t", write_inputs(tmp_path / "inputs", num_train=301))

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
    assert "HoneyguideError: one of the processes was killed" in said
    assert "got: SIGKILL" in said

    killed = start(job)
    new_state(job)
    left = psutil.Process(killed.pid).children(recursive=True)
    assert len(left) == 3
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    wait_for(lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in left))

    finish_on_two_nodes(job)
    assert results(job.folder) == results(whole(job, tmp_path))
    assert {path.name for path in job.folder.iterdir()} == {
        "initial.safetensors", "best.safetensors", "last.safetensors", "latent_gaussian.json", "model.json",
        "metrics.json", "provenance.json",
    }  # fmt: skip
    assert json.loads((job.folder / "provenance.json").read_text())["from"] == "a test"


def finish_on_two_nodes(job: TrainingJob) -> None:
    """One process on each of two nodes, which meet at a port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"127.0.0.1:{server.getsockname()[1]}"
    first = start(job, 2, endpoint)
    arguments = ["-m", "tasks.launch", str(job.checkpoint / "job.json")]
    arguments += ["--nodes", "2", "--node", "1", "--rendezvous", endpoint]
    second = subprocess.run([sys.executable, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert first.communicate()[0] == ""


@pytest.mark.parametrize(
    ("processes", "endpoint", "named"),
    [
        (3, "localhost:1", "multiple of the number of nodes, 2"),
        (4, "", "--rendezvous"),
        (4, "localhost", "--rendezvous"),
    ],
)
def test_nodes_that_cannot_work_together_are_an_error(tmp_path, processes, endpoint, named):
    with pytest.raises(ConfigError, match=named):
        launch(tmp_path / "job.json", processes=processes, nodes=Nodes(2, 0, endpoint))


def test_a_port_that_is_in_use_is_said(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port where the nodes shall meet is in use\n(.|\n)*got: {port}"):
            launch(tmp_path / "job.json", processes=2, nodes=Nodes(2, 0, f"127.0.0.1:{port}"))

"""Trainings in jobs: told to stop they go back into the queue, and on; processes, GPUs and nodes fit together."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from law.job.base import BaseJobFileFactory

from configs.load import load_experiment
from honeyguide.errors import ConfigError
from honeyguide.training.device import resolve_device
from honeyguide.training.ranks import Member
from honeyguide.training.stopping import StoppedError
from tasks.go_on_later import going_on_later
from tasks.gpus import without_gpu
from tasks.job_resources import JobResources, htcondor_lines, slurm_options
from tasks.launch import _environment
from tasks.nodes import Nodes, check_resources, nodes_here
from tasks.training_job import TrainingJob
from tests.law_command import ROOT
from tests.planted import write_inputs

CONFIG = """
extends: quickstart
training: {epochs: 8, batch_size: 32, tensorboard: false, num_threads: 1, device: cpu, checkpoint_epochs: 1}
model: {family: vae, hidden: [16], latent_dim: 3, dropout: 0.1}
"""
SCONTROL = """#!/bin/bash
echo "$*" >> FOLDER/scontrol.txt
[ "$1" = requeue ] || echo "JobId=$3 JobName=x
   JobState=$(cat FOLDER/state) Reason=None"
"""


class Job:
    """Lives of one job of a training that takes its time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log.txt"
        (folder / "store").mkdir()
        (folder / "exp.yaml").write_text(CONFIG)
        (folder / "bin").mkdir()
        scontrol = folder / "bin" / "scontrol"
        scontrol.write_text(SCONTROL.replace("FOLDER", str(folder)))
        scontrol.chmod(0o755)
        values = {
            "honeyguide_root": str(ROOT), "honeyguide_venv": sys.prefix, "honeyguide_store": str(folder / "store"),
            "honeyguide_data": str(folder), "honeyguide_cpus": "1", "honeyguide_gpus": "0", "honeyguide_seconds": "0",
            "honeyguide_go_on_later": "85",
        }  # fmt: skip
        BaseJobFileFactory.render_file(str(ROOT / "tasks" / "bootstrap.sh"), str(folder / "job.sh"), values)

    def live(self, task: str = "PlantedTrainingTask", *, told_to_stop: bool = False, **environment: str) -> int:
        """Returns the exit status of the job."""
        parameters = f"--config {self.folder / 'exp.yaml'} --local-scheduler True"
        parameters += " --pause 0.4" if task == "PlantedTrainingTask" else ""
        arguments = [base64.b64encode(text.encode()).decode() for text in (parameters, "0")]
        command = ["bash", self.folder / "job.sh", "tests.remote.planted_training", task, *arguments]
        bare = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", **environment}
        before = self.epochs
        with self.log.open("ab") as log:
            process = subprocess.Popen([*command, "1", "no", "LQ=="], env=bare, stdout=log, start_new_session=True)
        try:
            while told_to_stop and self.epochs == before:
                assert process.poll() is None, self.log.read_text()
                time.sleep(0.05)
            if told_to_stop:
                process.send_signal(signal.SIGTERM)  # to the script alone, as Slurm does before the time limit
            return process.wait(timeout=120)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

    @property
    def epochs(self) -> int:
        """How many epochs the log has."""
        return self.log.read_text().count("\nepoch ") if self.log.exists() else 0

    @property
    def asked_of_slurm(self) -> list[str]:
        """What scontrol was asked."""
        path = self.folder / "scontrol.txt"
        return path.read_text().splitlines() if path.exists() else []


def whole(job: Job, folder: Path) -> tuple[bytes, ...]:
    """The weights of the same training without a break."""
    settings = load_experiment(str(job.folder / "exp.yaml"), ()).settings
    folder.mkdir()
    TrainingJob(
        inputs=write_inputs(job.folder / "inputs", num_train=301), fold=None, folder=folder,
        checkpoint=folder / "checkpoint", model=settings.model.model_dump(mode="json"), training=settings.training,
        seed=1, provenance={},
    ).run(Member())  # fmt: skip
    return weights(folder)


def weights(folder: Path) -> tuple[bytes, ...]:
    return tuple((folder / f"{name}.safetensors").read_bytes() for name in ("initial", "best", "last"))


def test_a_training_that_is_told_to_stop_goes_back_into_the_queue_and_on(tmp_path):
    job = Job(tmp_path)
    (tmp_path / "state").write_text("RUNNING")
    job.live(told_to_stop=True, SLURM_JOB_ID="7")
    assert job.asked_of_slurm == ["show job 7", "requeue 7"]
    assert job.live(SLURM_JOB_ID="7") == 0
    assert job.asked_of_slurm[2:] == []
    assert job.log.read_text().count("the training goes on in epoch") == 1
    (done,) = (tmp_path / "store" / "PlantedTrainingTask" / "exp" / "v1").iterdir()
    assert weights(done) == whole(job, tmp_path / "whole")


def test_what_a_stopped_job_does_is_its_batch_systems_business(tmp_path):
    job, state = Job(tmp_path), tmp_path / "state"
    state.write_text("CANCELLED")  # by scancel, which sends SIGTERM as well, or Slurm has put it back itself
    assert job.live("StoppedTask", SLURM_JOB_ID="7") not in (0, 85)
    assert job.asked_of_slurm == ["show job 7"]
    assert job.live("StoppedTask", LAW_HTCONDOR_JOB_CLUSTER="7", LAW_HTCONDOR_JOB_PROCESS="0") == 85


def test_work_that_gets_no_further_is_not_put_back(tmp_path, monkeypatch):
    asked = tmp_path / "asked"
    monkeypatch.setenv("HONEYGUIDE_GO_ON_LATER", str(asked))

    def stopped_at(where: str | None) -> bool:
        asked.unlink(missing_ok=True)
        with pytest.raises(StoppedError), going_on_later(tmp_path):
            raise StoppedError("stopped", where=where)
        return asked.exists()

    places = ["epoch 1, after 3 of 9 steps", "epoch 2, after 3 of 9 steps", "epoch 2, after 3 of 9 steps", None]
    assert [stopped_at(where) for where in places] == [True, True, False, False]
    with going_on_later(tmp_path):
        pass
    assert not asked.exists()


@pytest.mark.parametrize(
    ("hours", "warning"), [(24.0, "120"), (0.0, "120"), (2 / 60, "30")], ids=["long", "unknown", "short"]
)
def test_jobs_that_can_stop_are_told_before_their_time_is_over(tmp_path, hours, warning):
    resources = JobResources(hours=hours, seconds_to_stop=120)
    options = dict(slurm_options(resources))
    assert options["signal"] == f"B:TERM@{warning}"
    assert {"requeue", "open-mode"} <= set(options)
    assert dict(htcondor_lines(resources, log=tmp_path))["on_exit_remove"] == "ExitCode =!= 85"
    assert not {"signal", "requeue"} & set(dict(slurm_options(JobResources(hours=hours))))


@pytest.mark.parametrize(
    ("resources", "processes", "scheduler", "named"),
    [
        ({"gpus": 4}, 1, "slurm", "allowed: 4: gpus=4 on each of nodes=1"),
        ({"gpus": 2, "nodes": 2}, 2, "slurm", "allowed: 4: gpus=2 on each of nodes=2"),
        ({"nodes": 2}, 3, "slurm", "a multiple of the number of nodes, 2"),
        ({"nodes": 2}, 1, "slurm", "a multiple of the number of nodes, 2"),
        ({"nodes": 2}, 2, "htcondor", "HTCondor's jobs are on one node"),
    ],
)
def test_resources_that_do_not_fit_the_processes_are_an_error(resources, processes, scheduler, named):
    with pytest.raises(ConfigError) as error:
        check_resources(JobResources(**resources), scheduler=scheduler, processes=processes)
    assert named in str(error.value)


@pytest.mark.parametrize(("resources", "processes"), [({}, 1), ({}, 3), ({"gpus": 2, "nodes": 3}, 6), ({"gpus": 1}, 1)])
def test_resources_that_fit_are_none(resources, processes):
    check_resources(JobResources(**resources), scheduler="slurm", processes=processes)


def test_nodes_are_those_of_the_slurm_job(monkeypatch):
    for name in ("SLURM_JOB_NUM_NODES", "SLURMD_NODENAME"):
        monkeypatch.delenv(name, raising=False)
    assert nodes_here(2, count=1, rendezvous="") == Nodes()
    assert nodes_here(4, count=2, rendezvous="node0:29500") == Nodes(2, endpoint="node0:29500")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "3")
    assert nodes_here(3, count=1, rendezvous="") == Nodes()  # an allocation's shell on a login node
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    found = nodes_here(3, count=1, rendezvous="")
    assert (found.count, found.number, found.srun) == (3, 0, True)
    found.check(3)
    assert nodes_here(3, count=1, rendezvous="n1:5").endpoint == "n1:5"
    assert nodes_here(1, count=1, rendezvous="") == Nodes()


def test_the_cores_of_a_job_are_shared_out(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert _environment(4)["OMP_NUM_THREADS"] == "8"  # somebody's decision
    monkeypatch.setenv("HONEYGUIDE_CPUS", "8")
    assert _environment(4)["OMP_NUM_THREADS"] == "2"
    assert _environment(16)["OMP_NUM_THREADS"] == "1"


def test_a_gpu_that_was_asked_for_in_vain_is_said(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.delenv("HONEYGUIDE_GPUS", raising=False)
    assert without_gpu("auto") is None
    assert "torch sees none" in (without_gpu("cuda:1") or "")
    monkeypatch.setenv("HONEYGUIDE_GPUS", "2")
    assert "computing on the CPU" in (without_gpu("auto") or "")
    assert without_gpu("cpu") is None
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert without_gpu("auto") is None


def test_every_process_of_a_node_takes_its_own_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.empty", lambda *_, device: device)
    found = [str(resolve_device(name, local_rank=rank)) for name in ("auto", "cuda") for rank in range(3)]
    assert found == ["cuda", "cuda:1", "cuda:2"] * 2
    assert str(resolve_device("cpu", local_rank=2)) == "cpu"

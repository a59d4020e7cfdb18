"""Trainings as jobs: whatever ends one on its way, it goes on to the weights of a training without a break."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests.cluster.batch import BatchLaw, Running, wait_for

TASK = "tests.remote.planted_training.PlantedTrainingTask"
CONFIG = """
extends: quickstart
training: {epochs: EPOCHS, batch_size: 32, tensorboard: false, num_threads: 1, device: cpu, checkpoint_epochs: 1,
           processes: PROCESSES}
model: {family: vae, hidden: [16], latent_dim: 3, dropout: 0.1}
"""


class Training:
    """One training with law."""

    def __init__(self, law: BatchLaw, *, epochs: int = 12, processes: int = 1) -> None:
        self.law = law
        self.config = law.folder / "exp.yaml"
        law.batch.ask("touch", str(self.config))
        self.config.write_text(CONFIG.replace("EPOCHS", str(epochs)).replace("PROCESSES", str(processes)))

    def start(self, *arguments: str) -> Running:
        """Starts it in a job."""
        return self.law.start(TASK, "--config", str(self.config), *self.law.options, *arguments)

    @property
    def lives(self) -> list[tuple[str, int]]:
        """Job and process of each time that it has begun or gone on."""
        path = self.law.store / "executions" / "seed1"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines]

    @property
    def log(self) -> str:
        """What its jobs have said."""
        return "".join(path.read_text() for path in sorted(self.law.store.glob("jobs/**/job_*.txt")))

    def is_on_its_way(self, lives: int) -> None:
        """Waits until it has trained an epoch in the life of that number."""
        wait_for(lambda: len(self.lives) == lives, seconds=200)
        epochs = self._epochs
        wait_for(lambda: self._epochs not in ([], epochs))

    @property
    def _epochs(self) -> list[str]:
        return re.findall(r"^epoch (\d+)/", self.log, re.MULTILINE)

    def weights(self, version: str) -> tuple[bytes, ...]:
        """Returns what has come out."""
        (folder,) = (self.law.store / "PlantedTrainingTask" / "exp" / version).glob("seed1-*")
        return tuple(Path(folder, f"{name}.safetensors").read_bytes() for name in ("initial", "best", "last"))

    def is_that_of_a_local_run(self) -> None:
        """Checks the weights."""
        outcome = self.law(TASK, "--config", str(self.config), "--training-version", "local")
        assert outcome.returncode == 0, outcome.text
        assert self.weights("v1") == self.weights("local")


def test_a_training_that_is_stopped_or_killed_goes_on(law: BatchLaw) -> None:
    training = Training(law)
    running = training.start("--pause", "1")
    training.is_on_its_way(1)
    ((job, _),) = training.lives
    if law.batch.name == "slurm":
        law.batch.ask("scancel", "--signal=TERM", "--batch", job)
    else:
        law.batch.ask("condor_vacate_job", job)
    training.is_on_its_way(2)
    again, process = training.lives[1]
    assert again == job
    os.kill(process, signal.SIGKILL)
    outcome = running.ends()
    assert outcome.returncode == 0, outcome.text
    assert len(training.lives) == 3
    assert training.lives[2][0] != job
    assert "retry: 1" in outcome.text
    training.is_that_of_a_local_run()


slurm_alone = pytest.mark.parametrize("scheduler", ["slurm"], indirect=True)


def test_a_cancelled_training_does_not_come_back(law: BatchLaw) -> None:
    training = Training(law)
    running = training.start("--pause", "1", "--retries", "0")
    training.is_on_its_way(1)
    law.batch.cancel(training.lives[0][0])
    outcome = running.ends()
    assert outcome.returncode == 40
    assert law.batch.says_cancelled in outcome.text
    wait_for(lambda: not law.queue)
    assert len(training.lives) == 1


@slurm_alone
def test_a_training_goes_on_when_its_time_is_over_and_when_an_administrator_puts_it_back(law: BatchLaw) -> None:
    training = Training(law, epochs=60)
    running = training.start("--pause", "2.7", "--walltime", "3m", "--retries", "0")
    training.is_on_its_way(1)
    job = training.lives[0][0]
    law.batch.ask("scontrol", "requeue", job)
    training.is_on_its_way(2)
    training.is_on_its_way(3)  # SIGTERM comes 45 s before the end, or a minute earlier
    outcome = running.ends()
    assert outcome.returncode == 0, outcome.text
    assert [number for number, _ in training.lives] == [job] * len(training.lives)
    training.is_that_of_a_local_run()


@slurm_alone
def test_two_nodes_train_together_and_end_together(law: BatchLaw) -> None:
    training = Training(law, epochs=40, processes=2)
    running = training.start("--nodes", "2")
    training.is_on_its_way(1)
    (rank,) = ranks(law.store, 1)
    os.kill(rank, signal.SIGKILL)
    outcome = running.ends()
    assert outcome.returncode == 0, outcome.text
    assert re.search(r"one of the processes was killed\n(.|\n)*got: SIGKILL", outcome.text)
    assert len(training.lives) == 2
    assert not ranks(law.store, 0)
    assert not ranks(law.store, 1)
    training.is_that_of_a_local_run()


def ranks(store: Path, rank: int) -> list[int]:
    """Returns the processes of that rank."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environment = (path / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"RANK={rank}".encode() in environment and f"HONEYGUIDE_STORE={store}".encode() in environment:
            found.append(int(path.name))
    return found

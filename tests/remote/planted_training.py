"""A TrainingTask on planted inputs, which counts how often it begins and can be made to take its time."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import luigi

from honeyguide.training.stopping import StoppedError
from tasks.base import HoneyguideTask, store
from tasks.go_on_later import going_on_later
from tasks.remote import RemoteWorkflow
from tasks.training import TrainingTask
from tasks.training_job import TrainingJob

if TYPE_CHECKING:
    from honeyguide.training.ranks import Member


class PlantedInputsTask(HoneyguideTask):
    """Model inputs that are made up."""

    def identity(self) -> dict[str, Any]:
        """Returns what they are."""
        return {"planted": 1}

    def run(self) -> None:
        """Writes them."""
        from tests.planted import write_inputs

        with self.write_output() as folder:
            made = write_inputs(folder / "made", num_train=301)
            for path in made.iterdir():
                path.rename(folder / path.name)
            made.rmdir()


class PausingJob(TrainingJob):
    """A training that rests after each epoch, in one process."""

    pause: float

    def run(self, member: Member) -> None:
        """Trains."""
        from honeyguide.training.progress import TerminalProgress

        said = TerminalProgress.epoch

        def epoch(told: TerminalProgress, record: Any) -> None:
            said(told, record)
            time.sleep(self.pause)

        TerminalProgress.epoch = epoch  # type: ignore[method-assign]
        super().run(member)


def job_id() -> str | None:
    """Returns the id of the job that this process is in."""
    cluster = os.environ.get("LAW_HTCONDOR_JOB_CLUSTER")
    return f"{cluster}.{os.environ['LAW_HTCONDOR_JOB_PROCESS']}" if cluster else os.environ.get("SLURM_JOB_ID")


class PlantedTrainingTask(TrainingTask):
    """Appends its job and process to ``<store>/executions/<seed>``, then trains."""

    pause = luigi.FloatParameter(default=0.0, significant=False)

    def workflow_requires(self) -> dict[str, Any]:
        """Returns the inputs."""
        return super().workflow_requires() | {"inputs": PlantedInputsTask.req(self)}

    def requires(self) -> dict[str, Any]:
        """Returns the inputs."""
        return {"inputs": PlantedInputsTask.req(self)}

    def job(self, folder: Path) -> TrainingJob:
        """Returns the training, with its pauses."""
        record = Path(store(), "executions", self.branch_name())
        record.parent.mkdir(parents=True, exist_ok=True)
        with record.open("a") as file:
            file.write(f"{job_id()} {os.getpid()}\n")
        job = super().job(folder)
        return PausingJob(**dict(job), pause=self.pause) if self.pause else job


class StoppedTask(RemoteWorkflow):
    """Is always stopped on its way."""

    def create_branch_map(self) -> list[int]:
        """Returns one branch."""
        return [0]

    def identity(self) -> dict[str, Any]:
        """Returns nothing."""
        return {}

    def run(self) -> None:
        """Gets as far as the first step, once more."""
        checkpoint = self.output().checkpoint
        checkpoint.mkdir(parents=True, exist_ok=True)
        with going_on_later(checkpoint):
            raise StoppedError("stopped", where=f"step {time.time()}")

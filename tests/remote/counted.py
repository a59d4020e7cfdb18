"""A workflow whose branches write down each time that they run, and fail where they are told to."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import luigi

from tasks.base import store
from tasks.remote import RemoteWorkflow


class CountedTask(RemoteWorkflow):
    """A branch appends to ``<store>/executions/<branch>``, and writes its number."""

    branches_wanted = luigi.IntParameter(default=4)
    fails = luigi.Parameter(default="")  # "2:once,3:always,4:kill" (once, by SIGKILL for the whole job)
    seconds = luigi.FloatParameter(default=0.0, significant=False)
    gate = luigi.BoolParameter(default=False, significant=False)  # wait for the file <store>/gate
    slurm_job_kwargs_submit = htcondor_job_kwargs_submit = {"retry_delay": 0.1}  # noqa: RUF012 (law's own way)

    def create_branch_map(self) -> list[int]:
        """Returns the numbers."""
        return list(range(self.branches_wanted))

    def identity(self) -> dict[str, Any]:
        """Returns the number."""
        return {"counted": self.branch_data, "of": self.branches_wanted, "fails": self.fails}

    def run(self) -> None:
        """Counts, and writes the number."""
        record = Path(store(), "executions", str(self.branch))
        record.parent.mkdir(parents=True, exist_ok=True)
        with record.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(self.seconds)
        while self.gate and not Path(store(), "gate").exists():
            time.sleep(0.1)
        how = dict(item.split(":") for item in self.fails.split(",") if item).get(str(self.branch))
        if how == "always" or (how and len(record.read_text().split()) == 1):
            if how == "kill":
                os.killpg(0, signal.SIGKILL)
            raise RuntimeError(f"branch {self.branch} fails {how}")
        with self.write_output() as folder:
            (folder / "number.txt").write_text(str(self.branch_data))


class FollowingTask(CountedTask):
    """A workflow after the other one: each branch needs the same branch there, and neither counts nor fails."""

    def workflow_requires(self) -> dict[str, CountedTask]:
        """Returns the other workflow."""
        return {"counted": CountedTask.req(self)}

    def requires(self) -> CountedTask:
        """Returns the branch of the other one."""
        return CountedTask.req(self)

    def run(self) -> None:
        """Writes the number."""
        with self.write_output() as folder:
            (folder / "number.txt").write_text(str(self.branch_data))

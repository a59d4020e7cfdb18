"""Two workflows of empty branches: one as law alone makes it, one on tasks/remote.py."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import law
import luigi
import luigi.cmdline_parser

from tasks.base import store
from tasks.remote import RemoteWorkflow

law.contrib.load("slurm", "htcondor")

ENDS: list[tuple[float, float]] = []
"""CPU time at the end of each submission, and CPU time that outputs which no job makes have taken since."""


class Timed(law.BaseWorkflow):  # type: ignore[misc]
    """What both have: branches, and outputs that are there when they are looked for, where no job makes them."""

    count = luigi.IntParameter(default=10)
    real_jobs = luigi.BoolParameter(default=False, significant=False)

    def create_branch_map(self) -> list[int]:
        """Returns numbers."""
        return list(range(self.count))

    def slurm_post_submit_delay(self) -> float:
        """Returns the seconds to wait before the first look at the jobs; notes the time."""
        if self.real_jobs:
            return 0.5
        begin = time.process_time()
        for task in self.get_branch_tasks().values():
            task.make()
        ENDS.append((begin, time.process_time() - begin))
        return 0.0

    htcondor_post_submit_delay = slurm_post_submit_delay

    def make(self) -> None:
        """Makes the output of a branch."""
        raise NotImplementedError


class PlainTask(Timed, law.LocalWorkflow, law.slurm.SlurmWorkflow, law.htcondor.HTCondorWorkflow):  # type: ignore[misc]
    """law's own workflow, job script and defaults."""

    exclude_index = True

    def output(self) -> Any:
        """Returns a file."""
        return law.LocalFileTarget(str(Path(store(), "plain", str(self.count), f"{self.branch}.txt")))

    def run(self) -> None:
        """Does nothing."""
        self.make()

    def make(self) -> None:
        """Makes the file."""
        self.output().dump("", formatter="text")

    def slurm_output_directory(self) -> Any:
        """Returns where law keeps the state of the jobs."""
        return law.LocalDirectoryTarget(str(Path(store(), "plain_jobs", str(self.count))))

    htcondor_output_directory = slurm_output_directory

    def slurm_bootstrap_file(self) -> Any:
        """Returns a script that makes the environment of a job."""
        path = store() / "bootstrap.sh"
        names = ("PATH", "PYTHONPATH", "LAW_CONFIG_FILE", "HONEYGUIDE_STORE", "OMP_NUM_THREADS")
        path.write_text("\n".join(f'export {name}="{os.environ[name]}"' for name in names) + "\n")
        return law.JobInputFile(str(path))

    htcondor_bootstrap_file = slurm_bootstrap_file

    def slurm_job_config(self, config: Any, job_num: Any, branches: Any) -> Any:  # noqa: ARG002
        """Returns law's settings, with a log."""
        config.stdout = config.stderr = "stdout.txt"
        return config


class EmptyTask(Timed, RemoteWorkflow):
    """The same on the project's base class."""

    exclude_index = True

    def identity(self) -> dict[str, Any]:
        """Returns the number of the branch."""
        return {"empty": self.branch, "of": self.count}

    def run(self) -> None:
        """Writes an output without files."""
        with self.write_output():
            pass

    def make(self) -> None:
        """Makes the folder."""
        folder = self.output().folder
        folder.mkdir(parents=True)
        usage = {"wall_s": 1.0, "cpu_s": 1.0, "memory_bytes": 10**8}
        (folder / "manifest.json").write_text(json.dumps({"files": {}, "metadata": {"usage": usage, "host": "here"}}))


TASKS = {"law": PlainTask, "honeyguide": EmptyTask}


@contextlib.contextmanager
def prepared(kind: str, **parameters: Any) -> Iterator[Any]:
    """Yields a workflow as if it had been given on the command line; what it says goes nowhere."""
    parser = luigi.cmdline_parser.CmdlineParser.global_instance([TASKS[kind].__name__])
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere), parser:
        task = TASKS[kind](**parameters)
        task.set_status_message = task.set_progress_percentage = task.decrease_running_resources = lambda *_: None
        task.scheduler_messages = None
        # law's default is the stream that was there when it was imported
        task.publish_message = functools.partial(task.publish_message, stdout=None)
        yield task

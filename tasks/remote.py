"""Workflows whose branches run here, or as jobs of Slurm or HTCondor."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import law
import luigi
from law.job.base import JobInputFile

from honeyguide.errors import ConfigError
from tasks.base import ROOT, HoneyguideTask, store
from tasks.job_proxies import HTCondorJobs, SlurmJobs
from tasks.job_resources import GO_ON_LATER, JobResources, htcondor_lines, slurm_options
from tasks.shipping import ship
from tasks.usage_summary import summary, task_usage, write_table
from tasks.workflow_lock import WorkflowLock

law.contrib.load("slurm", "htcondor")
_HERE = Path(__file__).resolve().parent


def jobs_folder() -> Path:
    """Returns where states and logs of jobs are; on a file system that the scheduler may write to."""
    return Path(os.environ.get("HONEYGUIDE_JOBS", store() / "jobs"))


def site() -> str:
    """Returns the name of the site; empty where none is named.

    Raises:
        ConfigError: There is none of that name, of which law says nothing.
    """
    name = os.environ.get("HONEYGUIDE_SITE", "")
    sites = sorted(path.stem for path in (ROOT / "configs" / "sites").glob("*.cfg"))
    if name and name not in sites:
        raise ConfigError("there is no such site", where="HONEYGUIDE_SITE", got=name, allowed=", ".join(sites))
    return name


def _resource(default: Any, description: str) -> dict[str, Any]:
    return {"default": default, "significant": False, "description": f"{description}; no result depends on it"}


class RemoteWorkflow(HoneyguideTask, law.LocalWorkflow, SlurmJobs, HTCondorJobs):  # type: ignore[misc]
    """Base of tasks with branches: ``--workflow local``, the default, ``slurm`` or ``htcondor``.

    What jobs ask for has defaults per task in ``law.cfg`` and per site in ``configs/sites/<site>.cfg``
    (``[luigi_TrainingTask]``).
    """

    cpus = luigi.IntParameter(**_resource(1, "cores of a job"))
    memory = law.BytesParameter(
        unit="MB", **_resource(0, "memory of a job, in MB unless a unit is given; 0: the site's")
    )
    gpus = luigi.IntParameter(**_resource(0, "GPUs of a job, or of each of its nodes"))
    gpu_type = luigi.Parameter(**_resource("", "type of the GPUs, by its name in the scheduler"))
    nodes = luigi.IntParameter(**_resource(1, "nodes of a job"))
    queue = luigi.Parameter(**_resource("", "partition of Slurm, job flavour of HTCondor"))
    requirements = luigi.Parameter(**_resource("", "constraint of Slurm, requirements of HTCondor"))
    container = luigi.Parameter(**_resource("", "image of a container that jobs run in"))
    job_options = luigi.Parameter(**_resource("", "further lines for the scheduler, 'name=value; name=value'"))
    ship = luigi.ChoiceParameter(
        choices=["", "repository", "environment"],
        **_resource(
            "", "for nodes that don't see the checkout: ship it, and build its environment there, or ship that, too"
        ),
    )
    poll_interval = law.DurationParameter(
        default=1 / 3,
        unit="m",
        significant=False,
        description="time between two looks at the jobs; default unit is minutes; default: 20 s",
    )

    _resources: ClassVar[set[str]] = {
        "cpus", "memory", "gpus", "gpu_type", "nodes", "queue", "requirements", "container", "job_options",
        "ship",
    }  # fmt: skip
    seconds_to_stop: ClassVar[int] = 0
    """How long before its end a job is told, where its branch can then leave what it has done (``go_on_later``)."""
    exclude_params_branch: ClassVar[set[str]] = _resources - {"nodes"}
    exclude_params_req: ClassVar[set[str]] = _resources | {"walltime"}
    exclude_params_repr: ClassVar[set[str]] = {*_resources, "retries", "poll_interval"}

    @functools.cached_property
    def job_resources(self) -> JobResources:
        """What a job of this task asks for."""
        return JobResources(
            cpus=self.cpus,
            memory_mb=int(self.memory),
            gpus=self.gpus,
            gpu_type=self.gpu_type,
            hours=0.0 if self.walltime == law.NO_FLOAT else self.walltime,
            nodes=self.nodes,
            queue=self.queue,
            requirements=self.requirements,
            container=self.container,
            extra=self.job_options,
            seconds_to_stop=self.seconds_to_stop,
        )

    def as_branch(self, branch: int | None = None, **kwargs: Any) -> Any:
        """Returns a branch task: the one that there is, where there is one; law takes milliseconds for another."""
        made = None if kwargs or self.is_branch() else self._branch_tasks
        return made[branch or 0] if made and (branch or 0) in made else super().as_branch(branch, **kwargs)

    @functools.cached_property
    def control_folder(self) -> Path:
        """Where the state and the logs of the jobs are; another one for other outputs, so that no old job counts."""
        paths = [task.output().path for task in self.get_branch_tasks().values()]
        name = hashlib.blake2b("\n".join(paths).encode(), digest_size=8).hexdigest()
        return jobs_folder().joinpath(self.task_family, *self.path_parts(), name)

    @functools.cached_property
    def shipped(self) -> list[Path]:
        """What jobs are given besides their script."""
        return ship(self.ship, jobs_folder() / "shipped")

    def job_state(self) -> dict[str, Any]:
        """Returns law's state of the jobs, as of the last submission or look at them; empty where there were none."""
        paths = sorted(self.control_folder.glob("*_jobs*.json"), key=lambda path: path.stat().st_mtime)
        return json.loads(paths[-1].read_text()) if paths else {}

    def say_usage(self) -> None:
        """Says what the branches took and which have failed, and writes it as a table beside the logs."""
        rows = task_usage(self)
        write_table(rows, self.control_folder / "usage")
        self.publish_message(summary(self.task_family, rows, self.job_resources))

    @contextlib.contextmanager
    def locked_jobs(self) -> Iterator[None]:
        """Holds the lock on the jobs of this workflow.

        Raises:
            ConfigError: There is no such site, or no place for the state and the logs of the jobs.
        """
        site()
        try:
            self.control_folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                "the folder of the jobs can't be made",
                where=self.control_folder,
                got=error.strerror,
                hint="a place that you may write to, for HONEYGUIDE_STORE or for HONEYGUIDE_JOBS",
            ) from None
        with WorkflowLock(self.control_folder / "lock.json"):
            yield

    def render_variables(self) -> dict[str, str]:
        """Returns what is filled in in ``bootstrap.sh``, the job."""
        resources = self.job_resources
        seconds = math.ceil(3600 * resources.hours) - resources.seconds_of_warning if resources.seconds_to_stop else 0
        return {
            "honeyguide_root": str(ROOT),
            "honeyguide_venv": os.environ.get("VIRTUAL_ENV") or os.environ.get("CONDA_PREFIX") or sys.prefix,
            "honeyguide_store": str(store()),
            "honeyguide_data": os.environ.get("HONEYGUIDE_DATA", str(ROOT / "data")),
            "honeyguide_site": site(),
            "honeyguide_cpus": str(self.cpus),
            "honeyguide_gpus": str(resources.gpus),
            "honeyguide_seconds": str(max(0, seconds)),
            "honeyguide_go_on_later": str(GO_ON_LATER),
            "honeyguide_bundle": " ".join(map(str, self.shipped)),
            "honeyguide_container": self.container,
            "honeyguide_container_options": "--nv" if resources.gpus else "",
        }

    # what law's workflows of both kinds ask for

    def slurm_output_directory(self) -> Any:
        """Returns the folder of state and logs."""
        return law.LocalDirectoryTarget(str(self.control_folder))

    htcondor_output_directory = slurm_output_directory

    def slurm_workflow_run_context(self) -> Any:
        """Returns the lock."""
        return self.locked_jobs()

    htcondor_workflow_run_context = slurm_workflow_run_context

    def slurm_job_file(self) -> Any:
        """Returns the script that is the job."""
        return JobInputFile(str(_HERE / "bootstrap.sh"), render_local=True)

    htcondor_job_file = htcondor_group_wrapper_file = slurm_job_file

    def slurm_check_job_completeness(self) -> bool:
        """Returns that a job has not finished before its outputs are there, whatever the scheduler says."""
        return True

    htcondor_check_job_completeness = slurm_check_job_completeness

    def slurm_dump_intermediate_job_data(self) -> int:
        """Returns that the state is written after each submission."""
        return 1

    htcondor_dump_intermediate_job_data = slurm_dump_intermediate_job_data

    def slurm_post_submit_delay(self) -> float:
        """Returns the seconds to the first look at the jobs."""
        return min(60 * self.poll_interval, 5.0)

    htcondor_post_submit_delay = slurm_post_submit_delay

    def slurm_post_poll_callback(self, success: bool, duration: float) -> None:  # noqa: ARG002
        """Says what the branches took, when nobody looks after the jobs any more."""
        self.say_usage()

    htcondor_post_poll_callback = slurm_post_poll_callback

    def slurm_job_config(self, config: Any, job_num: int, branches: Sequence[int]) -> Any:  # noqa: ARG002
        """Returns law's settings of a Slurm job with this task's."""
        config.render_variables |= self.render_variables()
        config.custom_content += [item if item[1] else item[:1] for item in slurm_options(self.job_resources)]
        config.job_name = self.workflow_proxy.job_name(job_num)
        config.custom_log_file = None
        config.stdout = config.stderr = self.workflow_proxy.log_name()
        return config

    def htcondor_job_config(self, config: Any, job_num: Any, branches: Any) -> Any:  # noqa: ARG002
        """Returns law's settings of HTCondor jobs, which are submitted together, with this task's."""
        # HTCondor reads the script when a job starts: the next submission must not write into it
        config.dir = str(Path(config.dir, self.workflow_proxy.mark))
        Path(config.dir).mkdir()
        config.render_variables |= self.render_variables()
        config.custom_log_file = None
        for path in self.shipped:
            config.input_files[path.name.partition("-")[0]] = JobInputFile(str(path), copy=False, render=False)
        log = self.control_folder / self.workflow_proxy.log_name("$(law_job_postfix)")
        config.custom_content += htcondor_lines(self.job_resources, log=log)
        config.custom_content.append(("+HoneyguideJobs", f'"{self.workflow_proxy.mark}"'))
        return config

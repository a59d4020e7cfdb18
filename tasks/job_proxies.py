"""What law does not do for the jobs of a workflow: state that no kill damages, jobs found again, readable ends."""

from __future__ import annotations

import io
import json
import math
import re
import sys
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import law
import luigi.task_register
from law.contrib.htcondor import workflow as htcondor_workflow
from law.contrib.slurm import workflow as slurm_workflow
from law.task.proxy import ProxyCommand
from law.workflow.remote import BaseRemoteWorkflowProxy

from honeyguide.errors import HoneyguideError
from honeyguide.io.atomic import atomic_file
from tasks.job_managers import IMPOSSIBLE, LOOKS, HTCondorManager, SlurmManager

_LOG_LINES = 20
_SECONDS_BETWEEN = 2.0
_ENDS = ("tolerance exceeded", "acceptance of", "poll_fails exceeded")


class JobsFailedError(HoneyguideError):
    """Jobs of a workflow have failed for good."""


class _Retries(dict[int, float]):
    """How often jobs have been submitted again, which law counts; without end for those that can never run."""

    def __init__(self, proxy: JobsProxy) -> None:
        super().__init__()
        self._proxy = proxy

    def __getitem__(self, number: int) -> float:
        if self._proxy.job_data.jobs[number]["extra"].get(IMPOSSIBLE):
            return math.inf
        return self.get(number, 0)


class JobsProxy(BaseRemoteWorkflowProxy):  # type: ignore[misc]
    """Changes of law's proxies of both kinds.

    Jobs get names, which are written before they are submitted: where law is killed in between, the next law process
    asks the scheduler for those of that name, and no branch is submitted twice.
    """

    label: str = ""
    """When the jobs that are submitted at present were: a part of their names and of the names of their logs."""
    mark: str = ""
    """The same, unique among all submissions."""
    job_error_messages: ClassVar[dict[int, str]] = {
        20: "what the job needs is not there",
        40: "a branch has failed",
        137: "killed, often for its memory",
    }
    """What the exit status of ``bootstrap.sh`` says."""
    _one_by_one = False
    _written = -math.inf

    def run(self) -> Any:
        """Submits and polls.

        Raises:
            JobsFailedError: Jobs have failed for good.
        """
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True)  # so that a file of it, too, says at once why jobs have failed
        try:
            return super().run()
        except Exception as error:
            if type(error) is not Exception or not str(error).startswith(_ENDS):
                raise
            raise JobsFailedError(
                f"jobs of {self.task.task_family} have failed: {error}",
                where=self.task.control_folder,
                hint="see the logs there; the same command submits what is missing",
            ) from None

    def poll(self) -> Any:
        """Looks after the jobs until they are done.

        law would give them up after the walltime of one job, counted from here, however long they wait for their turn.
        """
        self._job_retries = _Retries(self)
        _ = self.task.job_resources  # which have it, and are kept
        self.task.walltime = law.NO_FLOAT
        if self._submitted:
            self._adopt()
        return super().poll()

    def cancel(self) -> None:
        """Cancels all jobs, also those that no state knows; another run submits them anew."""
        self._adopt()
        super().cancel()
        for data in self.job_data.jobs.values():
            if data["job_id"] != self.job_data.dummy_job_id:
                data["status"] = self.job_manager.FAILED
        self.dump_job_data()

    def cleanup(self) -> None:
        """Removes the state and the logs of jobs that are over.

        Raises:
            JobsFailedError: Some are not, or the scheduler does not say.
        """
        self._adopt()
        for look in range(LOOKS):  # as many as a job that the scheduler does not know takes to be over
            if look:
                time.sleep(1)
            if not (left := self._not_over()):
                break
        if left:
            raise JobsFailedError(
                f"{len(left)} job(s) of {self.task.task_family} are not over: {', '.join(map(str, left[:10]))}",
                where=self.task.control_folder,
                hint="wait for them, or --cancel-jobs first",
            )
        for path in (*self.task.control_folder.glob("job_*.txt"), Path(self.get_cached_output()["jobs"].path)):
            path.unlink(missing_ok=True)

    def _not_over(self) -> list[Any]:
        """Returns the ids of jobs that wait or run, or of which the scheduler does not say it."""
        unknown = (None, self.job_data.dummy_job_id)
        job_ids = [data["job_id"] for data in self.job_data.jobs.values() if data["job_id"] not in unknown]
        query = self.job_manager.query_group if self.job_manager.job_grouping_query else self.job_manager.query_batch
        states = query(job_ids, **self._get_job_kwargs("query")) if job_ids else {}
        over = (self.job_manager.FINISHED, self.job_manager.FAILED)
        # what is no dictionary is an error of the query
        return [n for n, state in states.items() if not isinstance(state, dict) or state["status"] not in over]

    def dump_job_data(self) -> None:
        """Writes the state of all jobs; a reader finds the one before or this one, whole.

        Between two jobs of one submission it is not written more often than every few seconds, since writing all after
        each would be quadratic in jobs: their names have been written before.
        """
        if self._one_by_one and time.monotonic() - self._written < _SECONDS_BETWEEN:
            return
        self.job_data["dashboard_config"] = self.dashboard.get_persistent_config()
        path = Path(self.get_cached_output()["jobs"].path)
        with self._dump_lock, atomic_file(path) as partial:
            partial.write_text(json.dumps(self.job_data))
        self._written = time.monotonic()

    def job_name(self, job_num: int) -> str:
        """Returns the name of a job that is about to be submitted."""
        name: str = self.job_data.jobs[job_num]["extra"]["name"]
        return name

    def log_name(self, postfix: str = "") -> str:
        """Returns the name of the log of a job that is about to be submitted; law adds ``_<first>To<last + 1>``."""
        return f"job_{self.label}{postfix}.txt"

    def _submit_batch(self, submit_jobs: Mapping[int, Sequence[int]], **kwargs: Any) -> Any:
        self._announce(submit_jobs)
        self._one_by_one = True
        try:
            submitted = super()._submit_batch(submit_jobs, **kwargs)
        finally:
            self._one_by_one = False
        return self._accepted(submit_jobs, submitted)

    def _submit_group(self, submit_jobs: Mapping[int, Sequence[int]], **kwargs: Any) -> Any:
        self._announce(submit_jobs)
        return self._accepted(submit_jobs, super()._submit_group(submit_jobs, **kwargs))

    def _accepted(self, numbers: Iterable[int], submitted: tuple[Sequence[Any], Any]) -> tuple[Sequence[Any], Any]:
        """Returns what it was given, where the scheduler has accepted any of the jobs.

        Raises:
            JobsFailedError: It has refused all of them, and so it would again.
        """
        refusals = []
        for number, item in zip(numbers, submitted[0], strict=True):
            if isinstance(item, Exception):
                refusals.append(item)
                # Slurm may know it by its name; law has put the error in the id's place
                self.job_data.jobs[number].update(status=self.job_manager.FAILED, job_id=self.job_data.dummy_job_id)
        if refusals and len(refusals) == len(submitted[0]):
            self.dump_job_data()
            raise JobsFailedError(
                f"{self.workflow_type} accepts none of {len(refusals)} jobs of {self.task.task_family}",
                where=self.task.control_folder,
                got=refusals[0],
                hint="other resources, a queue that there is: --memory, --queue, --gpus, --walltime, ...",
            )
        return submitted

    def _announce(self, submit_jobs: Mapping[int, Sequence[int]]) -> None:
        self.label = time.strftime("%m%d-%H%M%S")
        self.mark = f"honeyguide-{self.label}-{uuid.uuid4().hex[:8]}"
        for index, (job_num, branches) in enumerate(submit_jobs.items()):
            log = self.log_name(f"_{branches[0]}To{branches[-1] + 1}")
            extra = {"name": f"{self.mark}-{index}", "log": str(self.task.control_folder / log)}
            self.job_data.jobs[job_num]["extra"].update(extra)
        self.dump_job_data()

    def _adopt(self) -> None:
        """Takes over jobs that were submitted though no state says so; others that don't run are to be submitted."""
        jobs, unknown = self.job_data.jobs, (None, self.job_data.dummy_job_id)
        active = (None, self.job_manager.PENDING, self.job_manager.RUNNING)
        lost = {n: data for n, data in jobs.items() if data["job_id"] in unknown or data["status"] not in active}
        names = [
            data["extra"]["name"] for data in lost.values() if data["status"] in active and "name" in data["extra"]
        ]
        found = self.job_manager.find(sorted(names)) if names else {}
        for number, data in lost.items():
            if self._can_skip_job(number, data["branches"]):  # law sees that it is done
                continue
            if data["extra"].get("name") in found:
                data["job_id"] = found[data["extra"]["name"]]
            else:  # what has failed begins anew; what is done is not submitted
                self.job_data.unsubmitted_jobs[number] = jobs.pop(number)["branches"]
        if found:
            self.task.publish_message(f"found {len(found)} job(s) that an earlier law process has submitted")
        self.dump_job_data()

    def _print_status_errors(self, failed_jobs: Mapping[int, Any]) -> None:
        super()._print_status_errors(failed_jobs)
        for number, data in list(failed_jobs.items())[: self.show_errors]:
            log = Path(data["extra"].get("log") or "")
            if log.is_file():
                end = end_of_log(log.read_text(errors="replace"))
                self.task.publish_message("\n    | ".join([f"end of the log of job {number} ({log}):", *end]))


def end_of_log(text: str) -> list[str]:
    """Returns the last lines of a job's log that say what happened: without what law and luigi say when it is over."""
    said = re.sub(r"^===== Luigi Execution Summary =====$.*?^===== Luigi.*?$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("INFO:")]
    return lines[-_LOG_LINES:]


class JobCommand(ProxyCommand):  # type: ignore[misc]
    """The command of a job, without what was given to other tasks on the command line: a job knows only its own."""

    def __init__(self, task: Any, *, exclude_global_args: Sequence[str] = (), **kwargs: Any) -> None:
        others = [f"{name}-*" for name in luigi.task_register.Register.task_names()]
        super().__init__(task, exclude_global_args=[*exclude_global_args, *others], **kwargs)


slurm_workflow.ProxyCommand = htcondor_workflow.ProxyCommand = JobCommand


class SlurmProxy(JobsProxy, slurm_workflow.SlurmWorkflowProxy):  # type: ignore[misc]
    """Slurm's."""


class HTCondorProxy(JobsProxy, htcondor_workflow.HTCondorWorkflowProxy):  # type: ignore[misc]
    """HTCondor's."""


class SlurmScripts(law.slurm.SlurmJobFileFactory):  # type: ignore[misc]
    """law's writer of job files, which becomes the job: Slurm's signals then reach it, and not a shell above it."""

    def create(self, *args: Any, **kwargs: Any) -> tuple[str, Any]:
        """Writes a job file and returns its path and its settings."""
        path, config = super().create(*args, **kwargs)
        options, _, command = Path(path).read_text().rstrip().rpartition("\n")
        Path(path).write_text(f"{options}\nexec {command}\n")
        return path, config


class SlurmJobs(slurm_workflow.SlurmWorkflow):  # type: ignore[misc]
    """A Slurm workflow with that proxy."""

    workflow_proxy_cls = SlurmProxy

    def slurm_job_manager_cls(self) -> type[SlurmManager]:
        """Returns who speaks with Slurm."""
        return SlurmManager

    def slurm_job_file_factory_cls(self) -> type[SlurmScripts]:
        """Returns who writes job files."""
        return SlurmScripts


class HTCondorJobs(htcondor_workflow.HTCondorWorkflow):  # type: ignore[misc]
    """An HTCondor workflow with that proxy."""

    workflow_proxy_cls = HTCondorProxy
    impossible_after = law.DurationParameter(
        default=10,
        unit="m",
        significant=False,
        description="how long HTCondor's jobs may wait while no machine can run them; default: 10 minutes",
    )
    exclude_params_branch: ClassVar[set[str]] = {"impossible_after"}

    def htcondor_job_manager_cls(self) -> type[HTCondorManager]:
        """Returns who speaks with HTCondor."""
        return HTCondorManager

    def htcondor_create_job_manager(self, **kwargs: Any) -> HTCondorManager:
        """Returns the one of this workflow."""
        manager: HTCondorManager = super().htcondor_create_job_manager(**kwargs)
        manager.patience = 60 * self.impossible_after
        return manager

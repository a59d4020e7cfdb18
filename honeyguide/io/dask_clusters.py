"""Dask clusters whose workers are jobs of Slurm or HTCondor, for as long as something is converted."""

from __future__ import annotations

import contextlib
import importlib
import math
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from honeyguide.errors import ConfigError, HoneyguideError

_LOOK = 1.0  # seconds between two looks for a worker
_ASK = 15.0  # seconds between two questions to the scheduler, which others ask, too
_GONE = 2  # how often in a row it has to know none of the jobs, until that is believed
_LINES = 12  # of a worker's log


class NoWorkersError(HoneyguideError):
    """No worker of a Dask cluster has come."""


@dataclass(frozen=True)
class WorkerJobs:
    """What the jobs of a Dask cluster are like; each has a process with one thread per core.

    Attributes:
        scheduler: Whose jobs they are: ``slurm`` or ``htcondor``.
        fewest: Jobs that there are all the time.
        most: Jobs that there are where there is work for so many.
        cpus: Cores of a job.
        memory_mb: Memory of a job [MB].
        disk_mb: Disk of a job [MB], which HTCondor wants to know.
        hours: Largest time that a job may take; 0: the scheduler's.
        lines: Further options, as the scheduler has them, without dashes; a value may be empty.
        prologue: Commands of the shell before a worker starts.
        interface: Network interface by which workers are reached, e.g. ``eth0``; empty: that of the default route.
        logs: Folder for what workers say; it is made.
        patience: Seconds in which the first worker has to come.
    """

    scheduler: str
    logs: Path
    fewest: int = 1
    most: int = 1
    cpus: int = 1
    memory_mb: int = 2048
    disk_mb: int = 1024
    hours: float = 0.0
    lines: Sequence[tuple[str, str]] = ()
    prologue: Sequence[str] = ()
    interface: str = ""
    patience: float = 600.0


@dataclass(frozen=True)
class JobState:
    """What a scheduler says of a job that is in its queue.

    Attributes:
        text: The state, and the reason for it.
        hopeless: Whether it will stay so until somebody does something.
    """

    text: str
    hopeless: bool = False


@contextlib.contextmanager
def dask_cluster(jobs: WorkerJobs, states: Callable[[Sequence[str]], Mapping[str, JobState]]) -> Iterator[str]:
    """Yields the address of a Dask scheduler whose first worker is there; in the end its jobs are cancelled.

    Args:
        jobs: What the workers are.
        states: Says the states of those jobs, given by their ids, that are in the queue.

    Raises:
        ConfigError: The package is missing, there is no such scheduler or network interface here, or it refuses the
            jobs.
        NoWorkersError: No worker has come in time, or none can come any more.
    """
    command = {"slurm": "sbatch", "htcondor": "condor_submit"}[jobs.scheduler]
    if shutil.which(command) is None:
        raise ConfigError(
            f"there is no {jobs.scheduler} on this machine",
            where=f"--dask-scheduler {jobs.scheduler}",
            got=f"no command {command}",
            hint="submit where it is, or give the address of a Dask scheduler",
        )
    cluster = make_cluster(jobs)
    try:
        _submit(cluster, jobs)
        _wait_for_worker(cluster, jobs, states)
        # of fixed size, too: a job that has ended, by its time limit say, is submitted again
        cluster.adapt(minimum_jobs=jobs.fewest, maximum_jobs=jobs.most)
        yield str(cluster.scheduler_address)
    finally:
        cluster.close()


def make_cluster(jobs: WorkerJobs) -> Any:
    """Returns a ``dask_jobqueue`` cluster, whose scheduler runs, without any job yet.

    Raises:
        ConfigError: The package is missing, or there is no such network interface.
    """
    try:
        package: Any = importlib.import_module("dask_jobqueue")
    except ImportError as error:
        raise ConfigError(
            "dask-jobqueue is not installed",
            where=f"--dask-scheduler {jobs.scheduler}",
            hint="pip install dask distributed dask-jobqueue, or 'honeyguide[dask]'",
        ) from error
    common = {
        "cores": jobs.cpus,
        "processes": jobs.cpus,
        "memory": f"{jobs.memory_mb} MiB",
        "job_name": "honeyguide-dask",
        "interface": jobs.interface or None,
        "job_script_prologue": list(jobs.prologue),
        "log_directory": str(jobs.logs),
        # the web page of the scheduler: no fixed port, which another cluster may have
        "scheduler_options": {"dashboard_address": ":0"},
    }
    if jobs.scheduler == "htcondor":
        kind, own = package.HTCondorCluster, {
            "disk": f"{jobs.disk_mb} MiB", "job_extra_directives": dict(jobs.lines),
        }  # fmt: skip
    else:
        kind, own = package.SLURMCluster, _slurm_options(jobs)
    try:
        return kind(job_cls=_closable(kind.job_cls), **common, **own)
    except (ValueError, RuntimeError) as error:  # it lists the interfaces that there are
        raise ConfigError(
            "the scheduler of a Dask cluster can't be started", where=f"interface {jobs.interface}", got=error
        ) from error


def _closable(job: Any) -> Any:
    """Returns the class of a job that says so when it is closed: the cluster can't be closed else, after an error."""

    async def close(self: Any) -> None:
        await job.close(self)
        await interface.close(self)

    interface: Any = importlib.import_module("distributed.deploy.spec").ProcessInterface
    return type(job.__name__, (job,), {"close": close})


def _slurm_options(jobs: WorkerJobs) -> dict[str, Any]:
    minutes = math.ceil(60 * jobs.hours)
    time_limit = {"walltime": f"{minutes // 60:02d}:{minutes % 60:02d}:00"}
    lines = [f"--{name}={value}" if value else f"--{name}" for name, value in jobs.lines]
    # without a walltime the package would write its own
    return {"job_extra_directives": lines} | (time_limit if minutes else {"job_directives_skip": ["#SBATCH -t "]})


def _submit(cluster: Any, jobs: WorkerJobs) -> None:
    try:
        # what scale() does, which returns before the jobs are submitted, and keeps what goes wrong to itself
        for _ in range(max(jobs.fewest, 1)):
            cluster.worker_spec.update(cluster.new_worker_spec())
        cluster.sync(cluster._correct_state)
    except (RuntimeError, OSError) as error:
        raise ConfigError(
            f"{jobs.scheduler} does not accept the jobs of a Dask cluster",
            got=str(error).strip(),
            hint="other resources, a queue that there is: section [dask_jobs] of the site",
        ) from error


def _wait_for_worker(cluster: Any, jobs: WorkerJobs, states: Callable[[Sequence[str]], Mapping[str, JobState]]) -> None:
    start = asked = time.monotonic()
    times_gone = 0
    while not cluster.scheduler_info["workers"]:
        time.sleep(min(_LOOK, jobs.patience))
        now = time.monotonic()
        late = now - start >= jobs.patience
        if not late and now - asked < _ASK:
            continue
        asked = now
        ids = [job.job_id for job in cluster.workers.values()]
        found = states(ids)
        times_gone = 0 if found else times_gone + 1
        if times_gone >= _GONE or (found and all(state.hopeless for state in found.values())):
            raise _no_workers("no worker of the Dask cluster can come any more", jobs, ids, found)
        if late:
            raise _no_workers(f"no worker of the Dask cluster has come in {jobs.patience:.0f} s", jobs, ids, found)


def _no_workers(what: str, jobs: WorkerJobs, ids: Sequence[str], found: Mapping[str, JobState]) -> NoWorkersError:
    said = "; ".join(f"job {number}: {state.text}" for number, state in sorted(found.items()))
    return NoWorkersError(
        what,
        where=f"{jobs.scheduler}, logs in {jobs.logs}",
        got=said or _end_of_logs(jobs.logs, ids) or "the jobs have ended without a word",
        hint="more time (patience), other resources, or the network interface by which nodes reach this machine "
        "(interface): section [dask_jobs] of the site",
    )


def _end_of_logs(folder: Path, ids: Sequence[str]) -> str:
    """Returns the last lines of the first log, of a job, that says anything."""
    for number in ids:
        for path in sorted(folder.glob(f"*-{number}*.err")) + sorted(folder.glob(f"*-{number}*.out")):
            lines = path.read_text(errors="replace").strip().splitlines()
            if lines:
                return "\n    ".join([f"{path}:", *lines[-_LINES:]])
    return ""

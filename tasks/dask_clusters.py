"""``--dask-scheduler slurm`` or ``htcondor``: a Dask cluster of jobs, as the site says, during a conversion."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import law

from honeyguide.errors import ConfigError, nearest_name
from honeyguide.io.settings import ReaderSettings
from tasks.base import ROOT
from tasks.job_managers import NEVER, answer, unmet
from tasks.job_resources import JobResources, htcondor_lines, slurm_options

if TYPE_CHECKING:
    from honeyguide.io.dask_clusters import JobState, WorkerJobs

SECTION = "dask_jobs"
_IDLE, _HELD = "1", "5"  # HTCondor's JobStatus
_HTCONDOR_STATES = {_IDLE: "idle", "2": "running", "3": "removed", "4": "completed", _HELD: "held"}
# what dask_jobqueue writes itself
_FROM_DASK = {"nodes", "ntasks-per-node", "cpus-per-task", "mem", "time", "request_cpus", "output", "stream_output"}


@contextlib.contextmanager
def reached_scheduler(reader: ReaderSettings, logs: Path) -> Iterator[ReaderSettings]:
    """Yields the settings with the address of a scheduler: the one that is given, or that of a cluster made of jobs.

    The cluster's jobs are cancelled when the block ends, in whatever way; SIGTERM, too, ends this process only then.

    Args:
        reader: The settings.
        logs: Folder for what the workers say.

    Raises:
        ConfigError: The site does not say what the jobs ask for, or they can't be submitted.
        NoWorkersError: None has come.
    """
    scheduler = reader.scheduler
    if reader.executor != "dask" or scheduler is None or scheduler not in _STATES:
        yield reader
        return
    from honeyguide.io.dask_clusters import dask_cluster

    with _end_after_sigterm(), dask_cluster(worker_jobs(scheduler, logs), _STATES[scheduler]) as address:
        yield reader.model_copy(update={"scheduler": address})


def worker_jobs(scheduler: str, logs: Path) -> WorkerJobs:
    """Returns what the jobs of a cluster are like, by the section ``[dask_jobs]`` of law's configuration.

    Raises:
        ConfigError: There is no such section, or something in it is wrong.
    """
    from honeyguide.io.dask_clusters import WorkerJobs

    options = _options()
    fewest, _, most = options["jobs"].partition(":")
    resources = JobResources(
        hours=options["walltime"],
        queue=options["queue"],
        requirements=options["requirements"],
        extra=options["job_options"],
    )
    lines = slurm_options(resources) if scheduler == "slurm" else htcondor_lines(resources, log=logs)
    return WorkerJobs(
        scheduler=scheduler,
        logs=logs,
        fewest=int(fewest),
        most=int(most or fewest),
        cpus=options["cpus"],
        memory_mb=options["memory"],
        disk_mb=options["disk"],
        hours=options["walltime"],
        lines=[line for line in lines if line[0] not in _FROM_DASK],
        # workers read what they do from modules of this checkout
        prologue=[f"export PYTHONPATH={shlex.quote(str(ROOT))}", *filter(None, [options["prologue"]])],
        interface=options["interface"],
        patience=options["patience"],
    )


def _jobs(text: str) -> str:
    fewest, _, most = text.partition(":")
    if not 0 <= int(fewest) <= int(most or fewest) or int(most or fewest) < 1:
        raise ValueError("a number of jobs, or the fewest and the most: 8, 0:20")
    return text


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError("at least 1")
    return int(text)


def _megabytes(text: str) -> int:
    return _positive(str(int(law.BytesParameter(unit="MB").parse(text))))


def _hours(text: str) -> float:
    return float(law.DurationParameter(unit="h").parse(text))


def _seconds(text: str) -> float:
    return float(law.DurationParameter(unit="s").parse(text))


_OPTIONS: dict[str, tuple[Callable[[str], Any], str]] = {
    "jobs": (_jobs, "1"),
    "cpus": (_positive, "1"),
    "memory": (_megabytes, "2GB"),
    "disk": (_megabytes, "1GB"),
    "walltime": (_hours, "0"),
    "queue": (str, ""),
    "requirements": (str, ""),
    "job_options": (str, ""),
    "prologue": (str, ""),
    "interface": (str, ""),
    "patience": (_seconds, "10m"),
}
"""What the section may have: how it is read, and what holds without it."""


def _options() -> dict[str, Any]:
    config = law.config.Config.instance()
    where = f"[{SECTION}] of law's configuration"
    if not config.has_section(SECTION):
        raise ConfigError(
            "nothing says what the jobs of a Dask cluster ask for",
            where=where,
            got=f"HONEYGUIDE_SITE={os.environ.get('HONEYGUIDE_SITE', '')}",
            hint="choose a site (HONEYGUIDE_SITE=slurm), or write that section into configs/sites/<site>.cfg",
        )
    given = dict(config.items(SECTION))
    for name in given:
        if name not in _OPTIONS:
            raise ConfigError(
                f"unknown option '{name}'",
                where=where,
                allowed=", ".join(_OPTIONS),
                nearest=nearest_name(name, _OPTIONS),
            )
    values = {}
    for name, (read, default) in _OPTIONS.items():
        try:
            values[name] = read(given.get(name) or default)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}", where=where, got=given[name]) from error
    return values


def _slurm_states(job_ids: Sequence[str]) -> dict[str, JobState]:
    from honeyguide.io.dask_clusters import JobState

    form = "--Format=JobID:20,State:20,Reason:80"
    said = answer("slurm_cmd_squeue", "--noheader", form, f"--jobs={','.join(job_ids)}")
    jobs = [line.split(None, 2) for line in said.splitlines() if line.strip()]
    return {number: JobState(f"{state} ({reason.strip()})", reason.startswith(NEVER)) for number, state, reason in jobs}


def _htcondor_states(job_ids: Sequence[str]) -> dict[str, JobState]:
    from honeyguide.io.dask_clusters import JobState

    said = answer("htcondor_cmd_q", *job_ids, "-af", "ClusterId", "ProcId", "JobStatus", "HoldReason")
    states: dict[str, JobState] = {}
    for cluster, process, state, held in (line.split(None, 3) for line in said.splitlines() if line.strip()):
        number = f"{cluster}.{process}"
        # all ask for the same: it is enough to ask about the first
        reason = unmet(number) if state == _IDLE and not states else held.replace("undefined", "")
        name = _HTCONDOR_STATES.get(state, state)
        states[number] = JobState(f"{name} ({reason})" if reason else name, state == _HELD)
    return states


_STATES: Mapping[str, Callable[[Sequence[str]], Mapping[str, JobState]]] = {
    "slurm": _slurm_states,
    "htcondor": _htcondor_states,
}


@contextlib.contextmanager
def _end_after_sigterm() -> Iterator[None]:
    """Makes SIGTERM an exception inside, so that jobs are cancelled; afterwards it ends this process after all."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told: list[int] = []

    def tell(number: int, _frame: Any) -> None:
        told.append(number)
        raise SystemExit(f"signal {number}")

    before = signal.signal(signal.SIGTERM, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if told:
            signal.raise_signal(signal.SIGTERM)

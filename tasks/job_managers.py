"""What the schedulers are asked beyond law's queries: why a job waits, and which job is whose."""

from __future__ import annotations

import re
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

import law

from honeyguide.errors import HoneyguideError

law.contrib.load("slurm", "htcondor")

NEVER = (
    "AccountNotAllowed", "AssocMaxCpuPerJobLimit", "AssocMaxMemPerJob", "AssocMaxNodePerJobLimit",
    "AssocMaxWallDurationPerJobLimit", "BadConstraints", "DependencyNeverSatisfied", "InvalidAccount", "InvalidQOS",
    "JobHeldAdmin", "JobHeldUser", "PartitionNodeLimit", "PartitionTimeLimit",
    "QOSMaxCpuPerJobLimit", "QOSMaxGRESPerJob", "QOSMaxMemoryPerJob", "QOSMaxNodePerJobLimit",
    "QOSMaxWallDurationPerJobLimit", "QOSNotAllowed", "launch_failed_requeued_held",
)  # fmt: skip
"""Slurm's reasons for which a job waits until somebody does something."""
PATIENCE = ("PartitionDown", "PartitionInactive", "ReqNodeNotAvail")
"""Reasons that the end of a maintenance removes: a user is told, and the job waits."""
_LIVES = ("SUSPENDED", "STOPPED", "RESIZING", "SIGNALING")
_SECONDS = 60
_NOT_FOUND = "job not found in query response"  # law's words
_NOT_QUEUED = "job not in the queue"  # though accounting has it running, or waiting
IMPOSSIBLE = "impossible"
"""Mark of a job that would fare no better if it were submitted again."""
LOOKS = 3
"""So many times a job that the scheduler does not know is looked for."""
_NO_MACHINE = "No machines matched"
_UNMET = re.compile(r"^\[\d+\]\s+0\s+(.+)$", re.MULTILINE)  # of HTCondor's analysis: conditions that no slot meets


class SchedulerSilentError(HoneyguideError):
    """The scheduler does not answer, and nobody may go on without its answer."""


logger = law.logger.get_logger(__name__)


class _Absent:
    """Jobs that a scheduler's queue does not have: it has not learnt of them yet, has forgotten or lost them."""

    def __init__(self) -> None:
        self._looks: dict[Any, int] = {}

    def judge(self, states: Mapping[Any, dict[str, Any]], *, pending: str, finished: str) -> None:
        """Makes them waiting ones at first; after some looks their outputs tell what became of them, not a guess."""
        for number, state in states.items():
            if state["error"] not in (_NOT_FOUND, _NOT_QUEUED):
                self._looks.pop(number, None)
                continue
            self._looks[number] = self._looks.get(number, 0) + 1
            for_now = pending if state["error"] == _NOT_FOUND else state["status"]
            state.update(status=for_now if self._looks[number] < LOOKS else finished, error=None)


class SlurmManager(law.slurm.SlurmJobManager):  # type: ignore[misc]
    """law's, which tells a job that can't start from one that waits for its turn."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._absent = _Absent()
        self._told: set[str] = set()

    @classmethod
    def map_status(cls, status: str) -> str:
        """Returns law's name of a state; a job that is suspended lives, and must not get a twin."""
        mapped: str = cls.RUNNING if status.strip("+") in _LIVES else super().map_status(status)
        return mapped

    @classmethod
    def parse_sacct_output(cls, out: str) -> dict[int, dict[str, Any]]:
        """Returns the states in an answer of sacct, which is asked for jobs that are not in the queue.

        The exit code of a job that is back there is of its past; and a job whose end Slurm has missed, since its
        controller was killed, runs for ever there.
        """
        states: dict[int, dict[str, Any]] = super().parse_sacct_output(out)
        for match in filter(None, map(cls.sacct_cre.match, map(str.strip, out.splitlines()))):
            status = cls.map_status(match[2])
            if status in (cls.PENDING, cls.RUNNING):
                states[int(match[1])].update(status=status, code=None, error=_NOT_QUEUED)
        return states

    def query(self, job_id: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the states; a job that Slurm will never start has failed, for Slurm's reason, and is cancelled."""
        found = super().query(job_id, *args, **kwargs)
        states = _by_number(job_id, found)
        self._absent.judge(states, pending=self.PENDING, finished=self.FINISHED)
        waiting = [number for number, state in states.items() if state["status"] == self.PENDING]
        for number, reason in self._reasons(waiting).items():
            if reason.startswith(PATIENCE) and reason not in self._told:
                self._told.add(reason)
                logger.warning("job %s waits: %s", number, reason)
            if reason.replace(" ", "_").startswith(NEVER):
                states[number].update(status=self.FAILED, error=f"Slurm will not start this job: {reason}")
                if not reason.startswith(("JobHeld", "launch")):  # which another job need not be
                    states[number]["extra"] = {**(states[number].get("extra") or {}), IMPOSSIBLE: True}
                self.cancel(number, silent=True)
        return found

    def find(self, names: Sequence[str]) -> dict[str, int]:
        """Returns the ids of the jobs of these names that Slurm knows, running or done."""
        chosen = ["--noheader", f"--name={','.join(names)}"]
        queue = answer("slurm_cmd_squeue", "--Format=JobID:20,Name:60", *chosen, needed=True)
        past = answer(
            "slurm_cmd_sacct", "--allocations", "--starttime=now-30days", "--format=JobID%20,JobName%60", *chosen
        )
        pairs = [line.split() for line in (past + queue).splitlines() if line.strip()]
        return {pair[1]: int(pair[0]) for pair in pairs if pair[1] in names}

    def _reasons(self, job_ids: Sequence[Any]) -> dict[Any, str]:
        """Returns Slurm's reasons why these jobs wait."""
        if not job_ids:
            return {}
        chosen = f"--jobs={','.join(map(str, job_ids))}"
        lines = answer("slurm_cmd_squeue", "--noheader", "--Format=JobID:20,Reason:80", chosen).splitlines()
        pairs = [line.split(None, 1) for line in lines if line.strip()]
        return {int(pair[0]): pair[1].strip() for pair in pairs if len(pair) == 2}


class HTCondorManager(law.htcondor.HTCondorJobManager):  # type: ignore[misc]
    """law's, which takes what has failed out of the queue, where held jobs would stay, and sees what can't be run.

    Attributes:
        patience: Seconds for which a job may wait while no machine of the pool can run it: others may join it.
    """

    patience = 600.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._absent = _Absent()
        self._asked = 0.0
        self._impossible: dict[str, float] = {}

    def query(self, job_id: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the states; a job that no machine can run has failed after a while, for HTCondor's reason."""
        found = super().query(job_id, *args, **kwargs)
        states = _by_number(job_id, found)
        self._absent.judge(states, pending=self.PENDING, finished=self.FINISHED)
        self._judge([number for number, state in states.items() if state["status"] == self.PENDING], states)
        failed = [number for number, state in states.items() if state["status"] == self.FAILED]
        if failed:
            self.cancel(failed, silent=True)
        return found

    def _judge(self, waiting: Sequence[str], states: dict[str, Any]) -> None:
        """Asks why the first of the jobs waits; those that are submitted together ask for the same."""
        if not waiting or time.monotonic() - self._asked < min(self.patience / 5, _SECONDS):
            return
        reason = unmet(waiting[0])
        self._asked = time.monotonic()
        cluster = waiting[0].partition(".")[0]
        if not reason:
            self._impossible.pop(cluster, None)
            return
        since = self._impossible.setdefault(cluster, self._asked)
        if since == self._asked:
            logger.warning("%s: %s; it fails after %.0f s of that", waiting[0], reason, self.patience)
        if self._asked - since >= self.patience:
            for number in waiting:
                if number.partition(".")[0] == cluster:
                    states[number].update(status=self.FAILED, error=reason)
                    states[number]["extra"] = {**(states[number].get("extra") or {}), IMPOSSIBLE: True}

    def find(self, names: Sequence[str]) -> dict[str, str]:
        """Returns the ids of the jobs of these names that HTCondor knows, running or done."""
        marks = {name.rpartition("-")[0] for name in names}
        constraint = " || ".join(f'HoneyguideJobs == "{mark}"' for mark in sorted(marks))
        asked = ["-constraint", constraint, "-af", "HoneyguideJobs", "ClusterId", "ProcId"]
        past, queue = answer("htcondor_cmd_history", *asked), answer("htcondor_cmd_q", *asked, needed=True)
        lines = [*past.splitlines(), *queue.splitlines()]
        found = {
            f"{mark}-{process}": f"{cluster}.{process}"
            for mark, cluster, process in map(str.split, filter(None, lines))
        }
        return {name: found[name] for name in names if name in found}


def _by_number(job_id: Any, found: Any) -> dict[Any, dict[str, Any]]:
    """Returns the states that law has asked for, of one job or of several, by the jobs' ids."""
    states = found if isinstance(job_id, (list, tuple)) else {job_id: found}
    return {number: state for number, state in (states or {}).items() if state}


def unmet(job_id: str) -> str:
    """Returns why no machine can run an HTCondor job that waits; empty where one can, or where HTCondor can't say."""
    analysis = answer("htcondor_cmd_q", job_id, "-better-analyze")
    if _NO_MACHINE not in analysis:
        return ""
    return f"no machine can run this job: {', '.join(_UNMET.findall(analysis)) or _NO_MACHINE}"


def answer(command: str, *arguments: str, needed: bool = False) -> str:
    """Returns what a command of the scheduler says; nothing where it fails, which law's own queries report.

    Raises:
        SchedulerSilentError: It fails, and its answer is needed.
    """
    words = [*shlex.split(law.config.get_expanded("job", command)), *arguments]
    try:
        said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        if not needed:
            return ""
        raise SchedulerSilentError(
            "the scheduler does not say which jobs it has, and some might be submitted twice",
            got=f"{error} {getattr(error, 'stderr', None) or ''}".strip(),
            hint="the same command again, when it does",
        ) from None
    return said.stdout

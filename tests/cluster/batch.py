"""The real Slurm and HTCondor that tests submit to, with what a test does to them behind law's back."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from tests.law_command import ROOT, Outcome

COUNTED = "tests.remote.counted.CountedTask"


def wait_for(condition: Callable[[], object], seconds: float = 240.0) -> None:
    """Waits until something is true; asking a scheduler takes a machine's time, so not too often."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.3)


@dataclass
class Batch:
    """A scheduler that runs, in a folder that its script was given."""

    folder: Path
    name: str = ""  # of law's workflow
    submits: ClassVar[str] = ""  # its command, and law's option for that
    submit_option: ClassVar[str] = ""
    options_to_hold: ClassVar[tuple[str, ...]] = ()
    holds_before_start: ClassVar[bool] = False
    says_held: ClassVar[str] = ""
    says_cancelled: ClassVar[str] = ""
    impossible: ClassVar[tuple[tuple[tuple[str, ...], str], ...]] = ()  # what jobs ask for, what the scheduler says

    @property
    def environment(self) -> dict[str, str]:
        """What its commands need."""
        lines = (self.folder / "environment").read_text().splitlines()
        return {"PATH": os.environ["PATH"], **dict(line.split("=", 1) for line in lines)}

    def command(self, *words: str) -> list[str]:
        """Returns a command as the user that submits."""
        return list(words)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the scheduler."""
        return subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )

    def ask(self, *words: str) -> str:
        """Returns what a command of the scheduler says."""
        process = self.run(*words)
        assert process.returncode == 0, f"{words}: {process.stdout}{process.stderr}"
        return process.stdout

    def queue(self, folder: Path) -> dict[str, str]:
        """Returns the states of the jobs in the queue that write below a folder, by their ids."""
        raise NotImplementedError

    def cancel(self, job: str) -> None:
        """Cancels a job."""
        raise NotImplementedError

    def hold(self, job: str) -> None:
        """Holds a job."""
        raise NotImplementedError

    def kill_daemon(self) -> None:
        """Kills the daemon that has the queue."""
        raise NotImplementedError

    def start_daemon(self) -> None:
        """Starts it again."""
        raise NotImplementedError


class Slurm(Batch):
    """Slurm; law and jobs are root's. Jobs get nothing of the submitter's environment."""

    submits = "sbatch"
    submit_option = "slurm_cmd_sbatch"
    options_to_hold = ("--job-options", "begin=now+8")  # those that run can't be held
    holds_before_start = True
    says_held = "Slurm will not start this job: JobHeld"
    says_cancelled = "CANCELLED"
    impossible = (
        (("--memory", "900GB"), "Memory specification can not be satisfied"),
        (("--queue", "short", "--walltime", "2h"), "Slurm will not start this job: PartitionTimeLimit"),
    )

    @property
    def environment(self) -> dict[str, str]:
        """What its commands need."""
        return {**super().environment, "HOME": os.environ["HOME"], "SBATCH_EXPORT": "NONE"}

    def queue(self, folder: Path) -> dict[str, str]:
        """Returns the states of the jobs in the queue that write below a folder, by their ids."""
        lines = self.ask("squeue", "--noheader", "--format=%A %T %Z").splitlines()
        jobs = [line.split(None, 2) for line in lines]
        return {number: state.lower() for number, state, path in jobs if path.startswith(str(folder))}

    def cancel(self, job: str) -> None:
        """Cancels a job."""
        self.ask("scancel", job)

    def hold(self, job: str) -> None:
        """Holds a job."""
        self.ask("scontrol", "hold", job)

    def kill_daemon(self) -> None:
        """Kills slurmctld when it has saved, after 5 s, which jobs there are: it would use their numbers again."""
        time.sleep(6)
        pid = int((self.folder / "run" / "slurmctld.pid").read_text())
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not _lives(pid))

    def start_daemon(self) -> None:
        """Starts it again, where it does not run."""
        if self.run("scontrol", "ping").returncode != 0:
            self.ask("slurmctld")
            wait_for(lambda: self.run("scontrol", "ping").returncode == 0)


class HTCondor(Batch):
    """HTCondor; law and jobs are of an unprivileged user."""

    submits = "condor_submit"
    submit_option = "htcondor_cmd_submit"
    says_held = "via condor_hold"
    says_cancelled = "via condor_rm"
    impossible = (
        (
            ("--memory", "900GB", "--impossible-after", "2s"),
            "no machine can run this job: TARGET.Memory >= RequestMemory",
        ),
    )
    STATES = ("", "pending", "running", "removed", "completed", "held", "output", "suspended")

    def command(self, *words: str) -> list[str]:
        """Returns a command as the user that submits."""
        return [str(self.folder / "as"), *words]

    def queue(self, folder: Path) -> dict[str, str]:
        """Returns the states of the jobs in the queue that write below a folder, by their ids."""
        lines = self.ask("condor_q", "-af", "ClusterId", "ProcId", "JobStatus", "Out").splitlines()
        jobs = [line.split(None, 3) for line in lines]
        return {f"{c}.{p}": self.STATES[int(s)] for c, p, s, path in jobs if path.startswith(str(folder))}

    def cancel(self, job: str) -> None:
        """Cancels a job."""
        self.ask("condor_rm", job)

    def hold(self, job: str) -> None:
        """Holds a job."""
        self.ask("condor_hold", job)

    def kill_daemon(self) -> None:
        """Kills the schedd; its master starts it again after a while."""
        master = int((self.folder / "run" / "master.pid").read_text())
        (schedd,) = (pid for pid in _children(master) if Path(f"/proc/{pid}/comm").read_text() == "condor_schedd\n")
        os.kill(schedd, signal.SIGKILL)

    def start_daemon(self) -> None:
        """Waits until it is there again."""
        wait_for(lambda: self.run("condor_q").returncode == 0)


@dataclass
class BatchLaw:
    """A store, and law commands on it that submit to a scheduler."""

    batch: Batch
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[Running] = field(default_factory=list)

    @property
    def store(self) -> Path:
        """Where the outputs are."""
        return self.folder / "store"

    @property
    def options(self) -> list[str]:
        """What makes jobs of the branches, and quickly."""
        return ["--workflow", self.batch.name, "--poll-interval", "1s", "--retries", "1"]

    def start(self, *arguments: str) -> Running:
        """Starts ``law run``."""
        venv = Path(sys.prefix)
        own = self.batch.environment
        environment = {
            **own,
            "PATH": f"{venv / 'bin'}:{own['PATH']}",
            "VIRTUAL_ENV": str(venv),
            "HONEYGUIDE_STORE": str(self.store),
            "LAW_HOME": str(self.folder / "law"),
            "LAW_CONFIG_FILE": str(ROOT / "law.cfg"),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            **self.environment,
        }
        said = self.folder / f"said_{len(list(self.folder.glob('said_*')))}.txt"
        with said.open("w") as output:
            law = self.batch.command(str(venv / "bin" / "python"), "-m", "law", "run", *arguments)
            process = subprocess.Popen(law, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=self.folder)
        self.started.append(Running(process, said))
        return self.started[-1]

    def end(self) -> None:
        """Ends what a test that failed has left behind."""
        for running in self.started:
            running.process.kill()
            running.process.wait()
        for job in self.queue:
            self.batch.cancel(job)

    def __call__(self, *arguments: str) -> Outcome:
        """Runs ``law run``."""
        return self.start(*arguments).ends()

    def counted(self, *arguments: str) -> Outcome:
        """Runs the workflow that counts executions."""
        return self(COUNTED, *self.options, *arguments)

    def start_counted(self, *arguments: str) -> Running:
        """Starts the workflow that counts executions."""
        return self.start(COUNTED, *self.options, *arguments)

    def slow_submission(self, seconds: float) -> None:
        """Makes the scheduler's answers to submissions late."""
        script = self.folder / "slow"
        script.write_text(f'#!/bin/bash\nsaid="$({self.batch.submits} "$@")"\nsleep {seconds}\necho "$said"\n')
        script.chmod(0o755)
        self.environment[f"LAW__job__{self.batch.submit_option}"] = str(script)

    def open_gate(self) -> None:
        """Lets the branches with ``--gate`` go on."""
        (self.store / "gate").touch()

    @property
    def executions(self) -> dict[int, int]:
        """How often each branch has run."""
        return {int(p.name): len(p.read_text().split()) for p in sorted((self.store / "executions").glob("*"))}

    @property
    def numbers(self) -> list[int]:
        """What the branches have written."""
        return sorted(int(path.read_text()) for path in self.store.glob("CountedTask/*/*/*/number.txt"))

    @property
    def queue(self) -> dict[str, str]:
        """States of this store's jobs in the queue."""
        return self.batch.queue(self.folder)

    @property
    def jobs(self) -> dict[int, str]:
        """Ids of the jobs that law knows, by their first branches."""
        states = self.store.glob(f"jobs/**/{self.batch.name}_jobs_*.json")
        known = [job for state in states for job in json.loads(state.read_text())["jobs"].values()]
        return {job["branches"][0]: str(job["job_id"]) for job in known if job["job_id"] not in (None, "dummy_job_id")}

    @property
    def locks(self) -> list[Path]:
        """Locks of workflows that nobody has removed."""
        return list(self.store.rglob("lock.json"))


@dataclass
class Running:
    """A law command that runs."""

    process: subprocess.Popen[bytes]
    said: Path

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self.said.read_text()

    def says(self, pattern: str) -> None:
        """Waits until it has said something."""
        wait_for(lambda: re.search(pattern, self.text) or self.process.poll() is not None)
        assert re.search(pattern, self.text), self.text

    def ends(self) -> Outcome:
        """Waits for its end."""
        try:
            return Outcome(self.process.wait(timeout=300), self.text)
        finally:
            self.process.kill()

    def gets(self, number: int) -> Outcome:
        """Sends it a signal and waits for its end."""
        self.process.send_signal(number)
        return self.ends()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]

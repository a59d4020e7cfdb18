"""Workflows on stand-ins for Slurm and HTCondor: every output is there, and no branch runs more often than it must."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.law_command import ROOT, Law, Outcome

STAND_IN = ROOT / "tests" / "remote" / "batch_stand_in.py"
COUNTED = "tests.remote.counted.CountedTask"
COMMANDS = {
    "slurm": {"sbatch": "sbatch", "squeue": "squeue", "sacct": "sacct", "scancel": "scancel"},
    "htcondor": {"submit": "condor_submit", "q": "condor_q", "history": "condor_history", "rm": "condor_rm"},
}
CANCEL = {"slurm": "scancel", "htcondor": "condor_rm"}


@dataclass
class Batch:
    """A batch system with nothing in it, and law commands that use it."""

    system: str
    law: Law

    def __call__(self, *arguments: str, task: str = COUNTED) -> Outcome:
        """Runs the workflow."""
        return self.law(task, *self.options, *arguments)

    @property
    def options(self) -> tuple[str, ...]:
        """What all commands are given."""
        return ("--workflow", self.system, "--poll-interval", "0.5s", "--retries", "1")

    @property
    def state(self) -> Path:
        """The stand-in's folder."""
        return Path(self.law.environment["BATCH_STAND_IN"])

    def started(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts the workflow."""
        return subprocess.Popen(
            [Path(sys.executable).with_name("law"), "run", COUNTED, *self.options, *arguments],
            env={
                **os.environ, "HONEYGUIDE_STORE": str(self.law.store), "LAW_HOME": str(self.law.folder / "law"),
                "LAW_CONFIG_FILE": str(ROOT / "law.cfg"), "PYTHONPATH": str(ROOT), **self.law.environment,
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def tell(self, command: str, *arguments: str) -> None:
        """Runs a command of the batch system."""
        subprocess.run([sys.executable, "-S", STAND_IN, command, *arguments], env=self.law.environment, check=True)

    @contextlib.contextmanager
    def closed_gate(self) -> Iterator[None]:
        """Makes branches that are given ``--gate`` wait for the end of the block."""
        yield
        (self.law.store / "gate").touch()

    def jobs(self) -> dict[str, dict]:
        """The jobs that were ever submitted."""
        return {path.stem: json.loads(path.read_text()) for path in sorted(self.state.glob("*.json"))}

    def states(self) -> list[str]:
        """The states of these jobs."""
        return [job["status"] for job in self.jobs().values()]

    def executions(self) -> dict[int, int]:
        """How often each branch has run."""
        return {int(p.name): len(p.read_text().split()) for p in sorted((self.law.store / "executions").glob("*"))}

    def numbers(self, task: str = "CountedTask") -> list[str]:
        """What the outputs hold."""
        return sorted(path.read_text() for path in self.law.store.glob(f"{task}/*/*/*/number.txt"))


@pytest.fixture(params=["slurm", "htcondor"])
def batch(request: pytest.FixtureRequest, tmp_path: Path) -> Batch:
    state = tmp_path / "batch"
    state.mkdir()
    run = f"{sys.executable} -S {STAND_IN}"
    version = tmp_path / "bin" / "condor_version"  # law has no option for this one
    version.parent.mkdir()
    version.write_text(f"#!/bin/sh\nexec {run} condor_version\n")
    version.chmod(0o755)
    commands = {
        f"LAW__job__{request.param}_cmd_{key}": f"{run} {name}" for key, name in COMMANDS[request.param].items()
    }
    path = f"{version.parent}:{os.environ['PATH']}"
    environment = {**commands, "PATH": path, "BATCH_STAND_IN": str(state), "VIRTUAL_ENV": sys.prefix}
    return Batch(request.param, Law(tmp_path, environment))


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_fails_is_killed_or_lost_is_made_again_alone_and_another_workflow_comes_after(batch):
    wanted = ("--tasks-per-job", "2", "--parallel-jobs", "1", "--fails", "1:once,2:kill")
    outcome = batch(*wanted, task="tests.remote.counted.FollowingTask")
    assert outcome.returncode == 0, outcome.text
    assert outcome.ran == {"CountedTask": 1, "FollowingTask": 1}
    assert "RuntimeError: branch 1 fails once" in outcome.text
    assert "unsubmitted: 1" in outcome.text
    assert batch.executions() == {0: 1, 1: 2, 2: 2, 3: 1}
    assert batch.numbers() == list("0123") == batch.numbers("FollowingTask")
    assert len(batch.jobs()) == 6
    (table,) = batch.law.store.glob("jobs/CountedTask/*/*/*/usage.json")
    assert [(row["status"], row["tries"]) for row in json.loads(table.read_text())] == [("done", 2)] * 4
    (lost,) = [path for path in batch.law.store.glob("CountedTask/*/*/*/number.txt") if path.read_text() == "3"]
    lost.unlink()
    outcome = batch(*wanted)
    assert outcome.returncode == 0, outcome.text
    assert batch.executions() == {0: 1, 1: 2, 2: 2, 3: 2}
    assert batch.numbers() == list("0123")


def test_a_job_that_can_not_be_ends_the_workflow_with_the_reason(batch):
    one = ("--branches-wanted", "1", "--retries", "0")
    (batch.state / "refuse").write_text("there is no such queue")
    refused = batch(*one)
    assert refused.returncode == 40
    assert "accepts none of 1 jobs of CountedTask" in refused.text
    assert "there is no such queue" in refused.text
    assert not batch.jobs()
    (batch.state / "refuse").unlink()
    (batch.state / "hold").write_text("PartitionTimeLimit")
    held = batch("--branches-wanted", "1")
    assert held.returncode == 40
    assert "PartitionTimeLimit" in held.text
    # Slurm's never starts and is not tried again; HTCondor's is on hold, which the next one need not be
    assert batch.states() == ["CANCELLED"] * (1 if batch.system == "slurm" else 2)
    (batch.state / "hold").unlink()
    failed = batch(*one, "--fails", "0:always")
    assert failed.returncode == 40
    assert "jobs of CountedTask have failed" in failed.text
    assert "RuntimeError: branch 0 fails always" in failed.text
    assert "failed: branch 0: code 40" in failed.text
    assert "Luigi Execution Summary" not in failed.text.partition("end of the log")[2].partition("INFO")[0]
    assert batch.executions() == {0: 1}
    assert not batch.numbers()


def test_a_second_law_process_is_told_to_wait_and_cancelled_jobs_run_again(batch):
    two = ("--branches-wanted", "2", "--gate")
    with batch.closed_gate():
        first = batch.started(*two)
        wait_for(lambda: batch.executions() == {0: 1, 1: 1})
        second = batch(*two)
        assert second.returncode == 40
        assert "another law process works on the same jobs" in second.text
        assert f"process {first.pid}" in second.text
        one, other = batch.jobs()
        batch.tell(CANCEL[batch.system], one)
        if batch.system == "htcondor":
            batch.tell("condor_hold", other)
    text, _ = first.communicate(timeout=60)
    assert first.returncode == 0, text
    assert sorted(batch.executions().values()) == ([2, 2] if batch.system == "htcondor" else [1, 2])
    assert batch.numbers() == ["0", "1"]
    assert ("via condor_hold" in text) == (batch.system == "htcondor")
    assert set(batch.states()) == {"CANCELLED", "COMPLETED"}, "held jobs would stay in the queue"
    assert not list(batch.law.store.glob("jobs/*/*/*/*/lock.json"))


def test_law_killed_while_it_submits_or_waits_runs_no_branch_twice(batch):
    two = ("--branches-wanted", "2", "--submission-threads", "1", "--gate")
    (batch.state / "delay").write_text("1")
    with batch.closed_gate():
        process = batch.started(*two)
        wait_for(batch.jobs)
        process.kill()
        process.communicate()
        assert batch.system == "htcondor" or len(batch.jobs()) == 1
        (batch.state / "delay").unlink()
        process = batch.started(*two)
        wait_for(lambda: len(batch.executions()) == 2)
        process.kill()
        process.communicate()
    outcome = batch(*two)
    assert outcome.returncode == 0, outcome.text
    assert batch.executions() == {0: 1, 1: 1}
    assert len(batch.jobs()) == 2


def test_jobs_that_nobody_waits_for_can_be_cancelled_run_again_and_cleaned_up(batch):
    one = ("--branches-wanted", "1", "--no-poll", "--gate")
    with batch.closed_gate():
        assert batch(*one).returncode == 0
        wait_for(lambda: batch.executions() == {0: 1})
        early = batch(*one, "--cleanup-jobs")
        assert early.returncode == 40
        assert "--cancel-jobs" in early.text
        assert batch(*one, "--cancel-jobs").returncode == 0
        assert batch.states() == ["CANCELLED"]
    assert batch(*one).returncode == 0
    wait_for(batch.numbers)
    wait_for(lambda: batch.states() == ["CANCELLED", "COMPLETED"])
    assert batch.executions() == {0: 2}
    assert list(batch.law.store.glob("jobs/*/*/*/*/job_*.txt"))
    assert batch(*one, "--cleanup-jobs").returncode == 0
    assert not list(batch.law.store.glob("jobs/*/*/*/*/*job*"))

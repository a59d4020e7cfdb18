"""Slurm workflows, with a stand-in for Slurm's commands: every branch's output is there, and no branch runs twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.law_command import ROOT, Law, Outcome

STAND_IN = ROOT / "tests" / "remote" / "batch_stand_in.py"
COUNTED = "tests.remote.counted.CountedTask"
QUICK = ("--workflow", "slurm", "--poll-interval", "0.3s", "--retries", "1")


@pytest.fixture
def law(tmp_path: Path) -> Law:
    state = tmp_path / "slurm"
    state.mkdir()
    commands = {
        f"LAW__job__slurm_cmd_{name}": f"{sys.executable} -S {STAND_IN} {name}"
        for name in ("sbatch", "squeue", "sacct", "scancel")
    }
    return Law(tmp_path, {**commands, "BATCH_STAND_IN": str(state), "VIRTUAL_ENV": sys.prefix})


def executions(law: Law) -> dict[int, int]:
    """How often each branch has run."""
    return {int(p.name): len(p.read_text().split()) for p in sorted((law.store / "executions").glob("*"))}


def numbers(law: Law) -> list[str]:
    return sorted(path.read_text() for path in law.store.glob("CountedTask/*/*/*/number.txt"))


def test_every_branch_runs_once_in_a_job_with_a_bare_environment(law):
    outcome = law(COUNTED, *QUICK)
    assert outcome.returncode == 0, outcome.text
    assert executions(law) == dict.fromkeys(range(4), 1)
    assert numbers(law) == ["0", "1", "2", "3"]
    again = law(COUNTED, *QUICK)
    assert again.returncode == 0
    assert executions(law) == dict.fromkeys(range(4), 1)


@pytest.mark.parametrize("how", ["once", "kill"])
def test_a_branch_that_fails_or_is_killed_once_is_tried_again(law, how):
    outcome = law(COUNTED, *QUICK, "--fails", f"2:{how}")
    assert outcome.returncode == 0, outcome.text
    assert executions(law) == {0: 1, 1: 1, 2: 2, 3: 1}
    assert numbers(law) == ["0", "1", "2", "3"]


def test_a_branch_that_always_fails_ends_the_workflow_with_the_end_of_its_log(law):
    outcome = law(COUNTED, *QUICK, "--fails", "2:always")
    assert outcome.returncode == 40
    assert "RuntimeError: branch 2 fails always" in outcome.text
    assert "jobs of CountedTask have failed" in outcome.text
    assert executions(law) == {0: 1, 1: 1, 2: 2, 3: 1}
    again = law(COUNTED, *QUICK, "--fails", "2:always")
    assert again.returncode == 40
    assert executions(law) == {0: 1, 1: 1, 2: 4, 3: 1}


def test_a_job_that_slurm_will_not_start_fails_with_its_reason_and_is_cancelled(law):
    state = Path(law.environment["BATCH_STAND_IN"])
    (state / "hold").write_text("PartitionTimeLimit")
    outcome = law(COUNTED, *QUICK, "--retries", "0", "--branches-wanted", "1")
    assert outcome.returncode == 40
    assert "Slurm will not start this job: PartitionTimeLimit" in outcome.text
    assert [json.loads(path.read_text())["status"] for path in state.glob("*.json")] == ["CANCELLED"]
    (state / "hold").unlink()
    assert law(COUNTED, *QUICK, "--retries", "0", "--branches-wanted", "1").returncode == 0
    assert executions(law) == {0: 1}


def started(law: Law, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [Path(sys.executable).with_name("law"), "run", COUNTED, *QUICK, *arguments],
        env={
            **os.environ, "HONEYGUIDE_STORE": str(law.store), "LAW_HOME": str(law.folder / "law"),
            "LAW_CONFIG_FILE": str(ROOT / "law.cfg"), "PYTHONPATH": str(ROOT), **law.environment, **environment,
        },
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def jobs(law: Law) -> list[Path]:
    return list(Path(law.environment["BATCH_STAND_IN"]).glob("*.json"))


def test_law_killed_while_it_submits_runs_no_branch_twice(law):
    many = ("--branches-wanted", "6", "--submission-threads", "2")
    process = started(law, *many, BATCH_STAND_IN_DELAY="0.7")
    wait_for(lambda: len(jobs(law)) >= 3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 3 <= len(jobs(law)) < 6
    outcome = law(COUNTED, *QUICK, *many)
    assert outcome.returncode == 0, outcome.text
    assert executions(law) == dict.fromkeys(range(6), 1)
    assert len(jobs(law)) == 6


def test_a_second_law_process_is_told_who_works_on_the_jobs(law):
    slow = ("--branches-wanted", "1", "--seconds", "6")
    first = started(law, *slow)
    wait_for(lambda: list(law.store.glob("jobs/*/*/*/*/lock.json")) and jobs(law))
    second: Outcome = law(COUNTED, *QUICK, *slow)
    assert second.returncode == 40
    assert "another law process works on the same jobs" in second.text
    assert f"process {first.pid}" in second.text
    text, _ = first.communicate(timeout=60)
    assert first.returncode == 0, text
    assert executions(law) == {0: 1}
    assert not list(law.store.glob("jobs/*/*/*/*/lock.json"))


def test_without_polling_jobs_are_submitted_once_and_found_done_later(law):
    assert law(COUNTED, *QUICK, "--no-poll").returncode == 0
    wait_for(lambda: len(numbers(law)) == 4)
    assert law(COUNTED, *QUICK).returncode == 0
    assert executions(law) == dict.fromkeys(range(4), 1)


def test_a_lost_output_is_made_again_alone(law):
    assert law(COUNTED, *QUICK).returncode == 0
    (lost,) = [path for path in law.store.glob("CountedTask/*/*/*/number.txt") if path.read_text() == "2"]
    lost.unlink()
    outcome = law(COUNTED, *QUICK)
    assert outcome.returncode == 0, outcome.text
    assert executions(law) == {0: 1, 1: 1, 2: 2, 3: 1}

"""What becomes of jobs: every output is there in the end, and a branch has run once for each time that it was lost."""

from __future__ import annotations

import signal

import pytest

from tests.cluster.batch import BatchLaw, wait_for

NUMBERS_OF_200 = list(range(200))


def test_a_branch_that_fails_or_is_killed_is_tried_again_and_a_lost_output_is_made_again(law: BatchLaw) -> None:
    outcome = law.counted("--fails", "1:once,2:kill")
    assert outcome.returncode == 0, outcome.text
    assert law.executions == {0: 1, 1: 2, 2: 2, 3: 1}
    assert law.numbers == [0, 1, 2, 3]
    assert "RuntimeError: branch 1 fails once" in outcome.text  # the end of its log
    (lost,) = [path for path in law.store.glob("CountedTask/*/*/*/number.txt") if path.read_text() == "3"]
    lost.unlink()
    again = law.counted("--fails", "1:once,2:kill")
    assert again.returncode == 0, again.text
    assert law.executions == {0: 1, 1: 2, 2: 2, 3: 2}
    assert law.numbers == [0, 1, 2, 3]


def test_a_branch_that_always_fails_ends_the_workflow_and_leaves_the_others_of_its_job_done(law: BatchLaw) -> None:
    options = ("--branches-wanted", "3", "--tasks-per-job", "3", "--retries", "0", "--fails", "1:always")
    outcome = law.counted(*options)
    assert outcome.returncode == 40
    assert "jobs of CountedTask have failed" in outcome.text
    assert "RuntimeError: branch 1 fails always" in outcome.text
    assert law.executions == {0: 1, 1: 1, 2: 1}
    assert law.numbers == [0, 2]
    again = law.counted(*options)
    assert again.returncode == 40
    assert law.executions == {0: 1, 1: 2, 2: 1}


def test_cancelled_and_held_jobs_are_reported_and_tried_again(law: BatchLaw) -> None:
    running = law.start_counted("--branches-wanted", "3", "--gate", *law.batch.options_to_hold)
    if law.batch.holds_before_start:
        wait_for(lambda: len(law.jobs) == 3)
    else:
        wait_for(lambda: law.executions == {0: 1, 1: 1, 2: 1})
    law.batch.hold(law.jobs[2])
    wait_for(lambda: {0, 1} <= set(law.executions))
    law.batch.cancel(law.jobs[0])
    running.says(law.batch.says_held)
    running.says(law.batch.says_cancelled)
    law.open_gate()
    outcome = running.ends()
    assert outcome.returncode == 0, outcome.text
    assert law.executions == {0: 2, 1: 1, 2: 1 if law.batch.holds_before_start else 2}
    assert law.numbers == [0, 1, 2]


def test_jobs_that_can_never_run_fail_for_the_reason_of_the_scheduler(law: BatchLaw) -> None:
    for options, reason in law.batch.impossible:
        outcome = law.counted("--branches-wanted", "1", *options)
        assert outcome.returncode == 40
        assert reason in outcome.text, outcome.text
        assert outcome.text.count("going to submit") == 1  # no retry, which would fare no better
        assert law.executions == {}
        wait_for(lambda: not law.queue)


def test_law_killed_while_it_submits_finds_its_jobs_again(law: BatchLaw) -> None:
    many = ("--branches-wanted", "5", "--submission-threads", "2", "--gate")
    law.slow_submission(3.0)
    running = law.start_counted(*many)
    wait_for(lambda: len(law.queue) >= 2)  # the scheduler has them, and law does not know
    running.gets(signal.SIGKILL)
    assert not law.jobs
    law.environment.clear()
    running = law.start_counted(*many)
    running.says("running: 5")
    law.open_gate()
    outcome = running.ends()
    assert outcome.returncode == 0, outcome.text
    assert "that an earlier law process has submitted" in outcome.text
    assert law.executions == dict.fromkeys(range(5), 1)
    assert law.numbers == [0, 1, 2, 3, 4]


def test_law_interrupted_or_killed_while_it_polls_goes_on_where_it_was(law: BatchLaw) -> None:
    options = ("--branches-wanted", "2", "--gate")
    running = law.start_counted(*options)
    running.says("running: 2")
    interrupted = running.gets(signal.SIGINT)
    assert interrupted.returncode != 0
    assert len(law.queue) == 2
    assert not law.locks
    running = law.start_counted(*options)
    running.says("running: 2")
    second = law.counted(*options)
    assert second.returncode == 40
    assert "another law process works on the same jobs" in second.text
    assert f"process {running.process.pid}" in second.text
    running.gets(signal.SIGKILL)
    running = law.start_counted(*options)
    running.says("running: 2")
    law.open_gate()
    outcome = running.ends()
    assert outcome.returncode == 0, outcome.text
    assert law.executions == {0: 1, 1: 1}
    assert law.numbers == [0, 1]


def test_without_polling_a_part_is_submitted_and_the_rest_when_law_returns(law: BatchLaw) -> None:
    options = ("--branches-wanted", "5", "--tasks-per-job", "2", "--parallel-jobs", "2", "--gate")
    first = law.counted(*options, "--no-poll")
    assert first.returncode == 0, first.text
    assert len(law.queue) == 2
    law.open_gate()
    outcome = law.counted(*options)
    assert outcome.returncode == 0, outcome.text
    assert law.executions == dict.fromkeys(range(5), 1)
    assert law.numbers == [0, 1, 2, 3, 4]


def test_jobs_are_cancelled_by_law_and_begin_anew(law: BatchLaw) -> None:
    options = ("--branches-wanted", "2", "--gate", "--retries", "0")
    assert law.counted(*options, "--no-poll").returncode == 0
    wait_for(lambda: law.executions == {0: 1, 1: 1})
    cancelled = law.counted(*options, "--cancel-jobs")
    assert cancelled.returncode == 0, cancelled.text
    wait_for(lambda: not law.queue)
    cleaned = law.counted(*options, "--cleanup-jobs")
    assert cleaned.returncode == 0, cleaned.text
    assert not list(law.store.glob("jobs/*/*/*/*/*"))
    law.open_gate()
    outcome = law.counted(*options)
    assert outcome.returncode == 0, outcome.text
    assert law.executions == {0: 2, 1: 2}
    assert law.numbers == [0, 1]


def test_200_branches_in_ten_jobs(law: BatchLaw) -> None:
    outcome = law.counted("--branches-wanted", "200", "--tasks-per-job", "20")
    assert outcome.returncode == 0, outcome.text
    assert law.executions == dict.fromkeys(NUMBERS_OF_200, 1)
    assert law.numbers == NUMBERS_OF_200


def test_a_scheduler_that_is_killed_and_started_again_loses_nothing(own_law: BatchLaw) -> None:
    law = own_law
    running = law.start_counted("--branches-wanted", "2", "--gate", "--poll-fails", "100")
    wait_for(lambda: law.executions == {0: 1, 1: 1})
    running.says("running: 2")
    law.batch.kill_daemon()
    running.says("occured during job status query")
    law.batch.start_daemon()
    law.open_gate()
    outcome = running.ends()
    assert outcome.returncode == 0, outcome.text
    assert law.executions == {0: 1, 1: 1}
    assert law.numbers == [0, 1]


@pytest.mark.parametrize("scheduler", ["slurm"], indirect=True)
def test_without_accounting_finished_jobs_are_found_in_the_queue(law: BatchLaw) -> None:
    law.environment |= {"LAW__job__slurm_cmd_squeue": "squeue --states=all", "LAW__job__slurm_cmd_sacct": "true"}
    many = ("--branches-wanted", "3", "--fails", "1:once", "--submission-threads", "1")
    law.slow_submission(2.0)
    running = law.start_counted(*many)
    wait_for(lambda: 0 in law.executions)
    running.gets(signal.SIGKILL)
    del law.environment["LAW__job__slurm_cmd_sbatch"]
    outcome = law.counted(*many)
    assert outcome.returncode == 0, outcome.text
    assert law.executions == {0: 1, 1: 2, 2: 1}
    assert law.numbers == [0, 1, 2]

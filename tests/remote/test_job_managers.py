"""What is asked of the schedulers beyond law's queries."""

from __future__ import annotations

import law
import pytest

from tasks.job_managers import HTCondorManager, SchedulerSilentError, SlurmManager


@pytest.mark.parametrize(
    ("manager", "queue", "past"),
    [
        (SlurmManager, "slurm_cmd_squeue", "slurm_cmd_sacct"),
        (HTCondorManager, "htcondor_cmd_q", "htcondor_cmd_history"),
    ],
)
def test_jobs_are_not_taken_for_lost_while_the_queue_does_not_answer(monkeypatch, manager, queue, past):
    commands = {queue: "false", past: "false"}
    monkeypatch.setattr(law.config, "get_expanded", lambda _, option: commands[option])
    with pytest.raises(SchedulerSilentError, match="which jobs it has"):
        manager().find(["honeyguide-1-0"])
    commands[queue] = "true"  # no job, and no accounting, which not every Slurm has
    assert manager().find(["honeyguide-1-0"]) == {}


@pytest.mark.parametrize(
    ("manager", "parent", "job"),
    [(SlurmManager, law.slurm.SlurmJobManager, 7), (HTCondorManager, law.htcondor.HTCondorJobManager, "7.0")],
)
def test_of_a_job_that_the_scheduler_does_not_know_the_outputs_tell_after_some_looks(monkeypatch, manager, parent, job):
    known = {"status": "running", "error": None}
    unknown = {"status": "failed", "error": "job not found in query response"}
    said = iter([known, unknown, unknown, known, unknown, unknown, unknown])
    monkeypatch.setattr(parent, "query", lambda _self, jobs: {jobs[0]: dict(next(said))})
    monkeypatch.setattr("tasks.job_managers.answer", lambda *_, **__: "")
    asked = manager()
    states = [asked.query([job])[job]["status"] for _ in range(7)]
    assert states == ["running", "pending", "pending", "running", "pending", "pending", "finished"]


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("ReqNodeNotAvail, Reserved for maintenance", "pending"),
        ("PartitionTimeLimit", "failed"),
        ("launch failed requeued held", "failed"),
    ],
)
def test_jobs_wait_for_the_end_of_a_maintenance_and_not_for_what_will_never_be(monkeypatch, reason, status):
    waiting = {7: {"status": "pending", "error": None}}
    monkeypatch.setattr(law.slurm.SlurmJobManager, "query", lambda *_: waiting)
    monkeypatch.setattr("tasks.job_managers.answer", lambda *_, **__: f"7    {reason}   ")
    cancelled = []
    monkeypatch.setattr(SlurmManager, "cancel", lambda _self, number, **_: cancelled.append(number))
    assert SlurmManager().query([7])[7]["status"] == status
    assert cancelled == ([7] if status == "failed" else [])


def test_a_suspended_job_lives():
    assert SlurmManager.map_status("SUSPENDED") == "running"


def test_a_job_that_slurm_has_put_back_into_the_queue_waits_whatever_the_exit_code_of_its_past():
    said = "7    PENDING   15:0   BeginTime\n8    REQUEUED   143:0   None\n9    FAILED   40:0   None\n"
    states = SlurmManager.parse_sacct_output(said)
    assert [states[number]["status"] for number in (7, 8, 9)] == ["pending", "pending", "failed"]


def test_of_a_job_that_has_left_the_queue_and_runs_for_ever_in_the_accounting_the_outputs_tell(monkeypatch):
    said = "7    RUNNING   0:0   None\n"
    monkeypatch.setattr(law.slurm.SlurmJobManager, "query", lambda self, _: self.parse_sacct_output(said))
    monkeypatch.setattr("tasks.job_managers.answer", lambda *_, **__: "")
    asked = SlurmManager()
    assert [asked.query([7])[7]["status"] for _ in range(3)] == ["running", "running", "finished"]

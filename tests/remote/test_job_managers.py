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

"""What is said about the time and the memory that branches took, and about those that failed."""

from __future__ import annotations

import csv
import json

from tasks.job_resources import JobResources
from tasks.usage_summary import BranchUsage, branch_usage, jobs_of_branches, summary, write_table


def branches(*memory: float, tries: int = 1) -> list[BranchUsage]:
    def one(number: int, mb: float) -> BranchUsage:
        wall = 10.0 * number + 10
        usage = {"wall_s": wall, "cpu_s": wall / 2, "memory_mb": mb, "host": f"n{number % 2}"}
        return BranchUsage(number, f"s{number}", "done", tries=tries, **usage)

    return [one(number, mb) for number, mb in enumerate(memory)]


def test_all_branches_in_a_few_lines():
    said = summary("SomeTask", branches(100, 300, 200, 400, 100), JobResources(cpus=2, memory_mb=600)).splitlines()
    assert said[0] == "SomeTask: 5 done"
    assert said[1].strip() == "time: median 30 s, most 50 s; 0.5 cores busy of 2 asked for"
    assert said[2].strip() == "memory: median 200 MB, most 400 MB of 600 MB asked for"
    assert said[3].strip() == "hosts: n0 (3), n1 (2)"
    assert said[4].strip() == "slowest: branch 4 (s4) (50 s, n0), branch 3 (s3) (40 s, n1), branch 2 (s2) (30 s, n0)"
    assert len(said) == 5


def test_requests_that_are_tight_or_far_too_large_are_named():
    used = branches(100, 1900)
    assert "close to it, --memory 2400 is safer" in summary("T", used, JobResources(memory_mb=2000))
    assert "with --memory 2400 jobs may start sooner" in summary("T", used, JobResources(memory_mb=8000))
    assert "--memory" not in summary("T", used, JobResources(memory_mb=4000))
    assert "asked for" not in summary("T", branches(100, 1900, tries=0), JobResources(memory_mb=2000)), (
        "ran without jobs"
    )


def test_what_failed_is_said_with_the_last_words_of_its_log(tmp_path):
    log = tmp_path / "job.txt"
    log.write_text("honeyguide job: begins\nTraceback:\nValueError: no such thing\nhoneyguide job: ends with 40\n")
    job = {"branches": [7], "status": "failed", "code": 40, "error": "FAILED", "extra": {"log": str(log)}}
    state = {"jobs": {"1": job}, "attempts": {"1": 2}}
    failed = branch_usage(7, "qcd", tmp_path / "nothing", jobs_of_branches(state)[7])
    assert (failed.status, failed.tries) == ("failed", 3)
    said = summary("T", [*branches(1), failed])
    assert said.startswith("T: 1 done, 1 failed, 1 tried more than once\n")
    assert f"failed: branch 7 (qcd): code 40, FAILED, ValueError: no such thing; log: {log}" in said
    assert summary("T", [branch_usage(8, "", tmp_path / "nothing", {})]) == "T: 1 missing"


def test_table_has_a_row_per_branch(tmp_path):
    write_table(branches(100, 200), tmp_path / "usage")
    records = json.loads((tmp_path / "usage.json").read_text())
    with (tmp_path / "usage.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["memory_mb"] for row in records] == [100, 200]
    assert [{key: str(value) for key, value in record.items()} for record in records] == rows

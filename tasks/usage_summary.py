"""What tasks took (time, cores, memory, hosts) and what became of their jobs: a few lines, and a table."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import law

from honeyguide.errors import StoreError
from honeyguide.io.atomic import atomic_file, read_manifest
from tasks.job_proxies import end_of_log
from tasks.targets import FolderTarget

if TYPE_CHECKING:
    from tasks.base import HoneyguideTask
    from tasks.job_resources import JobResources

CLOSE, FAR = 0.9, 0.25
"""Parts of the requested memory: a peak above the first is close to it, one below the second far from it."""
_MANY_MB = 1000  # a request below is nothing that jobs wait longer for
_SHOWN = 3
_BAD = ("failed", "retry")


@dataclass(frozen=True)
class BranchUsage:
    """A branch, what it took, and its job; what is not known is None or empty.

    Attributes:
        branch: Number; -1 for a task without branches.
        name: What people call it.
        status: ``done``, or what its job is: ``pending``, ``running``, ``failed``, ``retry``; else ``missing``.
        host: Where the output was made.
        wall_s: Time [s].
        cpu_s: CPU time of all threads and child processes [s].
        memory_mb: Largest resident memory [MB].
        tries: Number of jobs that were submitted for it.
        error: Why the job has failed.
        log: The last job's log.
    """

    branch: int
    name: str
    status: str
    host: str = ""
    wall_s: float | None = None
    cpu_s: float | None = None
    memory_mb: float | None = None
    tries: int = 0
    error: str = ""
    log: str = ""


def print_usage(task: HoneyguideTask, depth: int = 0) -> None:
    """Prints what a task and those upstream of it took, down to a depth; a negative one has no end."""
    for one in _upstream(task, depth, set()):
        if usage := task_usage(one):
            print(summary(one.task_family, usage, getattr(one, "job_resources", None)))  # noqa: T201


def task_usage(task: Any) -> list[BranchUsage]:
    """Returns what each branch of a task took, of a task without branches what it took itself."""
    branches = task.get_branch_tasks() if getattr(task, "branch", None) == -1 else {getattr(task, "branch", -1): task}
    jobs = jobs_of_branches(task.job_state()) if hasattr(task, "job_state") else {}
    outputs = {number: (one, one.output()) for number, one in branches.items()}
    return [
        branch_usage(number, one.branch_name(), output.folder, jobs.get(number, {}))
        for number, (one, output) in outputs.items()
        if isinstance(output, FolderTarget)
    ]


def _upstream(task: Any, depth: int, seen: set[str]) -> Iterator[Any]:
    if task.task_id in seen:
        return
    seen.add(task.task_id)
    yield task
    for other in law.util.flatten(task.requires()) if depth else ():
        yield from _upstream(other, depth - 1, seen)


def branch_usage(branch: int, name: str, output: Path, job: Mapping[str, Any]) -> BranchUsage:
    """Returns what a branch took: from the manifest of its output, where there is one, and from its job's state."""
    known: dict[str, Any] = {"tries": job.get("tries", 0), "log": job.get("extra", {}).get("log") or ""}
    try:
        made = read_manifest(output)["metadata"]
    except StoreError:
        status = job.get("status") or "missing"
        return BranchUsage(branch, name, status, error=_reason(job) if status in _BAD else "", **known)
    usage = made.get("usage") or {}
    return BranchUsage(
        branch,
        name,
        "done",
        host=made.get("host", ""),
        wall_s=usage.get("wall_s"),
        cpu_s=usage.get("cpu_s"),
        memory_mb=round(usage["memory_bytes"] / 1e6, 1) if usage.get("memory_bytes") else None,
        **known,
    )


def _reason(job: Mapping[str, Any]) -> str:
    """Returns what the scheduler and the log say about a job that has failed."""
    log = Path(job.get("extra", {}).get("log") or "")
    lines = end_of_log(log.read_text(errors="replace")) if log.is_file() else []
    said = [line for line in lines if not line.startswith("honeyguide job:")]
    code = f"code {job['code']}" if job.get("code") else ""
    return ", ".join(filter(None, [code, job.get("error") or "", said[-1].strip() if said else ""]))


def jobs_of_branches(state: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Returns the job of each branch, from law's state of all jobs, with the number of its ``tries``."""
    attempts = {int(number): count for number, count in state.get("attempts", {}).items()}
    jobs = state.get("jobs", {}).items()
    return {branch: {**job, "tries": 1 + attempts.get(int(n), 0)} for n, job in jobs for branch in job["branches"]}


def write_table(rows: Sequence[BranchUsage], stem: Path) -> None:
    """Writes a row per branch, as ``<stem>.csv`` and ``<stem>.json``."""
    records = [asdict(row) for row in rows]
    with atomic_file(stem.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(records, indent=1))
    with atomic_file(stem.with_suffix(".csv")) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(BranchUsage)])
        writer.writeheader()
        writer.writerows(records)


def summary(title: str, rows: Sequence[BranchUsage], asked: JobResources | None = None) -> str:
    """Returns a few lines about all branches; ``asked`` is what their jobs ask for."""
    asked = asked if any(row.tries for row in rows) else None
    done = [row for row in rows if row.wall_s is not None]
    return "\n    ".join([_counts(title, rows), *_lines(done, asked), *_failures(rows)])


def _counts(title: str, rows: Sequence[BranchUsage]) -> str:
    counts = Counter(row.status for row in rows)
    parts = [f"{count} {status}" for status, count in counts.most_common() if len(rows) > 1 or status != "done"]
    again = sum(row.tries > 1 for row in rows)
    parts += [f"{again} tried more than once"] if again else []
    return f"{title}: {', '.join(parts)}" if parts else title


def _lines(done: Sequence[BranchUsage], asked: JobResources | None) -> Iterator[str]:
    if not done:
        return
    walls = sorted(((row.wall_s or 0.0, row) for row in done), key=lambda item: -item[0])
    cores = median((row.cpu_s or 0.0) / wall if wall else 0.0 for wall, row in walls)
    of = f" of {asked.cpus} asked for" if asked else ""
    yield f"time: {_spread([wall for wall, _ in walls], ' s')}; {cores:.1f} cores busy{of}"
    memory = [row.memory_mb for row in done if row.memory_mb]
    if memory:
        yield f"memory: {_spread(memory, ' MB')}{_advice(max(memory), asked.memory_mb if asked else 0)}"
    hosts = Counter(row.host for row in done)
    more = f" and {len(hosts) - _SHOWN} more" if len(hosts) > _SHOWN else ""
    yield "hosts: " + ", ".join(f"{host} ({count})" for host, count in hosts.most_common(_SHOWN)) + more
    if len(done) > _SHOWN:
        yield "slowest: " + ", ".join(f"{_called(row)} ({wall:,.4g} s, {row.host})" for wall, row in walls[:_SHOWN])


def _failures(rows: Sequence[BranchUsage]) -> Iterator[str]:
    failed = [row for row in rows if row.status in _BAD]
    for row in failed[:_SHOWN]:
        log = f"; log: {row.log}" if row.log else ""
        yield f"{row.status}: {_called(row)}: {row.error or 'no reason known'}{log}"
    if len(failed) > _SHOWN:
        yield f"... and {len(failed) - _SHOWN} more"


def _advice(peak: float, requested: int) -> str:
    if not requested:
        return ""
    enough = 100 * -(-1.25 * peak // 100)
    said = f" of {requested:,} MB asked for"
    if peak > CLOSE * requested:
        return f"{said}: close to it, --memory {enough:.0f} is safer"
    if requested > _MANY_MB and peak < FAR * requested:
        return f"{said}: with --memory {enough:.0f} jobs may start sooner"
    return said


def _spread(values: Sequence[float], unit: str) -> str:
    if len(values) == 1:
        return f"{values[0]:,.4g}{unit}"
    return f"median {median(values):,.4g}{unit}, most {max(values):,.4g}{unit}"


def _called(row: BranchUsage) -> str:
    return f"branch {row.branch}" + (f" ({row.name})" if row.name else "")

"""What remote workflows cost: CPU time of the submitting process per branch, and of a job, beside law's own workflow.

Run ``python -m benchmarks.remote`` from the root of the repository. Both workflows have empty branches. The schedulers
are scripts that accept all and say that all is done, so that thousands of jobs cost what law does about them; what a
job costs is measured with a few real processes (``tests/remote/batch_stand_in.py``).
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
STAND_IN = ROOT / "tests" / "remote" / "batch_stand_in.py"
COUNTS = (10, 100, 1000)
_ROUNDS = 3
_COMMANDS = {
    "slurm": {name: name for name in ("sbatch", "squeue", "sacct", "scancel")},
    "htcondor": {name: f"condor_{name}" for name in ("submit", "q", "history", "rm")},
}
_SCHEDULER = r"""#!/bin/sh
command="$1"; shift
case "$command" in
    sbatch) echo "Submitted batch job $$" ;;
    sacct)
        while [ "$1" != --jobs ]; do shift; done
        for id in $(echo "$2" | tr , ' '); do printf '%-20s %-20s %-20s %-20s\n' "$id" COMPLETED 0:0 None; done ;;
    condor_submit) echo "$(grep -c '^    _' "$1") job(s) submitted to cluster $$." ;;
    condor_history)
        for id in "$@"; do
            case "$id" in
                -*) break ;;
                *) printf 'ClusterId = %s\nProcId = %s\nJobStatus = 4\nExitCode = 0\n\n' "${id%.*}" "${id#*.}" ;;
            esac
        done ;;
esac
"""

Phases = dict[str, float]


def measure(scale: float = 1.0) -> list[dict[str, Any]]:
    """Returns a row per scheduler and number of branches, and two rows of what a job costs.

    Ratios are those of law's own workflow, measured in turns: median, lowest and highest of the rounds. ``*_ms`` are
    medians of CPU milliseconds of the submitting process per branch: ``look`` makes the tasks and looks whether they
    are complete, ``submit`` submits (with ``state``, writing down what was), ``poll`` asks for the states, looks at
    the outputs and sums up.

    Args:
        scale: Factor of the numbers of branches 10, 100 and 1,000.
    """
    counts = [max(1, round(count * scale)) for count in COUNTS]
    rows = []
    for system in _COMMANDS:
        for count in counts:
            rounds = [{kind: _submitter(kind, system, count) for kind in ("law", "honeyguide")} for _ in range(_ROUNDS)]
            rows.append(_row(system, count, rounds))
    for branches in (1, 10):
        rows.append(_job_row(branches))
    return rows


@contextlib.contextmanager
def _environment(folder: Path, system: str, runner: str) -> Iterator[None]:
    """Sets what law and the tasks read, for the block."""
    for name in ("store", "law", "batch"):
        (folder / name).mkdir()
    values = {f"LAW__job__{system}_cmd_{key}": f"{runner} {name}" for key, name in _COMMANDS[system].items()}
    values |= {
        "LAW_CONFIG_FILE": str(ROOT / "law.cfg"), "LAW_HOME": str(folder / "law"), "PYTHONPATH": str(ROOT),
        "HONEYGUIDE_STORE": str(folder / "store"), "HONEYGUIDE_SITE": "", "BATCH_STAND_IN": str(folder / "batch"),
        "VIRTUAL_ENV": sys.prefix, "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _submitter(kind: str, system: str, count: int) -> Phases:
    """Returns CPU seconds of the submitting process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "scheduler"
        script.write_text(_SCHEDULER)
        script.chmod(0o755)
        with _environment(folder, system, str(script)):
            phases: Phases = _in_a_process(_submit_and_poll, kind, system, count)
            return phases


def _in_a_process(function: Any, *arguments: Any) -> Any:
    """Returns what a function returns, called in a process that law has not yet been used in."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _submit_and_poll(kind: str, system: str, count: int) -> Phases:
    from benchmarks.remote_tasks import ENDS, prepared

    begin = time.process_time()
    with prepared(kind, workflow=system, count=count, poll_interval=0.0) as task:
        assert not task.complete()
        looked = time.process_time()
        state = _timed(task.workflow_proxy, "dump_job_data")
        task.run()
        end = time.process_time()
        assert task.complete()
    (submitted, made) = ENDS.pop()
    return {
        "look": looked - begin,
        "submit": submitted - looked,
        "state": sum(state),
        "poll": end - submitted - made,
        "total": end - begin - made,
    }


def _timed(owner: Any, name: str) -> list[float]:
    """Returns a list that gets the CPU seconds of each call of a method."""
    seconds: list[float] = []
    method = getattr(owner, name)

    def timed() -> None:
        begin = time.process_time()
        method()
        seconds.append(time.process_time() - begin)

    setattr(owner, name, timed)
    return seconds


def _job(kind: str, branches: int) -> float:
    """Returns the CPU seconds of a job of so many branches, on a stand-in for Slurm."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _environment(folder, "slurm", f"{sys.executable} -S {STAND_IN}"):
            _in_a_process(_run_job, kind, branches)
        (job,) = [json.loads(path.read_text()) for path in (folder / "batch").glob("*.json")]
        seconds: float = job["cpu_s"]
        return seconds


def _run_job(kind: str, branches: int) -> None:
    from benchmarks.remote_tasks import prepared

    settings = {"tasks_per_job": branches, "poll_interval": 0.01, "real_jobs": True, "retries": 0}
    with prepared(kind, workflow="slurm", count=branches, **settings) as task:
        task.run()
        assert task.complete()


def _row(system: str, count: int, rounds: Sequence[dict[str, Phases]]) -> dict[str, Any]:
    row: dict[str, Any] = {"name": f"submitting, {system}", "branches": count, "reference": "law's workflow"}
    for phase in ("look", "submit", "state", "poll", "total"):
        row[f"{phase}_ms"] = round(1e3 * median(one["honeyguide"][phase] for one in rounds) / count, 3)
    row["total_ms_of_law"] = round(1e3 * median(one["law"]["total"] for one in rounds) / count, 3)
    return row | _ratio([one["honeyguide"]["total"] / one["law"]["total"] for one in rounds])


def _job_row(branches: int) -> dict[str, Any]:
    rounds = [{kind: _job(kind, branches) for kind in ("law", "honeyguide")} for _ in range(_ROUNDS)]
    row: dict[str, Any] = {"name": "a job", "branches": branches, "reference": "law's job script"}
    row["total_ms"] = round(1e3 * median(one["honeyguide"] for one in rounds), 1)
    row["total_ms_of_law"] = round(1e3 * median(one["law"] for one in rounds), 1)
    return row | _ratio([one["honeyguide"] / one["law"] for one in rounds])


def _ratio(ratios: Sequence[float]) -> dict[str, Any]:
    return {"ratio": round(median(ratios), 3), "spread": f"{min(ratios):.3f} to {max(ratios):.3f}"}


def main() -> None:
    """Prints the rows."""
    for row in measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        print(json.dumps(row))  # noqa: T201


if __name__ == "__main__":
    main()

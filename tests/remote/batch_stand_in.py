"""A stand-in for the commands of Slurm and HTCondor: jobs are processes here, their environment as bare as a cluster's.

``python -S batch_stand_in.py sbatch|squeue|sacct|scancel|condor_submit|condor_q|... ...``, with ``BATCH_STAND_IN``, a
folder with a file per job. Files there change what happens: with ``hold`` no job starts, for the reason in it; with
``refuse`` no job is accepted; with ``delay`` a submission takes so many seconds before it answers.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

STATE = Path(os.environ["BATCH_STAND_IN"])
ACTIVE = ("PENDING", "RUNNING")
HTCONDOR_STATES = {"PENDING": 1, "RUNNING": 2, "CANCELLED": 3, "COMPLETED": 4, "FAILED": 4, "HELD": 5}


def submit(job_id: str, job: dict, command: list[str], environment: dict[str, str]) -> None:
    """Starts a job, whose process outlives this one."""
    write(job_id, job | {"status": "PENDING"})
    if os.fork():
        return
    os.setsid()
    devnull = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(devnull, stream)
    reason = asked("hold")
    if reason is None:
        run(job_id, job, command, environment)
    else:
        write(job_id, job | {"status": job["held"], "reason": reason})
    os._exit(0)


def run(job_id: str, job: dict, command: list[str], environment: dict[str, str]) -> None:
    """Runs a job to its end, unless somebody says another end meanwhile."""
    bare = {"PATH": "/usr/bin:/bin", "BATCH_STAND_IN": str(STATE), **environment}
    with Path(job["output"]).open("ab") as output:
        process = subprocess.Popen(
            command, cwd=job["folder"], env=bare, stdout=output, stderr=output, start_new_session=True
        )
    write(job_id, job | {"status": "RUNNING", "pid": process.pid})
    code = process.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = {"code": code, "cpu_s": used.ru_utime + used.ru_stime}
    done = {} if read(job_id)["status"] != "RUNNING" else {"status": "FAILED" if code else "COMPLETED"}
    write(job_id, read(job_id) | cost | done)


def end(job_id: str, **state: str) -> None:
    """Ends a job that waits or runs, with another state."""
    job = read(job_id)
    if job["status"] in (*ACTIVE, "HELD"):
        write(job_id, job | state)
        if "pid" in job and job["status"] == "RUNNING":
            os.killpg(job["pid"], signal.SIGKILL)


def answer(text: str) -> None:
    """Says what a submission has come to, or that there was none."""
    time.sleep(float(asked("delay") or 0))
    print(text)  # noqa: T201


def refuse() -> None:
    """Ends this process where no job is to be accepted."""
    reason = asked("refuse")
    if reason is not None:
        sys.exit(reason)


# Slurm


def sbatch(arguments: list[str]) -> None:
    """Starts a job and says its number."""
    refuse()
    script = Path(arguments[-1]).resolve()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)[= ](.*)$", script.read_text(), re.MULTILINE))
    number = next_number()
    job = {"name": options.get("job-name", script.name), "output": options["output"], "held": "PENDING"}
    job |= {"folder": options.get("chdir", "."), "asked": options}
    submit(str(number), job, ["/bin/bash", str(script)], {"SLURM_JOB_ID": str(number)})
    answer(f"Submitted batch job {number}")


def squeue(arguments: list[str]) -> None:
    """Says which jobs wait or run."""
    say(arguments, ACTIVE)


def sacct(arguments: list[str]) -> None:
    """Says what became of all jobs."""
    say(arguments, None)


def scancel(arguments: list[str]) -> None:
    """Ends jobs."""
    for job_id in filter(str.isdigit, arguments):
        end(job_id, status="CANCELLED")


def say(arguments: list[str], wanted: tuple[str, ...] | None) -> None:
    """Says the columns that are asked for, of the jobs that are."""
    text = " ".join(arguments)
    columns = [item.split(":")[0].split("%")[0] for item in re.search(r"--[Ff]ormat[= ](\S+)", text)[1].split(",")]
    chosen = [(key, re.search(rf"--{key}[= ](\S+)", text)) for key in ("jobs", "name")]
    for job_id, job in jobs():
        own = {"jobs": job_id, "name": job["name"]}
        if (wanted and job["status"] not in wanted) or any(m and own[key] not in m[1].split(",") for key, m in chosen):
            continue
        values = {
            "JobID": job_id, "State": job["status"], "ExitCode": f"{abs(job.get('code', 0))}:0", "Name": job["name"],
            "JobName": job["name"], "Reason": job.get("reason", "None"),
        }  # fmt: skip
        print(*(values[column].ljust(20) for column in columns))  # noqa: T201


# HTCondor


def condor_version(_arguments: list[str]) -> None:
    """Says a version, in HTCondor's words."""
    print("$CondorVersion: 23.9.6 2024-08-08 BuildID: 0 $")  # noqa: T201


def condor_submit(arguments: list[str]) -> None:
    """Starts the jobs of ``queue <names> from (...)`` in a submit file and says their cluster."""
    refuse()
    file = Path(arguments[-1]).resolve()
    head, names, rows = re.fullmatch(r"(.*?)^queue (.*?) from \((.*)\)\s*", file.read_text(), re.DOTALL | re.M).groups()
    lines = {key.strip().lower(): value.strip() for key, _, value in (x.partition("=") for x in head.splitlines())}
    cluster = next_number()
    items = [item.strip() for item in rows.strip().splitlines()]
    for process, item in enumerate(items):
        macros = {"Cluster": str(cluster), "Process": str(process)}
        macros |= zip((name.strip() for name in names.split(",")), re.split(r"[,\s]+", item, maxsplit=1), strict=False)
        submit_process(
            f"{cluster}.{process}", {key: expanded(text, macros) for key, text in lines.items()}, file.parent
        )
    answer(f"Submitting job(s){'.' * len(items)}\n{len(items)} job(s) submitted to cluster {cluster}.")


def submit_process(job_id: str, lines: dict[str, str], folder: Path) -> None:
    """Starts one of the jobs of a cluster, in a folder of its own with the files that are to be there."""
    scratch = STATE / "execute" / job_id
    scratch.mkdir(parents=True)
    shutil.copy(folder / lines["executable"], scratch / "condor_exec.exe")
    for name in filter(None, lines.get("transfer_input_files", "").split(",")):
        shutil.copy(folder / name.strip(), scratch)
    job = {"name": lines["+honeyguidejobs"].strip('"'), "output": lines["output"], "held": "HELD"}
    job |= {"folder": str(scratch), "asked": lines}
    variables = dict(item.split("=", 1) for item in shlex.split(lines["environment"].strip('"')))
    submit(job_id, job, ["/bin/bash", "condor_exec.exe"], {"_CONDOR_SCRATCH_DIR": str(scratch), **variables})


def expanded(text: str, macros: dict[str, str]) -> str:
    """Returns a value of a submit file with ``$(...)`` filled in."""
    return re.sub(r"\$\((\w+)\)", lambda match: macros[match[1]], text)


def condor_q(arguments: list[str]) -> None:
    """Says which jobs are in the queue: they wait, run or are held."""
    if "-better-analyze" in arguments:
        print("[0]          0  TARGET.Memory >= RequestMemory\n\nNo machines matched the jobs's constraints")  # noqa: T201
        return
    say_attributes(arguments, (*ACTIVE, "HELD"))


def condor_history(arguments: list[str]) -> None:
    """Says which jobs have left the queue."""
    say_attributes(arguments, ("CANCELLED", "COMPLETED", "FAILED"))


def condor_rm(arguments: list[str]) -> None:
    """Takes jobs out of the queue."""
    for job_id in arguments:
        end(job_id, status="CANCELLED", removed="via condor_rm (by user tester)")


def condor_hold(arguments: list[str]) -> None:
    """Ends jobs and keeps them in the queue."""
    for job_id in arguments:
        end(job_id, status="HELD", reason="via condor_hold (by user tester)")


def say_attributes(arguments: list[str], wanted: tuple[str, ...]) -> None:
    """Says the attributes that are asked for, as lines with names (``-af:lng``) or a line per job (``-af``)."""
    form = next(item for item in arguments if item.startswith("-af"))
    names = arguments[arguments.index(form) + 1 :]
    names = names[: names.index("-limit")] if "-limit" in names else names
    chosen = [item for item in arguments[: arguments.index(form)] if re.fullmatch(r"\d+(\.\d+)?", item)]
    constraint = arguments[arguments.index("-constraint") + 1] if "-constraint" in arguments else ""
    marks = re.findall(r'HoneyguideJobs == "([^"]*)"', constraint)
    for job_id, job in jobs():
        if job["status"] in wanted and (job_id in chosen or job["name"] in marks):
            values = [(name, attribute(job_id, job, name)) for name in names]
            long = "".join(f"{name} = {value}\n" for name, value in values)
            print(long if ":l" in form else " ".join(value for _, value in values))  # noqa: T201


def attribute(job_id: str, job: dict, name: str) -> str:
    """Returns a job's attribute; a job that a signal ends has no exit code."""
    code = job.get("code", -1)
    values = {
        "ClusterId": job_id.split(".")[0], "ProcId": job_id.split(".")[1], "HoneyguideJobs": job["name"],
        "JobStatus": str(HTCONDOR_STATES[job["status"]]), "ExitCode": str(code) if code >= 0 else "undefined",
        "HoldReason": job.get("reason", "undefined"), "RemoveReason": job.get("removed", "undefined"),
    }  # fmt: skip
    return values.get(name, "undefined")


# the jobs


def jobs() -> Iterator[tuple[str, dict]]:
    """Yields the jobs in the order of their submission."""
    for path in sorted(STATE.glob("*.json"), key=lambda path: [int(part) for part in path.stem.split(".")]):
        yield path.stem, read(path.stem)


def asked(what: str) -> str | None:
    """Returns what a file in the folder says, None where there is none."""
    return (STATE / what).read_text() if (STATE / what).exists() else None


def next_number() -> int:
    """Returns a number that nobody has had."""
    number = 1
    while True:
        try:
            os.close(os.open(STATE / f"number_{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            number += 1
        else:
            return number


def write(job_id: str, job: dict) -> None:
    """Writes a job down, whole at any time."""
    partial = STATE / f".{job_id}.{os.getpid()}"
    partial.write_text(json.dumps(job))
    partial.replace(STATE / f"{job_id}.json")


def read(job_id: str) -> dict:
    """Returns a job."""
    return json.loads((STATE / f"{job_id}.json").read_text())


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    command.__name__: command
    for command in (
        sbatch, squeue, sacct, scancel,
        condor_version, condor_submit, condor_q, condor_history, condor_rm, condor_hold,
    )
}  # fmt: skip

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](sys.argv[2:])

"""A stand-in for Slurm's commands: jobs are processes of this machine, with an environment as bare as a cluster's.

``python -S batch_stand_in.py sbatch|squeue|sacct|scancel ...``, with ``BATCH_STAND_IN``, a folder with a file per job.
With a file ``hold`` there all jobs wait, for the reason in it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(os.environ["BATCH_STAND_IN"])


def sbatch(arguments: list[str]) -> None:
    """Starts a job and says its number."""
    script = Path(arguments[-1]).resolve()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)[= ](.*)$", script.read_text(), re.MULTILINE))
    number = _next_number()
    job = {"name": options.get("job-name", script.name), "status": "PENDING", "code": 0, "options": options}
    _write(number, job)
    pid = os.fork()
    if pid == 0:
        os.setsid()
        devnull = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(devnull, stream)
        _run(number, script, job)
        os._exit(0)
    time.sleep(float(os.environ.get("BATCH_STAND_IN_DELAY", "0")))
    print(f"Submitted batch job {number}")  # noqa: T201


def _run(number: int, script: Path, job: dict) -> None:
    reason = STATE / "hold"
    if reason.exists():
        _write(number, job | {"reason": reason.read_text()})
        return
    options = job["options"]
    with Path(options["output"]).open("ab") as output:
        bare = {"PATH": "/usr/bin:/bin", "BATCH_STAND_IN": str(STATE)}
        process = subprocess.Popen(
            ["/bin/bash", str(script)], cwd=options.get("chdir", "."), env=bare, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        _write(number, job | {"status": "RUNNING", "pid": process.pid})
        code = process.wait()
    if _read(number)["status"] == "RUNNING":
        _write(number, job | {"status": "FAILED" if code else "COMPLETED", "code": abs(code)})


def squeue(arguments: list[str]) -> None:
    """Says which jobs wait or run."""
    _say(arguments, ("PENDING", "RUNNING"))


def sacct(arguments: list[str]) -> None:
    """Says what became of all jobs."""
    _say(arguments, None)


def scancel(arguments: list[str]) -> None:
    """Ends jobs."""
    for number in map(int, (item for item in arguments if item.isdigit())):
        job = _read(number)
        if job["status"] in ("PENDING", "RUNNING"):
            _write(number, job | {"status": "CANCELLED"})
            if "pid" in job:
                os.killpg(job["pid"], signal.SIGKILL)


def _say(arguments: list[str], wanted: tuple[str, ...] | None) -> None:
    text = " ".join(arguments)
    columns = [item.split(":")[0].split("%")[0] for item in re.search(r"--[Ff]ormat[= ](\S+)", text)[1].split(",")]
    numbers, names = re.search(r"--jobs[= ](\S+)", text), re.search(r"--name[= ](\S+)", text)
    for path in sorted(STATE.glob("*.json")):
        number, job = int(path.stem), _read(int(path.stem))
        if wanted and job["status"] not in wanted:
            continue
        if numbers and str(number) not in numbers[1].split(","):
            continue
        if names and job["name"] not in names[1].split(","):
            continue
        values = {
            "JobID": number, "State": job["status"], "ExitCode": f"{job['code']}:0", "Name": job["name"],
            "JobName": job["name"], "Reason": job.get("reason", "None"),
        }  # fmt: skip
        print(*(str(values[column]).ljust(20) for column in columns))  # noqa: T201


def _next_number() -> int:
    number = 1
    while True:
        try:
            os.close(os.open(STATE / f"{number}.json", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            number += 1
        else:
            return number


def _write(number: int, job: dict) -> None:
    partial = STATE / f".{number}.{os.getpid()}"
    partial.write_text(json.dumps(job))
    partial.replace(STATE / f"{number}.json")


def _read(number: int) -> dict:
    text = (STATE / f"{number}.json").read_text()
    return json.loads(text) if text else {"name": "", "status": "PENDING", "code": 0}


if __name__ == "__main__":
    {"sbatch": sbatch, "squeue": squeue, "sacct": sacct, "scancel": scancel}[sys.argv[1]](sys.argv[2:])

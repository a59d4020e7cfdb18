"""Starts the processes of this node that train a model together: ``python -m tasks.launch JOB.json --node 1 ...``.

torchrun starts and watches them. A pipe leads from here to their standard input: a byte asks them to stop, and its end,
when this process has ended in whatever way, makes them end at once. So none is left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from honeyguide import errors
from honeyguide.errors import ConfigError, HoneyguideError
from honeyguide.io.atomic import atomic_file
from honeyguide.training.stopping import AbandonedError, StoppedError, StopRequest
from tasks import errors as task_errors
from tasks.nodes import Nodes
from tasks.rank import STOP, as_record, obey, record_path
from tasks.training_job import TrainingJob

ROOT = Path(__file__).resolve().parent.parent
_SECONDS_TO_STOP = 120  # for the step at hand and a checkpoint
_KINDS = {kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type)} | {
    kind.__name__: kind for kind in (StoppedError, AbandonedError)
}
_AGAIN = "run the same command again: it goes on from the last checkpoint"
_KILLED = "one of the processes was killed"
_LINES = 12  # of a message that is not one of ours


def run_job(job: TrainingJob, nodes: Nodes) -> None:
    """Trains in this process, or in as many as the settings say.

    Raises:
        HoneyguideError: What one of the processes has raised.
    """
    if job.training.processes == nodes.count == 1:
        from honeyguide.training.ranks import Member  # torch, which whoever only starts others does not need

        job.run(Member())
        return
    path = job.checkpoint / "job.json"
    # another node may read it while it is written again
    with atomic_file(path) as partial:
        partial.write_text(job.model_dump_json())
    launch(path, processes=job.training.processes, nodes=nodes)


def launch(job: Path, *, processes: int, nodes: Nodes) -> None:
    """Starts this node's processes and returns when they are done.

    Args:
        job: File with a :class:`TrainingJob`, on a disk that all nodes see.
        processes: Number of processes over all nodes.
        nodes: The nodes.

    Raises:
        ConfigError: The processes can't be shared out evenly, or the nodes can't meet.
        StoppedError: This process got SIGTERM; the checkpoint has all that was done.
        HoneyguideError: What one of the processes has raised.
    """
    nodes.check(processes)
    here = processes // nodes.count
    if nodes.number == 0:
        for path in _record_paths(job, processes, nodes).values():
            path.unlink(missing_ok=True)
    with tempfile.TemporaryFile("w+") as said, StopRequest() as stop:
        commands = [_command(job, here, nodes), *([nodes.command_of_others(job)] if nodes.srun else [])]
        if _watch(commands, _environment(here), said, stop):
            said.seek(0)
            reason = _reason(job, processes, said.read(), nodes=nodes, stopped=stop.requested)
            if nodes.number and reason.what == _KILLED:  # who is killed can't say so, nor see the others
                record_path(job, f"node-{nodes.number}").write_text(json.dumps(as_record(reason)))
            raise reason


def _command(job: Path, here: int, nodes: Nodes) -> list[str]:
    if nodes.count == 1:
        meeting = ["--standalone", "--local-addr", "127.0.0.1"]
    else:
        host, _, port = nodes.endpoint.rpartition(":")
        meeting = [f"--nnodes={nodes.count}", f"--node-rank={nodes.number}", f"--master-addr={host}",
                   f"--master-port={port}"]  # fmt: skip
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--shutdown-timeout={_SECONDS_TO_STOP}"]
    return [*torchrun, *meeting, f"--nproc-per-node={here}", "-m", "tasks.rank", str(job), "--obey-stdin"]


def _environment(here: int) -> dict[str, str]:
    """Returns the environment of the processes: this node's cores are shared out.

    A job's cores are those that it was given; elsewhere somebody may have decided on threads.
    """
    cores = os.environ.get("HONEYGUIDE_CPUS")
    threads = {"OMP_NUM_THREADS": str(max(1, int(cores or os.cpu_count() or 1) // here))}
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    given = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    given.pop("HONEYGUIDE_IN_CONTAINER", None)  # other nodes are not
    return given | threads if cores else threads | given


def _watch(commands: Sequence[Sequence[str]], environment: dict[str, str], said: IO[str], stop: StopRequest) -> int:
    """Returns the exit status of the first one that fails; what was first has started writes to ``said``.

    The first one is torchrun, whose processes write where this one does. All have the same pipe as standard input: one
    of those at its end reads a wish to stop, and tells all.
    """
    read_end, write_end = os.pipe()
    running = [
        subprocess.Popen(command, env=environment, stdin=read_end, stdout=2, stderr=None if number else said)
        for number, command in enumerate(commands)
    ]
    os.close(read_end)
    try:
        return _wait(running, write_end, stop)
    finally:
        os.close(write_end)
        for number, process in enumerate(running):
            with contextlib.suppress(subprocess.TimeoutExpired):  # srun ends what it has started on other nodes
                process.wait(timeout=_SECONDS_TO_STOP if number else 0)
            process.kill()
            process.wait()


def _wait(running: Sequence[subprocess.Popen[bytes]], write_end: int, stop: StopRequest) -> int:
    """Returns the first exit status that is not 0, once all have ended or the others have had time to."""
    asked, status, until = False, 0, math.inf
    while any(process.poll() is None for process in running) and time.monotonic() < until:
        for process in running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)
            if process.returncode and not status:
                status, until = process.returncode, time.monotonic() + _SECONDS_TO_STOP
        if stop.requested and not asked:
            asked = True
            os.write(write_end, STOP)
    return status or next((process.returncode for process in running if process.returncode), 0)


def _reason(job: Path, processes: int, said: str, *, nodes: Nodes, stopped: bool) -> HoneyguideError:
    """Returns why the processes of this training have failed: the first cause, on whichever node."""
    paths = _record_paths(job, processes, nodes)
    records: dict[Any, Any] = {name: json.loads(path.read_text()) for name, path in paths.items() if path.is_file()}
    in_order = sorted(records, key=lambda name: records[name]["time"])
    for record in (records[name] for name in in_order):
        if "what" in record:
            return _KINDS.get(record["kind"], HoneyguideError)(record["what"], **record["details"])
    if stopped:
        return StoppedError("the training was asked to stop (SIGTERM) before it had begun", hint=_AGAIN)
    where = f"a training with {processes} processes"
    busy = re.search(r"port: (\d+).*EADDRINUSE", said)
    if busy:
        return ConfigError(
            "the port where the nodes shall meet is in use", where="--rendezvous", got=busy[1], hint="choose another"
        )
    killed = [int(code) for code in re.findall(r"exitcode\s*:\s*-(\d+)", said) if int(code) != signal.SIGTERM]
    if killed:
        return HoneyguideError(_KILLED, where=where, got=signal.Signals(killed[0]).name, hint=_AGAIN)
    if records:
        where, said = f"{where}: number {in_order[0]}", records[in_order[0]]["text"]
    elif nodes.srun and not said.strip():
        return HoneyguideError("another node has failed", where=where, hint=f"see above; {_AGAIN}")
    return HoneyguideError("one of the processes has failed", where=where, got=_end(said))


def _record_paths(job: Path, processes: int, nodes: Nodes) -> dict[Any, Path]:
    """Returns where processes, and launchers on other nodes, say why they failed."""
    return {name: record_path(job, name) for name in (*range(processes), *(f"node-{n}" for n in range(1, nodes.count)))}


def _end(text: str) -> str:
    return "\n    ".join(["", *text.strip().splitlines()[-_LINES:]])


def main() -> None:
    """Takes part, as one node of several, in the training that a TrainingTask has begun on the first node."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "job", type=Path, help="file that the TrainingTask has written, <its output>.checkpoint/job.json"
    )
    parser.add_argument("--nodes", type=int, required=True, help="how many nodes there are")
    parser.add_argument("--node", type=int, help="which of them this one is, from 1; default: as srun says")
    parser.add_argument("--rendezvous", required=True, help="host:port of the first one")
    parser.add_argument("--obey-stdin", action="store_true", help="stop at an 's' on standard input, die at its end")
    options = parser.parse_args()
    if options.obey_stdin:
        threading.Thread(target=obey, daemon=True).start()
    task_errors.install()
    job = TrainingJob.model_validate_json(options.job.read_text())
    number = int(os.environ["SLURM_PROCID"]) + 1 if options.node is None else options.node
    nodes = Nodes(options.nodes, number, options.rendezvous)
    launch(options.job, processes=job.training.processes, nodes=nodes)


if __name__ == "__main__":
    main()

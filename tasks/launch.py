"""Starts the processes of this node that train a model together: ``python -m tasks.launch JOB.json --node 1 ...``.

torchrun starts and watches them. A pipe leads from here to their standard input: a byte asks them to stop, and its end,
when this process has ended in whatever way, makes them end at once. So none is left behind.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from honeyguide import errors
from honeyguide.errors import ConfigError, HoneyguideError
from honeyguide.io.atomic import atomic_file
from honeyguide.training.stopping import AbandonedError, StoppedError, StopRequest
from tasks import errors as task_errors
from tasks.rank import STOP, record_path
from tasks.training_job import TrainingJob

ROOT = Path(__file__).resolve().parent.parent
_SECONDS_TO_STOP = 120  # for the step at hand and a checkpoint
_KINDS = {kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type)} | {
    kind.__name__: kind for kind in (StoppedError, AbandonedError)
}
_AGAIN = "run the same command again: it goes on from the last checkpoint"
_LINES = 12  # of a message that is not one of ours


@dataclass(frozen=True)
class Nodes:
    """The machines that train together.

    Attributes:
        count: How many.
        number: Which of them this one is, from 0.
        endpoint: ``host:port`` of the first one, where they meet.
    """

    count: int = 1
    number: int = 0
    endpoint: str = ""


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
    if processes % nodes.count:
        raise ConfigError(
            "the processes can't be shared out evenly",
            where="training.processes",
            got=processes,
            allowed=f"a multiple of the number of nodes, {nodes.count}",
        )
    if nodes.count > 1 and not re.fullmatch(r".+:\d+", nodes.endpoint):
        raise ConfigError(
            "several nodes need a place to meet", where="--rendezvous", got=nodes.endpoint, allowed="host:port"
        )
    here = processes // nodes.count
    if nodes.number == 0:
        for rank in range(processes):
            record_path(job, rank).unlink(missing_ok=True)
    with tempfile.TemporaryFile("w+") as said, StopRequest() as stop:
        status = _watch(_command(job, here, nodes), _environment(here), said, stop)
        if status:
            said.seek(0)
            raise _reason(job, processes, said.read(), stopped=stop.requested)


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
    """Returns the environment of the processes; the cores are shared out, where nobody has decided on threads."""
    threads = max(1, (os.cpu_count() or 1) // here)
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    return {"OMP_NUM_THREADS": str(threads), **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _watch(command: Sequence[str], environment: dict[str, str], said: IO[str], stop: StopRequest) -> int:
    """Returns the exit status of torchrun; its processes write where this one does, and itself to ``said``."""
    read_end, write_end = os.pipe()
    process = subprocess.Popen(command, env=environment, stdin=read_end, stdout=2, stderr=said)
    os.close(read_end)
    asked = False
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=0.2)
            if stop.requested and not asked:
                asked = True
                os.write(write_end, STOP)  # one of them reads it, and tells the others
    finally:
        os.close(write_end)
        process.kill()
        process.wait()


def _reason(job: Path, processes: int, said: str, *, stopped: bool) -> HoneyguideError:
    """Returns why the processes of this training have failed."""
    paths = {rank: record_path(job, rank) for rank in range(processes)}
    records: dict[int, Any] = {rank: json.loads(path.read_text()) for rank, path in paths.items() if path.is_file()}
    in_order = sorted(records, key=lambda rank: records[rank]["time"])
    for record in (records[rank] for rank in in_order):
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
        name = signal.Signals(killed[0]).name
        return HoneyguideError("one of the processes was killed", where=where, got=name, hint=_AGAIN)
    if records:
        where, said = f"{where}: number {in_order[0]}", records[in_order[0]]["text"]
    return HoneyguideError("one of the processes has failed", where=where, got=_end(said))


def _end(text: str) -> str:
    return "\n    ".join(["", *text.strip().splitlines()[-_LINES:]])


def main() -> None:
    """Takes part, as one node of several, in the training that a TrainingTask has begun on the first node."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "job", type=Path, help="file that the TrainingTask has written, <its output>.checkpoint/job.json"
    )
    parser.add_argument("--nodes", type=int, required=True, help="how many nodes there are")
    parser.add_argument("--node", type=int, required=True, help="which of them this one is, from 1")
    parser.add_argument("--rendezvous", required=True, help="host:port of the first one")
    options = parser.parse_args()
    task_errors.install()
    job = TrainingJob.model_validate_json(options.job.read_text())
    nodes = Nodes(options.nodes, options.node, options.rendezvous)
    launch(options.job, processes=job.training.processes, nodes=nodes)


if __name__ == "__main__":
    main()

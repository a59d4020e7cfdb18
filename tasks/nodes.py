"""The machines that train one model together: those of a Slurm job, or some that a person names."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from honeyguide.errors import ConfigError
from tasks.job_resources import JobResources


@dataclass(frozen=True)
class Nodes:
    """The machines that train together.

    Attributes:
        count: How many.
        number: Which of them this one is, from 0.
        endpoint: ``host:port`` of the first one, where they meet.
        srun: Whether the first one starts what the others do, as they are those of one Slurm job.
    """

    count: int = 1
    number: int = 0
    endpoint: str = ""
    srun: bool = False

    def check(self, processes: int) -> None:
        """Checks that as many processes can be shared out, and can meet.

        Raises:
            ConfigError: They can't.
        """
        if processes % self.count:
            raise ConfigError(
                "the processes can't be shared out evenly",
                where="training.processes",
                got=processes,
                allowed=f"a multiple of the number of nodes, {self.count}",
            )
        if self.count > 1 and not re.fullmatch(r".+:\d+", self.endpoint):
            raise ConfigError(
                "several nodes need a place to meet", where="--rendezvous", got=self.endpoint, allowed="host:port"
            )

    def command_of_others(self, job: Path) -> list[str]:
        """Returns what starts the others, all at once: the job script, which finds their environment on each of them.

        They end with the pipe that is its standard input.

        Raises:
            ConfigError: There is no srun.
        """
        if shutil.which("srun") is None:
            raise ConfigError("the other nodes of a job can't be reached without srun", hint="is it in the container?")
        script = os.environ.get("HONEYGUIDE_JOB_SCRIPT")
        command = ["bash", script, "--node"] if script else [sys.executable, "-m", "tasks.launch"]
        number = str(self.count - 1)
        cores = os.environ.get("SLURM_CPUS_PER_TASK")
        return [
            "srun", "--export=ALL", "--relative=1", f"--nodes={number}", f"--ntasks={number}", "--ntasks-per-node=1",
            *([f"--cpus-per-task={cores}"] if cores else []), "--kill-on-bad-exit=1", "--unbuffered",
            *command, str(job), "--nodes", str(self.count), "--rendezvous", self.endpoint, "--obey-stdin",
        ]  # fmt: skip


def nodes_here(processes: int, *, count: int, rendezvous: str) -> Nodes:
    """Returns the nodes of the Slurm job that this process is in, else those that were asked for.

    The first node is the one where Slurm starts a job's script, which is where this process is.

    Args:
        processes: How many train together; one alone stays on its node.
        count: Number of nodes outside of a Slurm job.
        rendezvous: ``host:port`` of the first node; empty for this host and a free port, which is known early enough
            where this process starts the others.
    """
    in_job = int(os.environ.get("SLURM_JOB_NUM_NODES", "1")) if "SLURMD_NODENAME" in os.environ else 1
    if in_job == 1 or processes == 1:
        return Nodes(count, endpoint=rendezvous)
    return Nodes(in_job, endpoint=rendezvous or f"{socket.gethostname()}:{_free_port()}", srun=True)


def _free_port() -> int:
    with socket.create_server(("", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def check_resources(resources: JobResources, *, scheduler: str, processes: int) -> None:
    """Checks that a training's jobs ask for what its processes use.

    Args:
        resources: What a job asks for.
        scheduler: ``slurm`` or ``htcondor``.
        processes: How many processes train together, which the result depends on.

    Raises:
        ConfigError: There is a GPU for no process, a process for no GPU, or a node for no process.
    """
    nodes, gpus = resources.nodes, resources.gpus
    if nodes > 1 and scheduler == "htcondor":
        raise ConfigError("HTCondor's jobs are on one node", where="nodes", got=nodes, allowed=1, hint="Slurm has more")
    if gpus and processes != gpus * nodes:
        raise ConfigError(
            "a training has one process per GPU",
            where="training.processes",
            got=processes,
            allowed=f"{gpus * nodes}: gpus={gpus} on each of nodes={nodes}",
            hint="another number of processes is another training, with another output; "
            "or ask for another number of GPUs: --gpus, from other tasks --TrainingTask-gpus",
        )
    Nodes(nodes, endpoint="job:0").check(processes)

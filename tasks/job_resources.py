"""What a job asks for, in the words of each scheduler."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

Lines = list[tuple[str, str]]
GO_ON_LATER = 85
"""Exit status with which a job of HTCondor goes back into the queue."""


@dataclass(frozen=True)
class JobResources:
    """What a job asks for; what is 0 or empty is left to the scheduler.

    Attributes:
        cpus: Cores of each node.
        memory_mb: Memory of each node [MB].
        gpus: GPUs of each node.
        gpu_type: Type of the GPUs, by its name in the scheduler.
        hours: Largest time that the job may take.
        nodes: Nodes; one with HTCondor.
        queue: Partition of Slurm, job flavour of HTCondor.
        requirements: Features of the node (Slurm's constraint), expression over machines (HTCondor's requirements).
        container: Image that the job runs in.
        extra: Further lines, ``name=value`` with semicolons between them, as the scheduler reads them.
        seconds_to_stop: How long before its end a job wants to know of it, so that it can go on later; 0: never.
    """

    cpus: int = 1
    memory_mb: int = 0
    gpus: int = 0
    gpu_type: str = ""
    hours: float = 0.0
    nodes: int = 1
    queue: str = ""
    requirements: str = ""
    container: str = ""
    extra: str = ""
    seconds_to_stop: int = 0

    @property
    def seconds_of_warning(self) -> int:
        """How long before its end a job is told to stop: at most a quarter of its time."""
        return min(self.seconds_to_stop, int(900 * self.hours)) if self.hours else self.seconds_to_stop

    @property
    def further(self) -> Lines:
        """The lines of ``extra``."""
        pairs = [item.partition("=") for item in self.extra.split(";") if item.strip()]
        return [(name.strip(), value.strip()) for name, _, value in pairs]


def slurm_options(resources: JobResources) -> Lines:
    """Returns the options of sbatch, without their dashes; an empty value stands for an option that has none."""
    r = resources
    options = [
        ("nodes", str(r.nodes)),
        ("ntasks-per-node", "1"),
        ("cpus-per-task", str(r.cpus)),
        ("open-mode", "append"),
    ]
    if r.memory_mb:
        options.append(("mem", f"{r.memory_mb}M"))
    if r.gpus:
        options.append(("gres", ":".join(filter(None, ("gpu", r.gpu_type, str(r.gpus))))))
    if r.hours:
        minutes = max(1, math.ceil(60 * r.hours))
        options.append(("time", f"{minutes // 60:02d}:{minutes % 60:02d}:00"))
    if r.seconds_to_stop:
        options += [("signal", f"B:TERM@{r.seconds_of_warning}"), ("requeue", "")]
    if r.queue:
        options.append(("partition", r.queue))
    if r.requirements:
        options.append(("constraint", r.requirements))
    return [*options, *r.further]


def htcondor_lines(resources: JobResources, *, log: Path) -> Lines:
    """Returns the lines of a submit file; ``log`` gets what the job says, while it does."""
    r = resources
    # no output files: HTCondor would bring back all that it finds
    lines = [("output", str(log)), ("stream_output", "True"), ("transfer_output_files", '""')]
    lines.append(("request_cpus", str(r.cpus)))
    if r.memory_mb:
        lines.append(("request_memory", f"{r.memory_mb} MB"))
    if r.gpus:
        lines.append(("request_gpus", str(r.gpus)))
    if r.gpus and r.gpu_type:
        lines.append(("require_gpus", f'DeviceName == "{r.gpu_type}"'))
    if r.hours:
        lines.append(("+MaxRuntime", str(math.ceil(3600 * r.hours))))
    if r.seconds_to_stop:
        lines.append(("on_exit_remove", f"ExitCode =!= {GO_ON_LATER}"))
    if r.queue:
        lines.append(("+JobFlavour", f'"{r.queue}"'))
    if r.requirements:
        lines.append(("requirements", r.requirements))
    return [*lines, *r.further]

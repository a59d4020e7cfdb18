"""Time, CPU, memory and GPU that each task took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.section import Plot, Section, Table, not_made
from honeyguide.io.atomic import read_manifest
from honeyguide.plotting.resources import memory_figure, time_figure

MIB = 2**20


@dataclass(frozen=True)
class StageUsage:
    """What all outputs of one task took.

    Attributes:
        task: Name of the task.
        outputs: Number of outputs.
        measured: How many of them know what they took.
        wall_s: Sum of the seconds of each.
        cpu_s: Sum of the CPU seconds.
        memory_bytes: Resident memory of the largest.
        threads: Most threads of one.
        hosts: Machines.
        gpu: Names of the GPUs.
        gpu_memory_bytes: Most that torch had allocated on one GPU; None without a GPU.
        gpu_percent: Utilisation of the GPUs, mean over the outputs' seconds; None where it is not known.
    """

    task: str
    outputs: int
    measured: int
    wall_s: float
    cpu_s: float
    memory_bytes: int
    threads: int
    hosts: tuple[str, ...]
    gpu: tuple[str, ...]
    gpu_memory_bytes: int | None
    gpu_percent: float | None


def section(context: Context) -> Section:
    """Returns what each task on the way to this training took."""
    found = gather_usage(context.sources.stages)
    stages = [stage for stage in found if stage.measured]
    title = "Time and memory of each task"
    if not stages:
        return not_made("resources", title, "no output before this one says what it took.")
    total, cpu = sum(stage.wall_s for stage in stages), sum(stage.cpu_s for stage in stages)
    longest = max(stages, key=lambda stage: stage.wall_s)
    text = (
        f"Everything up to here took {total:.4g} s of work, one output after the other, and {cpu:.4g} s of CPU; "
        f"{longest.task} took most of it ({longest.wall_s / total:.0%})."
    )
    unknown = sum(stage.outputs - stage.measured for stage in found)
    if unknown:
        text += f" {unknown} outputs are older than this record and not counted."
    plots = [
        Plot(
            "resources_time",
            "Time of each task",
            "Seconds of all outputs of a task together. CPU time counts every thread and process: longer than the "
            "wall-clock time where several worked at once, shorter where the task waited.",
            time_figure({stage.task: (stage.wall_s, stage.cpu_s) for stage in stages}),
        ),
        Plot(
            "resources_memory",
            "Memory of each task",
            "Resident memory of the largest output of each task, and what torch had allocated on a GPU.",
            memory_figure({stage.task: (stage.memory_bytes, stage.gpu_memory_bytes) for stage in stages}),
        ),
    ]
    return Section("resources", title, text, {"stages": [asdict(s) for s in found]}, tuple(plots), (_table(found),))


def gather_usage(stages: Mapping[str, Path | Sequence[Path]]) -> list[StageUsage]:
    """Returns what each task took, from the manifests of its outputs.

    Raises:
        StoreError: A manifest can't be read.
    """
    return [_stage(task, [given] if isinstance(given, Path) else given) for task, given in stages.items()]


def _stage(task: str, folders: Sequence[Path]) -> StageUsage:
    metadata = [read_manifest(folder)["metadata"] for folder in folders]
    usages: list[dict[str, Any]] = [item["usage"] for item in metadata if item.get("usage")]
    gpus = [gpu for usage in usages for gpu in usage.get("gpus", [])]
    looks = [
        (usage["wall_s"], gpu["utilization_percent"])
        for usage in usages
        for gpu in usage.get("gpus", [])
        if "utilization_percent" in gpu
    ]
    seconds = sum(wall for wall, _ in looks)
    return StageUsage(
        task=task,
        outputs=len(folders),
        measured=len(usages),
        wall_s=sum(usage["wall_s"] for usage in usages),
        cpu_s=sum(usage["cpu_s"] for usage in usages),
        memory_bytes=max((usage["memory_bytes"] for usage in usages), default=0),
        threads=max((usage["threads"] for usage in usages), default=0),
        hosts=tuple(sorted({item["host"] for item in metadata if "host" in item})),
        gpu=tuple(sorted({gpu["name"] for gpu in gpus})),
        gpu_memory_bytes=max((gpu["memory_bytes"] for gpu in gpus), default=None),
        gpu_percent=sum(wall * percent for wall, percent in looks) / seconds if seconds else None,
    )


def _table(stages: Sequence[StageUsage]) -> Table:
    columns = ("task", "outputs", "wall [s]", "CPU [s]", "CPU / wall", "memory [MiB]", "threads")
    gpu = any(stage.gpu for stage in stages)
    rows = []
    for stage in stages:
        row: tuple[Any, ...] = (stage.task, stage.outputs)
        if not stage.measured:
            rows.append((*row, *(None,) * (len(columns) - 2 + 3 * gpu), ", ".join(stage.hosts)))
            continue
        ratio = round(stage.cpu_s / stage.wall_s, 2) if stage.wall_s else None
        row += (round(stage.wall_s, 1), round(stage.cpu_s, 1), ratio, round(stage.memory_bytes / MIB), stage.threads)
        if gpu:
            memory = None if stage.gpu_memory_bytes is None else round(stage.gpu_memory_bytes / MIB)
            percent = None if stage.gpu_percent is None else round(stage.gpu_percent)
            row += (", ".join(stage.gpu) or None, memory, percent)
        rows.append((*row, ", ".join(stage.hosts)))
    more = ("GPU", "GPU memory [MiB]", "GPU use [%]") if gpu else ()
    return Table("What each task took", (*columns, *more, "host"), tuple(rows))

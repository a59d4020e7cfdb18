"""Where the time of a training step and of inference goes, operator by operator."""

from __future__ import annotations

import copy
import gzip
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from honeyguide.data.batch import Batch
from honeyguide.data.streams import BatchStream
from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.section import Section, Table
from honeyguide.errors import StoreError
from honeyguide.nn.model import Model, weighted_sum

STEPS = 3
SHOWN = 15
TITLE = "Profile"
Step = Callable[[Batch], None]


@dataclass(frozen=True)
class Operator:
    """One operator of torch, all its calls in the profiled steps together.

    Attributes:
        name: Of the operator.
        calls: Number of calls.
        cpu_ms: CPU time in itself, without the operators that it calls.
        gpu_ms: Time of its kernels on a GPU.
        memory_mib: Memory that it took on the CPU, less what it gave back.
        gpu_memory_mib: The same on a GPU.
    """

    name: str
    calls: int
    cpu_ms: float
    gpu_ms: float
    memory_mib: float
    gpu_memory_mib: float


@dataclass(frozen=True)
class Profile:
    """What the profiled steps took.

    Attributes:
        step_ms: Wall-clock time of one step outside of the profiler, which takes time itself.
        operators: Largest first: by GPU time where there is any, else by CPU time.
        trace: Chrome trace, gzip.
    """

    step_ms: float
    operators: tuple[Operator, ...]
    trace: bytes


def section(context: Context) -> Section:
    """Returns the operators that take most of a training step and of inference."""
    stream = BatchStream([context.inspected.events.inputs], batch_size=_batch_size(context), device=context.device)
    batch = next(stream.batches())
    steps = {"training": training_step(context.model), "inference": inference_step(context.model)}
    found = {name: profile_steps(step, batch, device=context.device) for name, step in steps.items()}
    rates = {name: len(batch) / item.step_ms * 1000 for name, item in found.items()}
    times = [f"{name} {item.step_ms:.3g} ms a step ({rates[name]:,.0f} events/s)" for name, item in found.items()]
    text = (
        f"{STEPS} steps of {len(batch)} events on {context.device.type}, after one to warm up: {', '.join(times)}. "
        "In the tables forward, backward, optimizer and inference stand for what Python itself takes between the "
        "operators. The traces open in Perfetto or in a browser's own page for traces."
    )
    data = {
        name: {"step_ms": item.step_ms, "events": len(batch), "operators": [asdict(o) for o in item.operators]}
        for name, item in found.items()
    }
    tables = tuple(_table(name, item.operators) for name, item in found.items())
    files = {f"trace_{name}.json.gz": item.trace for name, item in found.items()}
    return Section("profile", TITLE, text, data, tables=tables, files=files)


def _batch_size(context: Context) -> int:
    """Returns the batch size of the training."""
    path = context.sources.training / "provenance.json"
    try:
        return int(json.loads(path.read_text())["training"]["settings"]["batch_size"])
    except (OSError, ValueError, KeyError) as error:
        raise StoreError("the record of the training can't be read", where=path, got=error) from error


def training_step(model: Model) -> Step:
    """Returns a step that trains a copy of the model on a batch; the model stays as it is."""
    trained = copy.deepcopy(model).train()
    optimizer = torch.optim.AdamW(trained.parameters())
    weights = trained.config.terms

    def step(batch: Batch) -> None:
        with record_function("forward"):
            loss = weighted_sum(trained.loss(batch), weights)
        with record_function("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        with record_function("optimizer"):
            optimizer.step()
            optimizer.zero_grad()

    return step


def inference_step(model: Model) -> Step:
    """Returns a step that scores a batch."""

    def step(batch: Batch) -> None:
        with torch.inference_mode(), record_function("inference"):
            model.outputs(batch)

    return step


def profile_steps(step: Step, batch: Batch, *, device: torch.device) -> Profile:
    """Returns what a few steps on one batch take, after one that is not counted."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    step(batch)
    start = _now(device)
    for _ in range(STEPS):
        step(batch)
    wall = (_now(device) - start) / STEPS
    with profile(activities=activities, profile_memory=True) as profiled:
        for _ in range(STEPS):
            step(batch)
        _now(device)
    operators = [_operator(event) for event in profiled.key_averages()]
    operators.sort(key=lambda item: item.gpu_ms if on_gpu else item.cpu_ms, reverse=True)
    return Profile(1000 * wall, tuple(operators), _trace(profiled))


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _operator(event: Any) -> Operator:
    return Operator(
        name=event.key,
        calls=event.count,
        cpu_ms=event.self_cpu_time_total / 1e3,
        gpu_ms=event.self_device_time_total / 1e3,
        memory_mib=event.self_cpu_memory_usage / 2**20,
        gpu_memory_mib=event.self_device_memory_usage / 2**20,
    )


def _trace(profiled: profile) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(path))
        return gzip.compress(path.read_bytes(), mtime=0)


def _table(name: str, operators: Sequence[Operator]) -> Table:
    on_gpu = any(item.gpu_ms for item in operators)
    total = sum(item.gpu_ms if on_gpu else item.cpu_ms for item in operators) or 1.0
    columns = ["operator", "calls a step", "share [%]", "CPU [ms a step]", "memory [MiB a step]"]
    if on_gpu:
        columns += ["GPU [ms a step]", "GPU memory [MiB a step]"]
    rows = []
    for item in operators[:SHOWN]:
        share = 100 * (item.gpu_ms if on_gpu else item.cpu_ms) / total
        row: list[Any] = [item.name, round(item.calls / STEPS, 1), share, item.cpu_ms / STEPS, item.memory_mib / STEPS]
        if on_gpu:
            row += [item.gpu_ms / STEPS, item.gpu_memory_mib / STEPS]
        rows.append(tuple(row))
    return Table(f"Operators of {name}, by the time in themselves", tuple(columns), tuple(rows))

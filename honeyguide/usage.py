"""What a block of code takes: time, CPU, memory, GPU."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

INTERVAL = 1.0  # seconds between two looks at memory and GPU


@contextlib.contextmanager
def measured(usage: dict[str, Any]) -> Iterator[None]:
    """Fills ``usage`` when the block ends, with an error or without one; never raises one itself.

    ``wall_s``, ``cpu_s`` (all threads, and child processes that have ended), ``memory_bytes`` (largest resident memory
    of the process and its children), ``threads`` (most at a time, children's included) and ``cpus`` (that the process
    may use). Where torch has used a GPU by the end: ``gpus``, one entry each with ``name``, ``memory_bytes`` (largest
    that torch had allocated) and, where the package pynvml reads the driver, ``device_memory_bytes`` and
    ``utilization_percent`` (mean) of the whole device.

    Memory and GPU are looked at once a second by a thread that ends with the block. A peak between two looks is seen
    all the same where it is the highest of the process so far, which the kernel keeps.
    """
    wall, cpu, peak = time.perf_counter(), _cpu_seconds(), _kernel_peak()
    watch = _Watch()
    thread = threading.Thread(target=watch.run, name="usage", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watch.stop.set()
        thread.join()
        watch.look()
        usage.update(wall_s=round(time.perf_counter() - wall, 3), cpu_s=round(_cpu_seconds() - cpu, 3))
        after = _kernel_peak()
        usage.update(watch.result(after if after > peak else 0))


class _Watch:
    """Largest values seen so far."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._memory = self._threads = 0
        self._gpus: dict[int, dict[str, Any]] = {}

    def run(self) -> None:
        """Looks until it is stopped."""
        while True:
            self.look()
            if self.stop.wait(INTERVAL):
                return

    def look(self) -> None:
        """Takes one look. A process that ends meanwhile, a driver without a counter: nothing that may end a task."""
        with contextlib.suppress(Exception):
            self._look_at_processes()
        with contextlib.suppress(Exception):
            self._look_at_gpus()

    def result(self, kernel_peak: int) -> dict[str, Any]:
        """Returns the values under the names of :func:`measured`."""
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        result = {"memory_bytes": max(self._memory, kernel_peak), "threads": self._threads, "cpus": cpus}
        gpus = [
            {**gpu, "utilization_percent": round(sum(looks) / len(looks), 1)} if looks else gpu
            for gpu in self._gpus.values()
            for looks in [gpu.pop("looks")]
        ]
        return {**result, "gpus": gpus} if gpus else result

    def _look_at_processes(self) -> None:
        import psutil  # not at the top: tasks are listed without it

        process = psutil.Process()
        memory = threads = 0
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                memory += one.memory_info().rss
                threads += one.num_threads()
        self._memory, self._threads = max(self._memory, memory), max(self._threads, threads)

    def _look_at_gpus(self) -> None:
        torch = sys.modules.get("torch")
        # nobody's first touch of the GPU: that costs seconds and some 100 MB
        if torch is None or not torch.cuda.is_initialized():
            return
        for index in range(torch.cuda.device_count()):
            allocated = torch.cuda.max_memory_allocated(index)
            if not allocated:
                continue
            gpu = self._gpus.setdefault(index, {"name": torch.cuda.get_device_name(index), "looks": []})
            gpu["memory_bytes"] = allocated
            with contextlib.suppress(Exception):
                used = torch.cuda.device_memory_used(index)
                gpu["device_memory_bytes"] = max(gpu.get("device_memory_bytes", 0), used)
                gpu["looks"].append(torch.cuda.utilization(index))


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _kernel_peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # Linux counts in KiB

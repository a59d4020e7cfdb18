"""Model inputs of BEAD's shape (3 jets of 15 constituents, 5 features) for the benchmarks of training and inference."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from honeyguide.data.input_spec import Column, InputSpec
from honeyguide.data.model_inputs import ModelInputsWriter, write_spec

NETWORKS: dict[str, dict[str, Any]] = {
    "dense": {"family": "vae"},
    "Planar_ConvVAE": {"family": "vae", "preset": "Planar_ConvVAE"},
}
"""Configs of the networks that are measured."""
EVENTS = {"dense": 40_960, "Planar_ConvVAE": 10_240}
"""Events at scale 1."""

_BLOCK = 10_000
_FEATURES = ("pt", "eta", "sin(phi)", "cos(phi)", "btag")


def write_inputs(folder: Path, split: str, num_events: int) -> Path:
    """Returns the file of random model inputs that it has written to ``folder``."""
    columns = tuple(Column(name=name, feature=name, kind="continuous") for name in _FEATURES)
    spec = InputSpec(
        level="constituent", shape=(3, 15), columns=columns, processes=("qcd",), generators=("pythia", "herwig")
    )
    folder.mkdir(exist_ok=True)
    write_spec(folder, spec)
    path = folder / "qcd" / f"{split}.h5"
    rng = np.random.default_rng(1)
    with ModelInputsWriter(path, num_events=num_events, spec=spec) as writer:
        for start in range(0, num_events, _BLOCK):
            ids = np.arange(start, min(start + _BLOCK, num_events))
            mask = rng.random((len(ids), spec.num_objects)) < 0.8
            objects = rng.standard_normal((len(ids), spec.num_objects, spec.num_features), dtype=np.float32)
            zeros = np.zeros(len(ids), dtype=np.int16)
            writer.append(
                {
                    "objects": objects * mask[..., None],
                    "mask": mask,
                    "event": np.empty((len(ids), 0)),
                    "event_id": ids,
                    "weight": np.ones(len(ids)),
                    "label": zeros,
                    "process": zeros,
                    "generator": ids % 2,
                    "signal_point": zeros - 1,
                }
            )
    return path


def measure_alone(function: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """Returns what the function returns in a process of its own, so that the peak memory is its own."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def cpu_seconds(*functions: Callable[[], object], rounds: int) -> list[list[float]]:
    """Returns the CPU times of each function, one for each round.

    They take turns, and so a busy machine slows all of them alike: compare them round by round.
    """
    times = [[_cpu_seconds(function) for function in functions] for _ in range(rounds)]
    return [list(column) for column in zip(*times, strict=True)]


def ratio_row(reference: list[float], used: list[float], *, share: float = 1.0) -> dict[str, float]:
    """Returns the columns of a ratio of CPU times: its median over the rounds, the smallest and the largest.

    Args:
        reference: CPU time of the reference in each round.
        used: CPU time of what is measured.
        share: Events of what is measured for one of the reference.
    """
    ratios = [share * one / other for one, other in zip(reference, used, strict=True)]
    return {"ratio": statistics.median(ratios), "ratio_low": min(ratios), "ratio_high": max(ratios)}


def _cpu_seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def peak_mb() -> float:
    """Returns the largest resident memory of this process so far; getrusage would give that of its parent too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

"""Preprocessing: events per CPU second and peak memory from 1x to 10x data, beside a memory copy of the same bytes.

Run ``python -m benchmarks.preprocessing [scale]`` from the root of the repository.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from honeyguide.data.events import Collection, EventBlock
from honeyguide.data.model_inputs import ModelInputs, list_inputs
from honeyguide.data.sample import SampleInfo
from honeyguide.data.splits import SPLITS
from honeyguide.io.event_store import EventStoreWriter
from honeyguide.preprocess.pipeline import preprocess
from honeyguide.preprocess.settings import PreprocessSettings

_SAMPLE = SampleInfo(name="qcd", process="qcd", generator="pythia", label="background")
_BASE_EVENTS = 20_000
_FILE_EVENTS = 10_000


def measure(scale: float = 1.0) -> list[dict[str, Any]]:
    """Returns one row per level and size: events, events per CPU second, peak memory, and the raw limit beside it.

    Args:
        scale: 1 measures 20,000 and 200,000 events; smaller values are quicker.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for factor in (1, 10):
            shards = _write_shards(Path(folder) / f"{factor}", round(factor * _BASE_EVENTS * scale))
            for level in ("constituent", "jet", "event") if factor == 1 else ("constituent",):
                rows.append(_measure_alone(shards, level, factor))
    return rows


def _measure_alone(shards: list[Path], level: str, factor: int) -> dict[str, Any]:
    # a process of its own, since peak memory is that of the process
    command = [sys.executable, "-m", "benchmarks.preprocessing", "--one", level, str(factor), *map(str, shards)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    row: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return row


def _run_one(level: str, factor: int, shards: list[Path]) -> dict[str, Any]:
    settings = PreprocessSettings.model_validate({"level": level})
    with tempfile.TemporaryDirectory(dir=shards[0].parent) as folder:
        before = _peak_mb()
        start = time.process_time()
        preprocess({_SAMPLE.name: shards}, Path(folder), samples=(_SAMPLE,), settings=settings)
        used = time.process_time() - start
        peak = _peak_mb()
        inputs = [ModelInputs.open(list_inputs(Path(folder), split)[_SAMPLE.name]) for split in SPLITS]
        events = sum(map(len, inputs))
        copied = sum(map(_copy_seconds, inputs))
        written = sum(_write_seconds(part, Path(folder) / "raw") for part in inputs)
    return {
        "name": f"preprocessing, level {level}, {factor}x",
        "events": events,
        "events_per_cpu_s": events / used,
        "peak_mb": peak,
        "base_mb": before,
        "reference": "memory copy of the model inputs",
        "ratio": copied / used,
        "ratio_to_write": written / used,
    }


def _copy_seconds(inputs: ModelInputs) -> float:
    parts = [np.array(inputs.objects), np.array(inputs.mask)]
    targets = [np.zeros_like(part) for part in parts]
    start = time.process_time()
    for part, target in zip(parts, targets, strict=True):
        np.copyto(target, part)
    return time.process_time() - start


def _write_seconds(inputs: ModelInputs, path: Path) -> float:
    data = np.array(inputs.objects).tobytes()
    start = time.process_time()
    path.write_bytes(data)
    return time.process_time() - start


def _write_shards(folder: Path, num_events: int) -> list[Path]:
    folder.mkdir()
    shards = []
    for number, start in enumerate(range(0, num_events, _FILE_EVENTS)):
        shards.append(folder / f"{number}.h5")
        with EventStoreWriter(shards[-1], sample=_SAMPLE) as writer:
            writer.append(_make_block(min(_FILE_EVENTS, num_events - start), key=number + 1))
            writer.finalise()
    return shards


def _make_block(num_events: int, *, key: int) -> EventBlock:
    """Events of the size of BEAD's: about 3 jets of 30 constituents each."""
    rng = np.random.default_rng(key)
    jets_of = rng.poisson(3.0, num_events)
    parts_of = rng.poisson(30.0, jets_of.sum())

    def columns(num: int) -> dict[str, np.ndarray]:
        return {
            "pt": rng.gamma(0.7, 10.0, num).astype(np.float32),
            "eta": rng.normal(0.0, 1.2, num).astype(np.float32),
            "phi": rng.uniform(-np.pi, np.pi, num).astype(np.float32),
        }

    jets = columns(len(parts_of)) | {"btag": rng.integers(0, 2, len(parts_of)).astype(np.int8)}
    ids = rng.choice([211, -211, 130, 22, -11, 13, 2112], parts_of.sum()).astype(np.int32)
    return EventBlock(
        events={
            "id": (np.int64(key) << 24) + np.arange(num_events),
            "weight": np.ones(num_events),
            "met": rng.gamma(2.0, 50.0, num_events).astype(np.float32),
            "met_phi": rng.uniform(-np.pi, np.pi, num_events).astype(np.float32),
        },
        collections={
            "jets": Collection("events", np.append(0, np.cumsum(jets_of)), jets),
            "constituents": Collection(
                "jets", np.append(0, np.cumsum(parts_of)), columns(parts_of.sum()) | {"pdg_id": ids}
            ),
        },
    )


def _peak_mb() -> float:
    # not getrusage: its peak is inherited from the process that started this one
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Prints the table, or one row as JSON for a process that measures alone."""
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(_run_one(sys.argv[2], int(sys.argv[3]), [Path(name) for name in sys.argv[4:]])))  # noqa: T201
        return
    for row in measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        print(  # noqa: T201
            f"{row['name']:42s} {row['events']:9d} events {row['events_per_cpu_s']:11,.0f} /CPU s "
            f"{row['peak_mb']:7.0f} MB (base {row['base_mb']:.0f})  {row['ratio']:.4f} of {row['reference']}, "
            f"{row['ratio_to_write']:.2f} of writing them"
        )


if __name__ == "__main__":
    main()

"""Rows of DeepJet's shape: the shuffled, weighted stream beside a training step on a CPU, and their preprocessing.

Run ``python -m benchmarks.rows [scale]`` from the root of the repository.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.synthetic_inputs import cpu_seconds, measure_alone, peak_mb, ratio_row
from honeyguide.data.event_weights import EventWeights, reweighted, sampled
from honeyguide.data.events import Collection, EventBlock
from honeyguide.data.model_inputs import ModelInputs, list_inputs, read_spec
from honeyguide.data.row_reweighting import RowSampling, read_row_reweighting
from honeyguide.data.sample import SampleInfo
from honeyguide.data.splits import SPLITS
from honeyguide.data.streams import BatchStream
from honeyguide.io.event_store import EventStoreWriter
from honeyguide.preprocess.pipeline import preprocess
from honeyguide.preprocess.settings import PreprocessSettings

_SAMPLE = SampleInfo(name="qcd", process="qcd", generator="pythia", label="background")
_TRUTHS = ("b", "c", "light")
_SETS = {"cpf": (25, 16), "npf": (25, 8), "sv": (5, 12)}  # objects and features, of DeepJet
_OWN = 15
_MEAN_OBJECTS = {"cpf": 12, "npf": 10, "sv": 0.7}
_ROWS = 120_000
_FILE_ROWS = 10_000
_BATCH = 1024
_STEPS = 2
_ROUNDS = 5


def measure(scale: float = 1.0) -> list[dict[str, Any]]:
    """Returns rows of the table: streams beside a step of DeepJet, and preprocessing of 1x and 10x data.

    Args:
        scale: 1 is 120,000 rows for the streams, and 12,000 and 120,000 for the preprocessing.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "inputs").mkdir()
        shards = _write_shards(folder / "shards", round(_ROWS * scale))
        small = _write_shards(folder / "small", round(_ROWS * scale / 10))
        table = [measure_alone(_preprocess, small, 1), measure_alone(_preprocess, shards, 10)]
        preprocess(
            {_SAMPLE.name: shards}, folder / "inputs", samples=(_SAMPLE,), settings=_settings({"reference": "b"})
        )
        for how in ("weights", "sampling"):
            for kept in ("streamed", "resident"):
                table.append(measure_alone(_stream, folder / "inputs", how, kept))
    return table


def _settings(reweighting: dict[str, str] | None = None) -> PreprocessSettings:
    standard = [{"name": f"f{i}", "scaler": "standard"} for i in range(16)]
    values = {
        "level": "row",
        "event_features": standard[:_OWN],
        "sets": {name: {"size": size, "features": standard[:number]} for name, (size, number) in _SETS.items()},
        "reweighting": reweighting,
        "validation_fraction": 0.05,
        "test_fraction": 0.05,
    }
    return PreprocessSettings.model_validate_json(json.dumps(values))


def _stream(folder: Path, how: str, kept: str) -> dict[str, Any]:
    """Returns the batches per CPU second of a stream alone, beside those that a step of DeepJet takes."""
    import torch

    import models

    torch.set_num_threads(1)
    sources = [ModelInputs.open(path) for path in list_inputs(folder, "train").values()]
    reweighting = read_row_reweighting(folder)
    assert reweighting is not None
    if how == "weights":
        weights = reweighted(EventWeights(), reweighting, sources)
    else:
        weights = sampled(EventWeights(), RowSampling(reweighting, 1), sources)
    budget = 2**40 if kept == "resident" else 0
    stream = BatchStream(sources, batch_size=_BATCH, shuffle_seed=1, resident_bytes=budget, event_weights=weights)
    config = models.parse({"family": "tagger", "network": "deepjet"})
    model = models.build(config, read_spec(folder))
    batch = next(stream.batches())
    epochs = iter(range(10**6))

    def steps() -> None:
        for _ in range(_STEPS):
            model.zero_grad(set_to_none=True)
            model.loss(batch)["cross_entropy"].backward()  # type: ignore[no-untyped-call]

    def whole() -> None:
        for _ in stream.batches(next(epochs)):
            pass

    steps()
    whole()
    taken, used = cpu_seconds(steps, whole, rounds=_ROUNDS)
    return {
        "name": f"stream of rows, {how}, {kept}",
        "events": stream.num_events,
        "events_per_cpu_s": stream.num_events / statistics.median(used),
        "peak_mb": peak_mb(),
        "reference": "DeepJet, forward and backward",
        **ratio_row(taken, used, share=stream.num_events / (_STEPS * len(batch))),
    }


def _preprocess(shards: list[Path], factor: int) -> dict[str, Any]:
    """Returns the rows per CPU second of preprocessing, beside a memory copy of what it writes."""
    with tempfile.TemporaryDirectory(dir=shards[0].parent) as name:
        folder, before = Path(name), peak_mb()
        start = time.process_time()
        preprocess({_SAMPLE.name: shards}, folder, samples=(_SAMPLE,), settings=_settings())
        used = time.process_time() - start
        peak = peak_mb()
        inputs = [ModelInputs.open(list_inputs(folder, split)[_SAMPLE.name]) for split in SPLITS]
        copied = sum(_copy_seconds(part) for part in inputs)
    num_rows = sum(map(len, inputs))
    return {
        "name": f"preprocessing of rows, {factor}x",
        "events": num_rows,
        "events_per_cpu_s": num_rows / used,
        "peak_mb": peak,
        "base_mb": before,
        "reference": "memory copy of the model inputs",
        "ratio": copied / used,
    }


def _copy_seconds(inputs: ModelInputs) -> float:
    parts = [np.array(array) for array in inputs.arrays().values()]
    targets = [np.zeros_like(part) for part in parts]
    start = time.process_time()
    for part, target in zip(parts, targets, strict=True):
        np.copyto(target, part)
    return time.process_time() - start


def _write_shards(folder: Path, num_rows: int) -> list[Path]:
    folder.mkdir()
    shards = []
    for number, start in enumerate(range(0, num_rows, _FILE_ROWS)):
        shards.append(folder / f"{number}.h5")
        with EventStoreWriter(shards[-1], sample=_SAMPLE, truths=_TRUTHS) as writer:
            writer.append(_make_block(min(_FILE_ROWS, num_rows - start), key=number + 1))
            writer.finalise()
    return shards


def _make_block(num_rows: int, *, key: int) -> EventBlock:
    rng = np.random.default_rng(key)

    def columns(num: int, number: int) -> dict[str, np.ndarray]:
        return {f"f{i}": rng.standard_normal(num, dtype=np.float32) for i in range(number)}

    truth = rng.integers(0, len(_TRUTHS), num_rows)
    collections = {}
    for name, (_, number) in _SETS.items():
        counts = rng.poisson(_MEAN_OBJECTS[name], num_rows)
        collections[name] = Collection("events", np.append(0, np.cumsum(counts)), columns(counts.sum(), number))
    return EventBlock(
        events={
            "id": (np.int64(key) << 24) + np.arange(num_rows),
            "weight": np.ones(num_rows),
            "truth": truth.astype(np.int16),
            "pt": (20 + rng.exponential(40.0 + 20.0 * truth)).astype(np.float32),
            "eta": rng.uniform(-2.5, 2.5, num_rows).astype(np.float32),
            **columns(num_rows, _OWN),
        },
        collections=collections,
    )


def main() -> None:
    """Prints the rows."""
    for row in measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0):
        base = f" (base {row['base_mb']:.0f})" if "base_mb" in row else ""
        spread = f" ({row['ratio_low']:.3g} - {row['ratio_high']:.3g})" if "ratio_low" in row else ""
        print(  # noqa: T201
            f"{row['name']:34s} {row['events']:8d} rows {row['events_per_cpu_s']:9,.0f} /CPU s "
            f"{row['peak_mb']:6.0f} MB{base}  {row['ratio']:.3g}{spread} of {row['reference']}"
        )


if __name__ == "__main__":
    main()

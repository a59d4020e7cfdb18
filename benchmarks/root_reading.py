"""Conversion of ROOT files: rows per CPU second and peak memory, beside ``uproot.iterate`` over the same branches.

Run ``python -m benchmarks.root_reading [scale]`` from the root of the repository; scale 1 is files of 50 MB (the
numbers in them, uncompressed), one of 40 flat branches, a row per jet, and one as NanoAOD, a row per object of lists.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import awkward as ak
import numpy as np
import uproot

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 3
BATCH = 50_000
NUM_FEATURES = 38
LIST_FEATURES = ("pt", "eta", "phi", "mass", "btag", "area")
WAYS = ("uproot.iterate", "reader", "conversion")

_MEASURE = """
import json, sys, tempfile, time
from pathlib import Path
path, what, settings = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
from honeyguide.io.root_settings import RootReaderSettings
settings = RootReaderSettings.model_validate_json(json.dumps(settings))
if what == "uproot.iterate":
    import uproot
    def work(path):
        for _ in uproot.iterate({str(path): settings.tree}, filter_name=list(settings.branches)):
            pass
else:
    import coffea.processor
    from honeyguide.data.sample import SampleInfo
    from honeyguide.io.convert import convert_files
    from honeyguide.io.root_reader import RootFile
    from honeyguide.io.settings import ReaderSettings
    sample = SampleInfo(name="tt", process="tt", generator="toy", label="background")
    def work(path):
        if what == "reader":
            for _ in RootFile(path, settings).iter_blocks():
                pass
            return
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            reader = ReaderSettings(format="root", root=settings)
            convert_files([path], Path(folder), sample=sample, settings=reader)
work(Path(sys.argv[4]))  # a small file: imports
begin = time.process_time()
work(path)
cpu = time.process_time() - begin
# VmHWM, not ru_maxrss: the latter begins at the peak of the process that started this one
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
print(json.dumps({"cpu_s": cpu, "peak_mb": peak}))
"""

_MEASURE_WORKERS = """
import json, resource, sys, tempfile, time
from pathlib import Path
import coffea.processor
from honeyguide.data.sample import SampleInfo
from honeyguide.io.convert import convert_files
from honeyguide.io.root_settings import RootReaderSettings
from honeyguide.io.settings import ReaderSettings
paths, workers = [Path(path) for path in json.loads(sys.argv[1])], int(sys.argv[2])
root = RootReaderSettings.model_validate_json(sys.argv[3])
sample = SampleInfo(name="tt", process="tt", generator="toy", label="background")
begin, wall = time.process_time(), time.perf_counter()
with tempfile.TemporaryDirectory(dir=paths[0].parent) as folder:
    settings = ReaderSettings(format="root", root=root, workers=workers)
    convert_files(paths, Path(folder), sample=sample, settings=settings)
children = resource.getrusage(resource.RUSAGE_CHILDREN)
cpu = time.process_time() - begin + children.ru_utime + children.ru_stime
print(json.dumps({"cpu_s": cpu, "wall_s": time.perf_counter() - wall}))
"""


def measure(scale: float = 1.0) -> list[dict[str, Any]]:
    """Returns figures for files of 50 MB times ``scale``."""
    with tempfile.TemporaryDirectory() as temporary:
        rows = []
        for name, write, settings in (("flat", write_flat, flat_settings()), ("lists", write_lists, list_settings())):
            folder = Path(temporary) / name
            folder.mkdir()
            small, path = folder / "small.root", folder / "rows.root"
            write(small, 1e6)
            # a file of lists has many more rows than a flat one, and ids count 2^24 of a file
            num_rows = write(path, min(scale * 50e6, 400e6) if name == "lists" else scale * 50e6)
            rows += _compare(name, path, small, num_rows, settings)
            path.unlink()
        return rows + measure_workers(scale)


def measure_workers(scale: float = 1.0, *, num_files: int = 4) -> list[dict[str, Any]]:
    """Returns what converting several files of 50 MB times ``scale`` takes with one worker and with two."""
    with tempfile.TemporaryDirectory() as temporary:
        paths = [Path(temporary) / f"{index}.root" for index in range(num_files)]
        num_rows = sum(write_flat(path, scale * 50e6, seed=index) for index, path in enumerate(paths))
        rounds = [{workers: _run_workers(paths, workers) for workers in (1, 2)} for _ in range(ROUNDS)]
    return [
        {
            "name": f"flat: conversion of {num_files} files, {workers} workers",
            "rows": num_rows,
            "rows_per_cpu_s": num_rows / median(figures[workers]["cpu_s"] for figures in rounds),
            "rows_per_s": num_rows / median(figures[workers]["wall_s"] for figures in rounds),
            "reference": "one worker; CPU seconds of all processes, and wall time",
            "ratio": median(figures[1]["cpu_s"] / figures[workers]["cpu_s"] for figures in rounds),
            "speed-up": median(figures[1]["wall_s"] / figures[workers]["wall_s"] for figures in rounds),
        }
        for workers in (1, 2)
    ]


def flat_settings() -> dict[str, Any]:
    """Returns reader settings for the flat file: all of its branches, truths, and a cut that all rows pass."""
    return {
        "tree": "tree",
        "columns": {f"f{index}": f"f{index}" for index in range(NUM_FEATURES)},
        "cuts": {"pt": "f0 > -100"},
        "truths": {"definitions": {"b": [{"flavour": [5]}], "c": [{"flavour": [4]}], "light": [{"flavour": [0, 21]}]}},
    }


def list_settings() -> dict[str, Any]:
    """Returns reader settings for the file of lists: a row per jet, truths, and a cut that most rows pass."""
    columns = {name: f"Jet_{name}" for name in LIST_FEATURES}
    flavours = {"b": [{"Jet_flavour": [5]}], "c": [{"Jet_flavour": [4]}], "light": [{"Jet_flavour": [0, 21]}]}
    return {
        **{"tree": "tree", "rows": "objects", "columns": {**columns, "log_pt": "log(Jet_pt)", "met": "MET_pt"}},
        **{"cuts": {"acceptance": "(Jet_pt > 0.01) & (abs(Jet_eta) < 2.5)"}, "truths": {"definitions": flavours}},
    }


def write_flat(path: Path, size: float, *, seed: int = 1) -> int:
    """Returns the number of rows after writing a flat tree of about ``size`` bytes, ROOT's default compression."""
    rng = np.random.default_rng(seed)
    names = [f"f{index}" for index in range(NUM_FEATURES)]
    num_rows = max(1, round(size / (4 * (NUM_FEATURES + 1))))
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        tree = file.mktree("tree", {**dict.fromkeys(names, "float32"), "flavour": "int32"})
        for start in range(0, num_rows, BATCH):
            count = min(BATCH, num_rows - start)
            flavour = rng.choice(np.array([0, 4, 5, 21], np.int32), count)
            tree.extend({**{name: _rounded(rng, count) for name in names}, "flavour": flavour})
    return num_rows


def write_lists(path: Path, size: float) -> int:
    """Returns the number of objects after writing a tree of lists of about ``size`` bytes."""
    rng = np.random.default_rng(1)
    num_entries = max(1, round(size / (4 * (len(LIST_FEATURES) + 1) * 5)))
    num_rows = 0
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        lists = dict.fromkeys(LIST_FEATURES, "float32") | {"flavour": "int32"}
        tree = file.mktree("tree", {"Jet": _shape(lists), "MET_pt": "float32"})
        for start in range(0, num_entries, BATCH):
            counts = rng.poisson(5, min(BATCH, num_entries - start))
            total = int(counts.sum())
            jets = {name: _rounded(rng, total) for name in LIST_FEATURES}
            jets["pt"] = np.abs(jets["pt"]) + np.float32(0.001)
            jets["flavour"] = rng.choice(np.array([0, 4, 5, 21], np.int32), total)
            met = _rounded(rng, len(counts))
            tree.extend({"Jet": ak.unflatten(ak.zip(jets), counts), "MET_pt": met})
            num_rows += total
    return num_rows


def _shape(fields: dict[str, str]) -> str:
    return "var * {" + ", ".join(f"{name}: {kind}" for name, kind in fields.items()) + "}"


def _rounded(rng: np.random.Generator, count: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns normal numbers with 12 bits of mantissa, as experiments store them: they compress by a third."""
    values = rng.normal(size=count).astype(np.float32)
    return (values.view(np.int32) & np.int32(-(2**11))).view(np.float32)


def _compare(name: str, path: Path, small: Path, num_rows: int, settings: dict[str, Any]) -> list[dict[str, Any]]:
    # in turns, so that a busy machine slows all alike
    rounds = [{way: _run(way, path, small, settings) for way in WAYS} for _ in range(ROUNDS)]
    ratios = {way: [figures[WAYS[0]]["cpu_s"] / figures[way]["cpu_s"] for figures in rounds] for way in WAYS}
    return [
        {
            "name": f"{name}: {way}",
            "rows": num_rows,
            "rows_per_cpu_s": num_rows / median(figures[way]["cpu_s"] for figures in rounds),
            "peak_mb": max(figures[way]["peak_mb"] for figures in rounds),
            "reference": "uproot.iterate over the same branches, 100 MB at once",
            "ratio": median(ratios[way]),
            "ratios": [round(ratio, 3) for ratio in sorted(ratios[way])],
        }
        for way in WAYS
    ]


def _run(way: str, path: Path, small: Path, settings: dict[str, Any]) -> dict[str, float]:
    """Returns CPU seconds and peak memory of reading ``path`` in a process of its own, on one thread."""
    command = [sys.executable, "-c", _MEASURE, str(path), way, json.dumps(settings), str(small)]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(Path.home())}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return figures


def _run_workers(paths: list[Path], workers: int) -> dict[str, float]:
    """Returns CPU seconds, of the workers too, and wall seconds of converting files in a process of its own."""
    command = [sys.executable, "-c", _MEASURE_WORKERS, json.dumps([*map(str, paths)]), str(workers)]
    command.append(json.dumps(flat_settings()))
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": str(Path.home())}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    json.dump(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0), sys.stdout, indent=1)

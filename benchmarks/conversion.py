"""Conversion of BEAD's CSV: events per CPU second and peak memory, beside a float parse and a memory copy.

Run ``python -m benchmarks.conversion [scale]`` from the root of the repository; scale 1 is a file of 60 MB.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 5
HEADER = "evtwt,met,metphi,njets,npart,isbtagged,pid,pt,eta,phi\n"
PDG_IDS = ("22", "211", "-211", "130", "321", "-321", "2112")

_MEASURE = """
import json, resource, sys, tempfile, time
from pathlib import Path
path, what = Path(sys.argv[1]), sys.argv[2]
if what == "conversion":
    from honeyguide.data.sample import SampleInfo
    from honeyguide.io.convert import convert_files
    from honeyguide.io.settings import ReaderSettings
    sample = SampleInfo(name="qcd", process="qcd", generator="toy", label="background")
    def work(path):
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            convert_files([path], Path(folder), sample=sample, settings=ReaderSettings())
elif what == "float parse":
    import polars
    def work(path):
        polars.read_csv(path, has_header=False, schema={"value": polars.Float64})
else:
    # in blocks, as the conversion reads: fresh memory for the whole file would cost more than the copy
    source, target = bytearray(2**20), bytearray(2**20)
    def work(path):
        with path.open("rb", buffering=0) as file:
            while size := file.readinto(source):
                target[:size] = source[:size]
work(Path(sys.argv[3]))  # a small file: imports, compiled code from its cache
begin = time.process_time()
work(path)
cpu = time.process_time() - begin
# VmHWM, not ru_maxrss: the latter begins at the peak of the process that started this one
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
print(json.dumps({"cpu_s": cpu, "peak_mb": peak}))
"""


def measure(scale: float = 1.0) -> list[dict[str, Any]]:
    """Returns figures of the conversion of a file of 60 MB times ``scale``, and of its raw limits."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        block, block_events = make_rows(1500)
        small = write_rows(folder / "small.csv", block, 1)
        repeats = max(1, round(scale * 60e6 / len(block)))
        path = write_rows(folder / "rows.csv", block, repeats)
        return _compare(path, small, repeats * block_events)


def make_rows(num_events: int) -> tuple[bytes, int]:
    """Returns rows of toy events of about 2.6 kB each in BEAD's layout and precision, and their number."""
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(num_events):
        num_jets = int(rng.integers(2, 6))
        cells = [f"{rng.exponential(1e-6):.3g}", f"{100 + rng.exponential(50):.2f}", f"{rng.uniform(0, 6.28):.5g}"]
        cells.append(str(num_jets))
        for _ in range(num_jets):
            size = int(rng.integers(12, 34))
            axis = rng.normal(0, 1.5), rng.uniform(0, 6.28)
            cells += [str(size), str(int(rng.random() < 0.1))]
            for _ in range(size):
                eta, phi = rng.normal(axis[0], 0.2), rng.normal(axis[1], 0.2) % 6.28
                cells += [str(rng.choice(PDG_IDS)), f"{rng.exponential(10):.7g}", f"{eta:.7g}", f"{phi:.7g}"]
        rows.append(",".join(cells) + "\n")
    return "".join(rows).encode(), num_events


def write_rows(path: Path, block: bytes, repeats: int) -> Path:
    """Returns ``path``, written with a header and ``repeats`` times the rows of ``block``."""
    with path.open("wb") as file:
        file.write(HEADER.encode())
        for _ in range(repeats):
            file.write(block)
    return path


def _compare(path: Path, small: Path, num_events: int) -> list[dict[str, Any]]:
    """Returns the figures for one file. The float parse reads the same numbers, one per line."""
    column = path.with_name("column.csv")
    with path.open("rb") as source, column.open("wb") as target:
        source.readline()
        while block := source.read(2**22):
            target.write(block.replace(b",", b"\n"))
    small_column = small.with_name("small_column.csv")
    small_column.write_bytes(small.read_bytes().split(b"\n", 1)[1].replace(b",", b"\n"))
    files = {"conversion": (path, small), "float parse": (column, small_column), "memory copy": (path, small)}
    # in turns, so that a busy machine slows all alike
    rounds = [{what: _run(what, *of) for what, of in files.items()} for _ in range(ROUNDS)]
    column.unlink()
    seconds = {what: sorted(figures[what]["cpu_s"] for figures in rounds) for what in files}
    return [
        {
            "name": what,
            "events": num_events,
            "events_per_cpu_s": num_events / median(seconds[what]),
            "slowest": num_events / seconds[what][-1],
            "fastest": num_events / seconds[what][0],
            "peak_mb": max(figures[what]["peak_mb"] for figures in rounds),
            "reference": "float parse of the same numbers by polars, one column",
            "ratio": median(figures["float parse"]["cpu_s"] / figures[what]["cpu_s"] for figures in rounds),
        }
        for what in files
    ]


def _run(what: str, path: Path, small: Path) -> dict[str, float]:
    """Returns CPU seconds and peak memory of the work on ``path`` in a process of its own, on one thread."""
    command = [sys.executable, "-c", _MEASURE, str(path), what, str(small)]
    environment = {"PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "HOME": str(Path.home())}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(result.stdout)
    return figures


if __name__ == "__main__":
    json.dump(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0), sys.stdout, indent=1)

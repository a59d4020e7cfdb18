"""Measures the speed of every stage: one command, a table, and JSON.

python benchmarks/run.py                                          # everything, at 1 and 10 times the data
python benchmarks/run.py --only startup conversion --scales 1     # some of it
python benchmarks/run.py --json speed.json

Each stage is a module beside this one with ``measure(scale) -> list of rows``; a row is a mapping from column to value.
Every measurement runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
STAGES = (
    "conversion",
    "root_reading",
    "preprocessing",
    "rows",
    "training",
    "particle_net",
    "particle_transformer",
    "distributed",
    "inference",
    "startup",
    "remote",
)
WITHOUT_SCALE = ("startup", "remote")
PACKAGES = ("numpy", "numba", "h5py", "hdf5plugin", "uproot", "awkward", "torch", "law", "luigi", "polars")

Row = dict[str, Any]


def measure(stage: str, scale: float) -> list[Row]:
    """Returns the rows of one stage; runs in a process of its own."""
    rows = import_module(f"benchmarks.{stage}").measure(scale)
    rows = [rows] if isinstance(rows, Mapping) else rows
    return [{"scale": scale, **row} for row in rows]


def machine() -> dict[str, Any]:
    """Returns what the numbers depend on besides the code."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "cpu": cpu_model(),
        "cores": cores,
        "load": [round(value, 2) for value in os.getloadavg()],
        "threads": os.environ["OMP_NUM_THREADS"],
        "system": platform.platform(),
        "commit": git.stdout.strip() or None,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def cpu_model() -> str:
    """Returns the name of the processor."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def table(stage: str, rows: Sequence[Row]) -> Table:
    """Returns the rows of a stage as a table."""
    result = Table(title=stage, box=box.SIMPLE_HEAD, title_justify="left")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    for name in columns:
        is_number = all(isinstance(row.get(name, 0), (int, float)) for row in rows)
        result.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        result.add_row(*(shown(row.get(name, "")) for name in columns))
    return result


def shown(value: Any) -> str:
    """Returns a value as text: integers with separators, other numbers with four digits."""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def main() -> int:
    """Returns the exit status: 1 if a stage failed; the others are measured and written all the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=STAGES, default=STAGES, help="stages to measure; default: all")
    parser.add_argument("--scales", nargs="+", type=float, default=[1, 10], help="amounts of data; default: 1 10")
    parser.add_argument("--json", type=Path, help="file to write; default: none")
    options = parser.parse_args()

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path.insert(0, str(ROOT))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    console = Console(width=None if sys.stdout.isatty() else 160)
    report: dict[str, Any] = {"machine": machine(), "results": {}, "errors": {}}
    console.print_json(data=report["machine"], indent=None)
    for stage in options.only:
        rows: list[Row] = []
        for scale in options.scales[:1] if stage in WITHOUT_SCALE else options.scales:
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
                try:
                    rows += pool.submit(measure, stage, scale).result()
                except Exception as error:  # a broken stage must not hide the others
                    report["errors"][f"{stage} at scale {scale:g}"] = f"{type(error).__name__}: {error}"
        report["results"][stage] = rows
        console.print(table(stage, rows))
    report["machine"]["load_at_the_end"] = [round(value, 2) for value in os.getloadavg()]
    for where, reason in report["errors"].items():
        console.print(f"[red]failed[/red] {where}: {reason}", highlight=False)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
        console.print(f"written: {options.json}")
    return 1 if report["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())

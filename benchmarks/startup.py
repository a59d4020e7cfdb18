"""CPU time of looking at tasks: law's index, and the status of the whole graph."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LAW = "import sys; from law.cli.cli import run; sys.exit(run(sys.argv[1:]))"
COMMANDS: dict[str, tuple[str, ...]] = {
    "python -c pass": ("pass",),
    "import law": ("import law",),
    "law index": (LAW, "index", "--quiet"),
    "law run ROCCurveTask --config quickstart --print-status -1": (
        LAW, "run", "ROCCurveTask", "--config", "quickstart", "--print-status", "-1",
    ),
}  # fmt: skip
REFERENCE = "import law"


def measure(scale: float = 1, *, repeats: int = 7) -> list[dict[str, Any]]:  # noqa: ARG001 (the common signature)
    """Returns one row per command: CPU seconds (user and system, with children), and their ratio to ``import law``.

    The commands take turns, so that a busy moment of the machine does not fall on one of them alone.

    Args:
        scale: Not used: a start does not depend on the amount of data.
        repeats: Runs of each command.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as home:
        places = {"LAW_HOME": home, "LAW_CONFIG_FILE": str(ROOT / "law.cfg"), "HONEYGUIDE_STORE": f"{home}/store"}
        environment = {**os.environ, **places, "PYTHONPATH": str(ROOT)}
        for repeat in range(repeats + 1):
            for name, arguments in COMMANDS.items():
                used = _run([sys.executable, "-c", *arguments], environment)
                if repeat:  # the first round fills caches: bytecode, law's index, the files of the system
                    seconds[name].append(used)
    reference = median(cpu for cpu, _ in seconds[REFERENCE])
    return [_row(name, values, reference) for name, values in seconds.items()]


def _run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Returns CPU and wall seconds of a command with its children."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - start


def _row(name: str, seconds: Sequence[tuple[float, float]], reference: float) -> dict[str, Any]:
    cpu = sorted(value for value, _ in seconds)
    return {
        "command": name,
        "repeats": len(cpu),
        "cpu_s_min": round(cpu[0], 3),
        "cpu_s_median": round(median(cpu), 3),
        "cpu_s_max": round(cpu[-1], 3),
        "wall_s_median": round(median(wall for _, wall in seconds), 3),
        f"cpu_over_{REFERENCE.replace(' ', '_')}": round(median(cpu) / reference, 2),
    }

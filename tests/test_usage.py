"""What a block takes is measured, whatever happens in it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest

from honeyguide.usage import measured

MIB = 1 << 20


def test_cpu_time_is_that_of_the_block():
    usage: dict[str, Any] = {}
    start = time.process_time()
    with measured(usage):
        while time.process_time() - start < 0.3:
            pass
    assert 0.25 < usage["cpu_s"] < 3
    assert usage["wall_s"] >= 0.25


def test_sleep_takes_time_and_no_cpu():
    usage: dict[str, Any] = {}
    with measured(usage):
        time.sleep(0.4)
    assert usage["wall_s"] >= 0.4
    assert usage["cpu_s"] < 0.3


def test_cpu_time_of_child_processes_counts():
    usage: dict[str, Any] = {}
    code = "import time\nwhile time.process_time() < 0.5: pass"
    with measured(usage):
        subprocess.run([sys.executable, "-c", code], check=True)
    assert usage["cpu_s"] > 0.45


HIGH_THEN_LOW = f"""
import json, numpy
from honeyguide.usage import measured
high, later = dict(), dict()
with measured(high):
    block = numpy.ones({400 * MIB // 8})
    del block  # gone before the next look: the kernel has seen it
with measured(later):
    pass
print(json.dumps([high, later]))
"""


def test_memory_is_that_of_the_block_even_after_a_higher_peak():
    # a process of its own: this one has had higher peaks, and has children
    said = subprocess.run([sys.executable, "-c", HIGH_THEN_LOW], check=True, capture_output=True, text=True)
    high, later = json.loads(said.stdout)
    assert high["memory_bytes"] - later["memory_bytes"] > 200 * MIB  # a kernel short of memory takes pages back
    assert later["memory_bytes"] > 10 * MIB
    assert later["threads"] >= 1
    assert later["cpus"] >= 1


def test_nothing_is_left_running_even_after_an_error():
    usage: dict[str, Any] = {}

    def fails() -> None:
        assert any(thread.name == "usage" for thread in threading.enumerate())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), measured(usage):
        fails()
    assert not any(thread.name == "usage" for thread in threading.enumerate())
    assert usage["wall_s"] >= 0


def gpu(**more: Any) -> SimpleNamespace:
    """A torch with two GPUs, of which one is used."""
    allocated = (3 * MIB, 0)
    return SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: 2,
        max_memory_allocated=allocated.__getitem__,
        get_device_name=lambda index: f"card {index}",
        **more,
    )


def test_gpu_is_measured_where_torch_uses_one(monkeypatch):
    looks = iter([40, 60, 50, 50])
    cuda = gpu(device_memory_used=lambda _: 9 * MIB, utilization=lambda _: next(looks))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    usage: dict[str, Any] = {}
    with measured(usage):
        time.sleep(0.1)
    expected = {"name": "card 0", "memory_bytes": 3 * MIB, "device_memory_bytes": 9 * MIB, "utilization_percent": 50.0}
    assert usage["gpus"] == [expected]


def test_driver_that_fails_fails_no_task(monkeypatch):
    def broken(_: int) -> int:
        raise RuntimeError("no driver")

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=gpu(device_memory_used=broken)))
    usage: dict[str, Any] = {}
    with measured(usage):
        pass
    assert usage["gpus"] == [{"name": "card 0", "memory_bytes": 3 * MIB}]
    json.dumps(usage)


def test_first_look_imports_no_torch():
    code = "import sys\nfrom honeyguide.usage import measured\nassert 'psutil' not in sys.modules\n"
    code += "with measured({}): pass\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

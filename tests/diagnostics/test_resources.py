"""What tasks took is added up from their manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from honeyguide.diagnostics.resources import StageUsage, gather_usage
from honeyguide.io.atomic import atomic_folder
from honeyguide.plotting.resources import memory_figure, time_figure

MIB = 2**20


def output(folder: Path, name: str, **usage: Any) -> Path:
    with atomic_folder(folder / name, metadata={"host": "node-1", **({"usage": usage} if usage else {})}) as inside:
        (inside / "a").write_text(name)
    return folder / name


def usage(wall: float, cpu: float, memory: int, **more: Any) -> dict[str, Any]:
    return {"wall_s": wall, "cpu_s": cpu, "memory_bytes": memory, "threads": 3, "cpus": 8, **more}


def gpu(memory: int, percent: float | None = None) -> dict[str, Any]:
    known = {} if percent is None else {"utilization_percent": percent}
    return {"name": "card", "memory_bytes": memory, **known}


def test_times_add_up_and_memory_is_the_largest(tmp_path):
    outputs = [output(tmp_path, "0", **usage(10, 8, 300 * MIB)), output(tmp_path, "1", **usage(5, 9, 200 * MIB))]
    (stage,) = gather_usage({"GenerateEventsTask": outputs})
    expected = StageUsage("GenerateEventsTask", 2, 2, 15, 17, 300 * MIB, 3, ("node-1",), (), None, None)
    assert stage == expected


def test_outputs_without_a_record_are_counted_as_such(tmp_path):
    (stage,) = gather_usage({"PreprocessTask": [output(tmp_path, "old"), output(tmp_path, "new", **usage(2, 1, MIB))]})
    assert (stage.outputs, stage.measured, stage.wall_s) == (2, 1, 2)


def test_gpu_use_is_the_mean_over_the_seconds(tmp_path):
    long = output(tmp_path, "long", **usage(90, 90, MIB, gpus=[gpu(50 * MIB, 80)]))
    short = output(tmp_path, "short", **usage(10, 10, MIB, gpus=[gpu(70 * MIB, 20), gpu(10 * MIB)]))
    (stage,) = gather_usage({"TrainingTask": [long, short]})
    assert stage.gpu_percent == pytest.approx((90 * 80 + 10 * 20) / 100)
    assert stage.gpu_memory_bytes == 70 * MIB
    assert stage.gpu == ("card",)


def texts(figure) -> list[str]:
    return [text.get_text().strip() for text in figure.axes[0].texts]


def test_nothing_is_shown_where_nothing_was_measured(looked):
    assert "not_made" in looked.sections["resources"].data


def test_bars_have_units():
    figure = time_figure({"TrainingTask": (600.0, 1200.0), "InferenceTask": (0.5, 0.25)})
    assert figure.axes[0].get_xlabel() == "time [min]"
    assert [bar.get_width() for bar in figure.axes[0].patches] == pytest.approx([10, 0.5 / 60, 20, 0.25 / 60])
    assert texts(figure) == ["10 min", "0.5 s", "20 min", "0.25 s"]


def test_gpu_memory_is_drawn_where_there_is_some():
    figure = memory_figure({"TrainingTask": (3 * 2**30, 2**30), "InferenceTask": (512 * MIB, None)})
    assert figure.axes[0].get_xlabel() == "largest memory [GiB]"
    assert texts(figure) == ["3 GiB", "512 MiB", "1.02e+03 MiB"]
    assert len(texts(memory_figure({"InferenceTask": (512 * MIB, None)}))) == 1

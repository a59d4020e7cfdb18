"""Model inputs from jobs: the tasks that write parts give what PreprocessTask makes by itself, and leave nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from honeyguide.errors import DataError
from tasks.base import HoneyguideTask, store
from tasks.dataset import DatasetConstructorTask
from tasks.preprocessing import PreprocessFitTask, PreprocessPartTask, PreprocessTask, PreprocessTestTask

DATASET = """
files_per_branch: 1
samples:
  qcd: {process: qcd, generator: g, match: ["*qcd*"]}
  svj: {process: svj, generator: g, label: signal, signal_point: {mass: 500}, match: ["*svj*"]}
"""
EXPERIMENT = "dataset: data.yaml\nmodel: {family: vae}\npreprocess: {level: jet, num_jets: 2}\n"


def write_events(path: Path, number: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    with path.open("w") as file:
        for _ in range(number):
            jets = [f"1,0,211,{rng.uniform(20, 90):.3f},{rng.normal():.3f},0.5" for _ in range(rng.integers(1, 4))]
            file.write(",".join(["1.0", f"{rng.uniform(5, 50):.3f}", "0.1", str(len(jets)), *jets]) + "\n")


@pytest.fixture
def parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("HONEYGUIDE_STORE", str(tmp_path / "store"))
    HoneyguideTask.clear_instance_cache()
    (tmp_path / "data.yaml").write_text(DATASET)
    (tmp_path / "exp.yaml").write_text(EXPERIMENT)
    sizes = {"qcd_a": 60, "qcd_b": 40, "svj_a": 30, "test_qcd": 20, "test_svj": 10}
    for seed, (name, number) in enumerate(sizes.items()):
        write_events(tmp_path / f"{name}.csv", number, seed)
    for name, files in (("train", list(sizes)[:3]), ("test", list(sizes)[3:])):
        (tmp_path / f"{name}.txt").write_text("".join(f"{file}.csv\n" for file in files))
    return {"config": str(tmp_path / "exp.yaml"), "filelist": str(tmp_path / "train.txt")}


def run(*tasks: Any) -> None:
    for task in tasks:
        assert all(item.complete() for item in _flat(task.requires())), f"{task} needs more"
        task.publish_message = print
        task.progress = lambda *_: None
        task.run()


def _flat(required: Any) -> list[Any]:
    return [item for value in required.values() for item in _flat(value)] if isinstance(required, dict) else (
        [item for value in required for item in _flat(value)] if isinstance(required, list) else [required]
    )  # fmt: skip


def made(task: HoneyguideTask) -> dict[str, bytes]:
    folder = task.output().folder
    files = {path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"}
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def in_one_go_and_in_parts(kind: type[HoneyguideTask], parameters: dict[str, str]) -> tuple[dict[str, bytes], ...]:
    local, remote = kind(**parameters), kind(**parameters, workflow="slurm")
    assert remote.output().path == local.output().path
    run(local)
    whole = made(local)
    local.output().remove()
    parts = PreprocessPartTask.req(remote, branch=-1)
    assert remote.requires() in (parts, {"parts": parts})
    run(PreprocessFitTask.req(remote, branch=0), *parts.get_branch_tasks().values(), remote)
    return whole, made(remote)


def test_parts_give_the_same_bytes_at_the_same_path_and_are_removed(parameters: dict[str, str]) -> None:
    run(*DatasetConstructorTask(**parameters).get_branch_tasks().values())
    whole, merged = in_one_go_and_in_parts(PreprocessTask, parameters)
    assert merged == whole
    assert {"qcd/train.h5", "svj/test.h5", "spec.json", "scalers.json"} <= set(whole)
    assert len(PreprocessPartTask(**parameters).get_branch_tasks()) == 3
    assert not [path for name in ("Fit", "Part") for path in store().glob(f"Preprocess{name}Task/*/*/*")]
    # what is there needs no parts
    assert isinstance(PreprocessTask(**parameters, workflow="slurm").requires(), DatasetConstructorTask)

    tested = {**parameters, "test_filelist": parameters["filelist"].replace("train", "test")}
    run(*PreprocessTestTask(**tested).dataset().get_branch_tasks().values())
    whole, merged = in_one_go_and_in_parts(PreprocessTestTask, tested)
    assert merged == whole
    assert set(whole) == {"qcd/test.h5", "svj/test.h5", "spec.json", "scalers.json"}


def test_files_that_are_trained_on_are_found_by_the_fit_of_a_test(parameters: dict[str, str]) -> None:
    run(*DatasetConstructorTask(**parameters).get_branch_tasks().values(), PreprocessTask(**parameters))
    same = PreprocessTestTask(**parameters, test_filelist=parameters["filelist"], workflow="slurm")
    run(*same.dataset().get_branch_tasks().values())
    with pytest.raises(DataError, match="a source file is in the dataset that was trained with"):
        run(PreprocessFitTask.req(same, branch=0))


def test_parts_move_with_the_model_inputs_and_with_their_files(parameters: dict[str, str]) -> None:
    """What moves PreprocessTask and branches of the dataset is tested with all tasks; here, that these follow."""

    def paths(**changes: Any) -> tuple[str, set[str]]:
        given = {**parameters, **changes}
        fit, parts = PreprocessFitTask(**given, branch=0), PreprocessPartTask(**given).get_branch_tasks()
        return fit.output().path, {part.output().path for part in parts.values()}

    fit, parts = paths()
    for unmoved in ({"workflow": "slurm"}, {"dataset_version": "v1"}, {"set": ("preprocess.block_events=99",)}):
        assert paths(**unmoved) == (fit, parts)
    other, others = paths(set=("dataset.files_per_branch=2",))
    assert other == fit
    assert len(parts & others) == 1  # the one of the signal
    test = {"test_filelist": parameters["filelist"].replace("train", "test")}
    for moved in ({"set": ("preprocess.num_jets=1",)}, {"set": ("dataset.reader.tolerance=0.1",)}, test):
        other, others = paths(**moved)
        assert other != fit
        assert parts.isdisjoint(others)

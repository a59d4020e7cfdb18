"""The quickstart's chain as jobs, by one command: every file has the content that it has after a local run."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (the store's compression)
import numpy as np
import pytest
import uproot

from tests.cluster.batch import BatchLaw
from tests.law_command import EXPERIMENT, Law

ROC = "tasks.roc.ROCCurveTask"
DATASET = """
events_per_chunk: 150
samples:
  qcd: {process: qcd, generator: a, generate: {process: qcd_dijets, events: 300, seed: 1}}
  svj: {process: svj, generator: a, label: signal, signal_point: {mass: 3000, r_inv: 0.3},
        generate: {process: semi_visible_jets, mass: 3000, r_inv: 0.3, events: 150, seed: 3}}
"""
JOBS = {
    "GenerateEventsTask": 3, "DatasetConstructorTask": 2, "PreprocessFitTask": 1, "PreprocessPartTask": 2,
    "TrainingTask": 1, "InferenceTask": 2,
}  # fmt: skip
# what says when, where and how fast; checksums of files, whose contents are compared instead
OF_A_RUN = {"started", "host", "git", "usage", "seconds", "events_per_second", "files"}


def write_config(folder: Path) -> str:
    (folder / "small_data.yaml").write_text(DATASET)
    text = EXPERIMENT.replace("DATASET", "small_data").replace("epochs: 25", "epochs: 2, device: cpu")
    (folder / "small.yaml").write_text(text)
    return str(folder / "small.yaml")


@pytest.fixture(scope="session")
def local_store() -> Path:
    """The store after a local run, which one of pytest's processes does for all."""
    folder = Path(os.environ["HONEYGUIDE_CLUSTER"], "local")
    folder.mkdir(exist_ok=True)
    law = Law(folder, {"VIRTUAL_ENV": sys.prefix})
    with (folder / "turn").open("a") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (law.store / "ROCCurveTask").exists():
            outcome = law(ROC, "--config", write_config(folder))
            assert outcome.returncode == 0, outcome.text
    return law.store


def content(path: Path) -> Any:
    """What is compared of a file: no time, no host."""
    if path.suffix == ".h5":
        found: dict[str, Any] = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
        return found
    if path.suffix == ".root":
        with uproot.open(path) as file:
            return file["events"].arrays(library="np")
    if path.suffix == ".json":
        return _lasting(json.loads(path.read_text()))
    if path.suffix == ".pdf":
        return None  # says when it was made; its twin, the PNG, does not
    return path.read_bytes()


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(item) for name, item in value.items() if name not in OF_A_RUN}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


def files(store: Path) -> dict[str, Path]:
    return {str(p.relative_to(store)): p for p in store.rglob("*") if p.is_file() and "jobs" not in p.parts}


def test_the_chain_is_run_by_one_command_with_the_outputs_of_a_local_run(law: BatchLaw, local_store: Path) -> None:
    law.environment = {f"LAW__luigi_{task}__poll_interval": "0.5s" for task in JOBS}
    # there are no GPUs; the last bit of a sum depends on the number of threads
    law.environment |= {f"LAW__luigi_{task}__cpus": "1" for task in JOBS} | {"LAW__luigi_TrainingTask__gpus": "0"}
    outcome = law(ROC, "--config", str(local_store.parent / "small.yaml"), "--workflow", law.batch.name)
    assert outcome.returncode == 0, outcome.text
    logs = {task: len(list((law.store / "jobs" / task).rglob("job_*.txt"))) for task in JOBS}
    assert logs == JOBS
    mine, its = files(law.store), files(local_store)
    assert sorted(mine) == sorted(its)
    assert {path.suffix for path in its.values()} >= {".h5", ".root", ".csv", ".safetensors", ".json", ".png"}
    for name, path in its.items():
        np.testing.assert_equal(content(mine[name]), content(path), err_msg=name)

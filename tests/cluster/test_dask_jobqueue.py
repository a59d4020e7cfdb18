"""Dask clusters of jobs with the real schedulers: the rows are those of one process, and no job is left."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from honeyguide.io.event_store import EventStore
from tests.root_files import jets_tree, write_tree

if TYPE_CHECKING:
    from tests.cluster.batch import BatchLaw

DATASET = """
reader: {format: root, chunk_size: 11, root: {tree: Events, rows: objects, columns: {pt: Jet_pt, met: MET_pt}}}
samples: {tt: {process: tt, generator: toy, files: [a.root]}}
"""
EXPERIMENT = "dataset: data.yaml\nmodel: {family: vae}\npreprocess: {level: row, event_features: [{name: pt}]}\n"
SITE = {"jobs": "2", "memory": "1500MB", "interface": "lo", "walltime": "5m", "patience": "90s"}


@pytest.fixture
def dask(law: BatchLaw) -> BatchLaw:
    """Jets in a ROOT file, and a site that has a section for Dask."""
    write_tree(law.folder / "a.root", jets_tree(60, seed=1), batches=20)
    (law.folder / "data.yaml").write_text(DATASET)
    (law.folder / "exp.yaml").write_text(EXPERIMENT)
    law.environment |= {f"LAW__dask_jobs__{name}": value for name, value in SITE.items()}
    return law


def words(dask: BatchLaw, *others: str) -> list[str]:
    own = ["tasks.dataset.DatasetConstructorTask", "--config", str(dask.folder / "exp.yaml")]
    return [*own, "--executor", "dask", "--dask-scheduler", dask.batch.name, *others]


def rows(dask: BatchLaw, version: str) -> dict[int, tuple[float, float]]:
    found: dict[int, tuple[float, float]] = {}
    for path in dask.store.glob(f"DatasetConstructorTask/*/{version}/*/events*.h5"):
        with EventStore(path) as store:
            for block in store.iter_blocks():
                values = (block.events[name].tolist() for name in ("pt", "met"))
                found |= dict(zip(block.events["id"].tolist(), zip(*values, strict=True), strict=True))
    return found


def logs(dask: BatchLaw) -> list[Path]:
    return [path for path in dask.store.glob("jobs/DatasetConstructorTask/**/dask-*/*.err") if path.stat().st_size]


def test_jobs_read_what_one_process_reads_and_are_gone_afterwards(dask: BatchLaw) -> None:
    outcome = dask(*words(dask))
    assert outcome.returncode == 0, outcome.text
    assert len(logs(dask)) == 2
    local = dask(*words(dask)[:3], "--dataset-version", "local")
    assert local.returncode == 0, local.text
    assert len(list(dask.store.glob("DatasetConstructorTask/*/v1/*/events*.h5"))) > 1
    assert rows(dask, "v1") == rows(dask, "local")
    assert len(rows(dask, "v1")) > 100


def test_a_conversion_that_fails_leaves_no_job(dask: BatchLaw) -> None:
    outcome = dask(*words(dask, "--set", "dataset.reader.root.columns.pt=Jet_wrong"))
    assert outcome.returncode == 40
    assert "no branch 'Jet_wrong'" in outcome.text
    assert len(logs(dask)) > 0


def test_workers_that_can_not_come_are_reported(dask: BatchLaw) -> None:
    dask.environment |= {"LAW__dask_jobs__memory": "900GB", "LAW__dask_jobs__patience": "4s"}
    outcome = dask(*words(dask))
    assert outcome.returncode == 40
    said = {
        "slurm": "Memory specification can not be satisfied",
        "htcondor": "no machine can run this job: TARGET.Memory",
    }
    assert said[dask.batch.name] in outcome.text, outcome.text


def test_sigterm_cancels_the_jobs(dask: BatchLaw) -> None:
    dask.environment["LAW__dask_jobs__prologue"] = "sleep 60"
    running = dask.start(*words(dask))
    deadline = time.monotonic() + 90
    while len(dask.queue) < 2:
        assert time.monotonic() < deadline, running.text
        time.sleep(0.2)
    outcome = running.gets(signal.SIGTERM)
    assert outcome.returncode != 0

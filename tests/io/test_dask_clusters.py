"""Dask clusters of jobs, without a scheduler: what is submitted, what is said when no worker comes, what is cancelled.

With real schedulers: ``tests/cluster/test_dask_jobqueue.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import law
import pytest

from honeyguide.errors import ConfigError
from honeyguide.io import dask_clusters
from honeyguide.io.dask_clusters import JobState, NoWorkersError, WorkerJobs, dask_cluster, make_cluster
from tasks.base import ROOT
from tasks.dask_clusters import SECTION, worker_jobs

OPTIONS = {
    "jobs": "2:20", "cpus": "2", "memory": "4GB", "walltime": "90m", "queue": "short", "requirements": "big",
    "job_options": "account=me; exclusive", "interface": "lo", "prologue": "module load x", "patience": "5m",
}  # fmt: skip


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The section of a site."""
    options = dict(OPTIONS)
    config = law.config.Config.instance()
    monkeypatch.setattr(config, "has_section", lambda name: name == SECTION and bool(options))
    monkeypatch.setattr(config, "items", lambda _: list(options.items()))
    return options


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Slurm that takes two jobs, starts none, and writes down what is cancelled."""
    commands = {
        "sbatch": f'for n in 10 11; do mkdir {tmp_path}/$n && echo "Submitted batch job $n" && exit; done\n'
        "echo 'no more' >&2; exit 1",
        "scancel": f"echo $1 >> {tmp_path}/cancelled",
    }
    for name, does in commands.items():
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/bash\n{does}\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    for name in ("_LOOK", "_ASK"):
        monkeypatch.setattr(dask_clusters, name, 0.05)
    return tmp_path


def jobs(folder: Path, **changes: object) -> WorkerJobs:
    return WorkerJobs(**{"scheduler": "slurm", "logs": folder / "logs", "interface": "lo", **changes})  # type: ignore[arg-type]


def test_jobs_of_slurm_ask_for_what_the_site_says(site: dict[str, str], tmp_path: Path) -> None:
    wanted = worker_jobs("slurm", tmp_path / "logs")
    assert (wanted.fewest, wanted.most, wanted.patience) == (2, 20, 300)
    with make_cluster(wanted) as cluster:
        script = cluster.job_script()
    lines = script.splitlines()
    for line in (
        "--cpus-per-task=2", "--mem=4G", "-t 01:30:00", "--partition=short", "--constraint=big", "--account=me",
        "--exclusive", f"-o {tmp_path}/logs/honeyguide-dask-%J.out",
    ):  # fmt: skip
        assert f"#SBATCH {line}" in lines
    assert lines[-3:-1] == [f"export PYTHONPATH={ROOT}", "module load x"]
    assert lines[-1].startswith(f"{sys.executable} -m distributed.cli.dask_worker tcp://127.0.0.1:")
    assert "--nworkers 2" in lines[-1]
    assert "--nthreads 1" in lines[-1]


def test_without_a_walltime_the_scheduler_s_holds(site: dict[str, str], tmp_path: Path) -> None:
    del site["walltime"]
    with make_cluster(worker_jobs("slurm", tmp_path)) as cluster:
        assert not [line for line in cluster.job_script().splitlines() if " -t " in line or "--time" in line]


def test_jobs_of_htcondor_ask_for_what_the_site_says(site: dict[str, str], tmp_path: Path) -> None:
    with make_cluster(worker_jobs("htcondor", tmp_path / "logs")) as cluster:
        lines = cluster.job_script().splitlines()
    for line in (
        "MY.DaskWorkerCores = 2", f"MY.DaskWorkerMemory = {4 * 2**30}", "+MaxRuntime = 5400",
        '+JobFlavour = "short"', "requirements = big", "account = me", f"LogDirectory = {tmp_path}/logs",
    ):  # fmt: skip
        assert line in lines
    (command,) = [line for line in lines if line.startswith("Arguments")]
    assert f"export PYTHONPATH={ROOT}; module load x; {sys.executable} -m distributed.cli.dask_worker" in command


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [("jobs", "5:2", "the fewest and the most"), ("cpus", "0", "at least 1"), ("memroy", "1GB", "nearest: memory")],
)
def test_mistakes_of_the_site_are_named(
    site: dict[str, str], tmp_path: Path, option: str, value: str, words: str
) -> None:
    site[option] = value
    with pytest.raises(ConfigError, match=words):
        worker_jobs("slurm", tmp_path)


def test_no_site_no_package_no_scheduler_and_no_interface_are_errors_that_say_so(
    site: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.clear()
    with pytest.raises(ConfigError, match="choose a site"):
        worker_jobs("slurm", tmp_path)
    with pytest.raises(ConfigError, match=r"can't be started[\s\S]*'nonesuch'"):
        make_cluster(jobs(tmp_path, interface="nonesuch"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="got: no command sbatch"), dask_cluster(jobs(tmp_path), lambda _: {}):
        pass
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(ConfigError, match="dask-jobqueue is not installed"):
        make_cluster(jobs(tmp_path))


def test_when_no_worker_comes_the_reason_is_quoted_and_all_jobs_are_cancelled(queue: Path) -> None:
    def pending(job_ids: Sequence[str]) -> dict[str, JobState]:
        return {number: JobState("PENDING (Resources)") for number in job_ids}

    with (
        pytest.raises(NoWorkersError, match=r"has come in 0 s[\s\S]*job 10: PENDING \(Resources\); job 11: PENDING"),
        dask_cluster(jobs(queue, fewest=2, most=2, patience=0.2), pending),
    ):
        pass
    assert sorted((queue / "cancelled").read_text().split()) == ["10", "11"]


def test_jobs_that_are_held_or_gone_are_not_waited_for(queue: Path) -> None:
    def held(job_ids: Sequence[str]) -> dict[str, JobState]:
        return {number: JobState("PENDING (JobHeldUser)", hopeless=True) for number in job_ids}

    with pytest.raises(NoWorkersError, match=r"any more[\s\S]*JobHeldUser"), dask_cluster(jobs(queue), held):
        pass
    (queue / "10").rmdir()
    (queue / "logs" / "honeyguide-dask-10.err").write_text("first\nno module named x\n")
    with (
        pytest.raises(NoWorkersError, match=r"any more[\s\S]*no module named x"),
        dask_cluster(jobs(queue), lambda _: {}),
    ):
        pass
    assert (queue / "cancelled").read_text().split() == ["10", "10"]


def test_when_the_scheduler_refuses_some_of_the_jobs_the_others_are_cancelled(queue: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"does not accept the jobs[\s\S]*no more"),
        dask_cluster(jobs(queue, fewest=3, most=3), lambda _: {}),
    ):
        pass
    assert len((queue / "cancelled").read_text().split()) == 2

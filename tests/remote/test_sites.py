"""What jobs ask for at each site, in the words of its batch system."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from honeyguide.errors import ConfigError
from tasks.generate import GenerateEventsTask
from tasks.job_resources import JobResources, htcondor_lines, slurm_options
from tests.law_command import ROOT

SITES = sorted(path.stem for path in (ROOT / "configs" / "sites").glob("*.cfg"))
PRINT = """
import dataclasses, json
from tasks.generate import GenerateEventsTask
from tasks.training import TrainingTask
print(json.dumps([dataclasses.asdict(task().job_resources) for task in (GenerateEventsTask, TrainingTask)]))
"""


def asked(site: str) -> tuple[JobResources, JobResources]:
    environment = {
        **os.environ, "HONEYGUIDE_SITE": site, "LAW_CONFIG_FILE": str(ROOT / "law.cfg"), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    found = subprocess.run(
        [sys.executable, "-c", PRINT], env=environment, cwd=ROOT.parent, check=True, capture_output=True
    )
    generate, training = json.loads(found.stdout)
    return JobResources(**generate), JobResources(**training)


@pytest.mark.parametrize("site", SITES)
def test_the_training_of_every_site_has_what_it_says(site):
    generate, training = asked(site)
    assert generate.gpus == 0
    options, lines = dict(slurm_options(training)), dict(htcondor_lines(training, log=Path("log.txt")))
    if site == "slurm":
        assert options["gres"] == "gpu:1"
        assert options["time"] == "24:00:00"
        assert options["mem"] == "8000M"
    if site == "htcondor":
        assert (lines["request_gpus"], lines["request_cpus"], lines["request_memory"]) == ("1", "4", "8000 MB")
        assert lines["request_disk"] == "10 GB"
    if site == "lxplus":
        assert lines["+JobFlavour"] == '"tomorrow"'
        assert lines["request_gpus"] == "1"
    if site == "maxwell":
        assert options["partition"] == "allgpu"
        assert options["constraint"] == "GPUx1"
        assert not {"gres", "mem"} & set(options)


def test_every_resource_reaches_both_batch_systems():
    resources = JobResources(
        cpus=3, memory_mb=5000, gpus=2, gpu_type="a100", hours=1.51, nodes=2, queue="long", requirements="fast",
        extra="account=me; exclusive",
    )  # fmt: skip
    assert slurm_options(resources) == [
        ("nodes", "2"), ("ntasks-per-node", "1"), ("cpus-per-task", "3"), ("open-mode", "append"),
        ("mem", "5000M"), ("gres", "gpu:a100:2"),
        ("time", "01:31:00"), ("partition", "long"), ("constraint", "fast"), ("account", "me"), ("exclusive", ""),
    ]  # fmt: skip
    lines = htcondor_lines(resources, log=Path("log.txt"))
    assert lines[-9:] == [
        ("request_cpus", "3"), ("request_memory", "5000 MB"), ("request_gpus", "2"),
        ("require_gpus", 'DeviceName == "a100"'), ("+MaxRuntime", "5436"), ("+JobFlavour", '"long"'),
        ("requirements", "fast"), ("account", "me"), ("exclusive", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("HONEYGUIDE_SITE", "slum", "no such site"), ("HONEYGUIDE_JOBS", "{file}/jobs", "can't be made")],
)
def test_a_wrong_site_or_folder_of_jobs_is_said(tmp_path, monkeypatch, name, value, said):
    (tmp_path / "file").touch()
    monkeypatch.setenv("HONEYGUIDE_STORE", str(tmp_path))
    monkeypatch.setenv(name, value.format(file=tmp_path / "file"))
    with pytest.raises(ConfigError, match=said), GenerateEventsTask().locked_jobs():
        pass

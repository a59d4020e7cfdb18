"""One small generated dataset that the end-to-end tests share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.law_command import Law

GENERATED = """
events_per_chunk: 300
samples:
  qcd_a: {process: qcd, generator: a, generate: {process: qcd_dijets, events: 600, seed: 1}}
  qcd_b: {process: qcd, generator: b, generate: {process: qcd_dijets, setting: fsr_up, events: 300, seed: 2}}
  svj: {process: svj, generator: a, label: signal, signal_point: {mass: 3000, r_inv: 0.3},
        generate: {process: semi_visible_jets, mass: 3000, r_inv: 0.3, events: 300, seed: 3}}
"""
# the same events as files, so that tests may change them
FILES = """
files_per_branch: 1
samples:
  qcd_a: {process: qcd, generator: a, files: ['qcd_a*.csv']}
  qcd_b: {process: qcd, generator: b, files: ['qcd_b*.csv']}
  svj: {process: svj, generator: a, label: signal, signal_point: {mass: 3000, r_inv: 0.3}, files: ['svj*.csv']}
"""


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Law:
    """A store with the small dataset simulated."""
    law = Law(tmp_path_factory.mktemp("generated"))
    config = law.write_config("small", GENERATED)
    outcome = law("tasks.generate.GenerateEventsTask", "--config", config, "--workers", "2", fresh=True)
    assert outcome.returncode == 0, outcome.text
    assert outcome.ran == {"GenerateEventsTask": 5}
    return law


@pytest.fixture
def as_files(generated: Law, tmp_path: Path) -> Law:
    """An empty store, and the small dataset as CSV files in the folder of the configs."""
    law = Law(tmp_path)
    for folder in (generated.store / "GenerateEventsTask").glob("*/*/*"):
        sample, index, _ = folder.name.split("-")
        shutil.copy(folder / "events.csv", tmp_path / f"{sample}_{index}.csv")
    law.write_config("files", FILES)
    return law

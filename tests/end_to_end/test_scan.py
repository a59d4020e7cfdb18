"""A scan through ``law run``: every point is trained once, and the best config is one of these trainings."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tasks.training import TrainingTask
from tests.law_command import Law
from workflows.scan import ScanTask, ScanTrialTask

GRID = ("training.lr=1e-2,1e-4,1e25",)
SETTINGS = "training.epochs=2"


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "scan.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_grid_and_a_study(generated: Law, monkeypatch: pytest.MonkeyPatch) -> None:
    config = str(generated.folder / "small.yaml")
    command = ("workflows.scan.ScanTask", "--config", config, "--set", SETTINGS, "--scan")
    outcome = generated(*command, *GRID)
    assert outcome.returncode == 0, outcome.text
    assert outcome.ran["ScanTrainingTask"] == 4  # three trainings, and the workflow
    assert "| training.learning_rate | total (validation) |" in outcome.text
    (folder,) = (generated.store / "ScanTask").glob("*/*/*")
    rows = table(folder)
    assert [row["training.learning_rate"] for row in rows] == ["1e-2", "1e-4", "1e25"]
    assert [row["status"] for row in rows] == ["complete", "complete", "failed"]
    assert "the training has diverged" in rows[2]["reason"]
    assert float(rows[0]["objective"]) < float(rows[1]["objective"])

    # the best config is one of the trainings that are there
    monkeypatch.setenv("HONEYGUIDE_STORE", str(generated.store))
    best = TrainingTask(config=str(folder / "best" / "small.yaml"))
    assert best.complete()
    trained = json.loads((best.as_branch(0).output().folder / "metrics.json").read_text())
    assert trained["epochs"][trained["best_epoch"]]["validation"]["total"] == float(rows[0]["objective"])

    # a study, of which more trials are wanted later
    asked = {"config": config, "set": (SETTINGS,), "scan": ("training.lr=log(1e-3,1e-2)",), "method": "optuna"}
    (branch,) = ScanTrialTask(**asked, num_points=1).get_branch_tasks().values()
    branch.run()
    trial = json.loads((branch.output().folder / "trial.json").read_text())
    point = ("training.learning_rate=" + trial["point"]["training.learning_rate"], SETTINGS)
    trained = TrainingTask(config=config, set=point, branch=0)
    assert (trained.complete(), trial["state"], len(trial["epochs"])) == (True, "complete", 2)
    (row,) = ScanTask(**asked, num_points=1).rows()
    assert row.objective == trial["value"] == trial["outcomes"][0]["value"]
    more = ScanTrialTask(**asked, num_points=3)
    assert [branch.complete() for branch in more.get_branch_tasks().values()] == [True, False, False]

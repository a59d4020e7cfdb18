"""The table of a scan: best first, with the spread of the trainings; what was given up or failed is not the best."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from honeyguide.errors import ConfigError, DataError
from honeyguide.scans.outcomes import Outcome, read_outcome, write_failure
from honeyguide.scans.results import Row, markdown, row_of_trainings, summarise
from honeyguide.scans.space import Choices, Range, random_points

SPACE = {"training.learning_rate": Range(1e-4, 1e-1, log=True, whole=False), "model.latent_dim": Choices(("2", "3"))}


def training(folder: Path, *values: float, best: int = 0) -> Path:
    folder.mkdir()
    epochs = [
        {"epoch": n, "seconds": 2.0, "train": {"total": 9.0}, "validation": {"total": v, "kl": 2 * v}}
        for n, v in enumerate(values)
    ]
    (folder / "metrics.json").write_text(json.dumps({"best_epoch": best, "epochs": epochs}))
    return folder


def test_a_point_has_mean_and_spread_of_its_trainings(tmp_path):
    folders = [training(tmp_path / "a", 0.5, 0.3, 0.4, best=1), training(tmp_path / "b", 0.5, 0.1, best=1)]
    row = row_of_trainings(4, {"x": "1"}, folders, objective="total")
    assert (row.objective, row.spread, row.error) == pytest.approx((0.2, 0.2 / 2**0.5, 0.1))
    assert row.cells() | {"objective": 0, "spread": 0, "error": 0} == {
        "point": 4, "objective": 0, "spread": 0, "error": 0, "trainings": 2, "best_epoch": 2, "epochs": 2.5,
        "seconds": 10, "status": "complete", "reason": "",
    }  # fmt: skip
    assert read_outcome(folders[0], "kl").value == 0.6  # at the epoch whose weights are kept
    with pytest.raises(ConfigError, match="no such term"):
        read_outcome(folders[0], "emd")


def test_a_point_with_a_diverged_training_has_failed(tmp_path):
    (tmp_path / "b").mkdir()
    write_failure(tmp_path / "b", "it has diverged")
    row = row_of_trainings(0, {"x": "1"}, [training(tmp_path / "a", 0.1), tmp_path / "b"], objective="total")
    assert (row.status, row.reason) == ("failed", "it has diverged")


def test_the_best_complete_point_is_on_top(tmp_path):
    points = random_points(SPACE, 10, seed=1)
    rows = [
        Row(n, points[n], "complete", tuple(Outcome(-v, 3, 4, 1.0) for v in (0.5 + 0.1 * n, 0.7 + 0.1 * n)))
        for n in (3, 1, 2, 5, 6, 7)
    ]
    rows += [
        Row(0, points[0], "pruned", reached=(-0.3, -0.01, -0.2), direction="maximize"),
        Row(8, points[8], "failed", (Outcome(-0.0, 1, 1, 1.0),), reason="it has diverged"),
    ]
    scan = summarise(rows, tmp_path, space=SPACE, objective="total", direction="maximize", method="optuna")
    assert [row.number for row in scan.rows] == [1, 2, 3, 5, 6, 7, 0, 8]
    assert scan.best.number == 1
    with (tmp_path / "scan.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [line["point"] for line in table] == ["1", "2", "3", "5", "6", "7", "0", "8"]
    assert float(table[0]["spread"]) == pytest.approx(0.2 / 2**0.5)
    assert (float(table[6]["objective"]), table[6]["best_epoch"]) == (-0.01, "2")
    assert table[0]["training.learning_rate"] == points[1]["training.learning_rate"]
    assert sum(share["value"] for share in json.loads((tmp_path / "scan.json").read_text())["importance"]) > 0.99
    names = ("parallel", "settings", "trials", "importance")
    assert {path.name for path in tmp_path.glob("*.p*")} == {
        f"scan_{n}.{form}" for n in names for form in ("png", "pdf")
    }
    text = markdown(scan, most=2)
    assert text.count("\n| ") == 3  # a line below the head, and two points
    assert "6 more points in scan.csv" in text


def test_few_points_have_no_importance_and_no_complete_one_is_an_error(tmp_path):
    points = random_points(SPACE, 2, seed=1)
    rows = [Row(n, point, "complete", (Outcome(0.5, 1, 1, 1.0),)) for n, point in enumerate(points)]
    scan = summarise(rows, tmp_path, space=SPACE, objective="total", direction="minimize", method="grid")
    assert scan.shares == ()
    assert "needs 6 complete points, there are 2" in markdown(scan)
    failed = [Row(0, points[0], "failed", reason="it has diverged")]
    with pytest.raises(DataError, match="it has diverged"):
        summarise(failed, tmp_path, space=SPACE, objective="total", direction="minimize", method="grid")

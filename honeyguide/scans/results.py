"""The table of a scan: what came of every point, the best of them, and the importance of each setting."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from honeyguide.errors import DataError, StoreError
from honeyguide.scans.importance import TOGETHER, Share, fewest_points, shares
from honeyguide.scans.outcomes import FAILURE, Direction, Outcome, read_outcome
from honeyguide.scans.space import Choices, Point, Range, Space

_HEAD = ("point", "objective", "spread", "error", "trainings", "best_epoch", "epochs", "seconds", "status", "reason")


@dataclass(frozen=True)
class Row:
    """What came of one point.

    Attributes:
        number: Of the point (of the trial, in a study).
        point: The value of each key.
        status: ``complete``, ``pruned`` (given up, as others were better at the same epoch) or ``failed``.
        outcomes: Its trainings; what there is of them.
        reached: Of a trial of a study, the objective at every epoch that it was told of.
        direction: What is better.
        reason: Why it failed.
    """

    number: int
    point: Point
    status: Literal["complete", "pruned", "failed"]
    outcomes: tuple[Outcome, ...] = ()
    reached: tuple[float, ...] = ()
    reason: str = ""
    direction: Direction = "minimize"

    @property
    def objective(self) -> float | None:
        """Mean over the trainings; of a pruned trial the best value that it had."""
        if self.outcomes:
            return float(np.mean([outcome.value for outcome in self.outcomes]))
        best = min if self.direction == "minimize" else max
        return best(self.reached, default=None)

    @property
    def spread(self) -> float | None:
        """Standard deviation over the trainings; None for fewer than two."""
        values = [outcome.value for outcome in self.outcomes]
        return float(np.std(values, ddof=1)) if len(values) > 1 else None

    @property
    def error(self) -> float | None:
        """Standard error of the mean over the trainings; None for fewer than two."""
        return None if self.spread is None else self.spread / math.sqrt(len(self.outcomes))

    def cells(self) -> dict[str, Any]:
        """Returns the row of the table, values of the point apart."""
        pruned = self.status == "pruned" and bool(self.reached)
        return {
            "point": self.number,
            "objective": self.objective,
            "spread": self.spread,
            "error": self.error,
            "trainings": len(self.outcomes),
            "best_epoch": self.reached.index(self.objective) + 1
            if pruned
            else _mean(o.best_epoch for o in self.outcomes),
            "epochs": len(self.reached) if pruned else _mean(o.num_epochs for o in self.outcomes),
            "seconds": sum(outcome.seconds for outcome in self.outcomes) if self.outcomes else None,
            "status": self.status,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class Scan:
    """The results of a scan.

    Attributes:
        space: What was varied.
        objective: Term of the validation loss that counts.
        direction: What is better.
        method: ``grid``, ``random`` or ``optuna``.
        rows: The points: complete ones first, the best of them on top.
        shares: Importance of each setting; empty where there are too few points for it.
    """

    space: Space
    objective: str
    direction: Direction
    method: str
    rows: tuple[Row, ...]
    shares: tuple[Share, ...]

    @property
    def complete(self) -> list[Row]:
        """The points that were trained to their end, best first."""
        return [row for row in self.rows if row.status == "complete"]

    @property
    def best(self) -> Row:
        """The point with the best objective."""
        return self.complete[0]


def row_of_trainings(number: int, point: Point, folders: Sequence[Path], *, objective: str) -> Row:
    """Returns what came of a point of a grid or random scan, from the folders of its trainings or of their failures."""
    failed = [
        json.loads((folder / FAILURE).read_text())["reason"] for folder in folders if (folder / FAILURE).is_file()
    ]
    outcomes = tuple(read_outcome(folder, objective) for folder in folders if not (folder / FAILURE).is_file())
    return Row(number, point, "failed" if failed else "complete", outcomes, reason=failed[0] if failed else "")


def row_of_trial(folder: Path, *, direction: Direction) -> Row:
    """Returns what came of a trial of a study.

    Raises:
        StoreError: Its file can't be read.
    """
    try:
        trial = json.loads((folder / "trial.json").read_text())
        return Row(
            number=trial["trial"],
            point=trial["point"],
            status=trial["state"],
            outcomes=tuple(Outcome(**outcome) for outcome in trial["outcomes"]),
            reached=tuple(trial["epochs"].values()),
            reason=trial["reason"],
            direction=direction,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError("a trial can't be read", where=folder, got=error) from error


def summarise(
    rows: Sequence[Row], folder: Path, *, space: Space, objective: str, direction: Direction, method: str
) -> Scan:
    """Returns the results of a scan; writes ``scan.csv``, ``scan.json``, ``scan.md`` and the figures.

    Args:
        rows: The points.
        folder: Where to write; it exists.
        space: What was varied.
        objective: Term of the validation loss that counts.
        direction: What is better.
        method: ``grid``, ``random`` or ``optuna``.

    Raises:
        DataError: No point was trained to its end.
    """
    from honeyguide.plotting.scans import draw_scan

    order, sign = ("complete", "pruned", "failed"), 1 if direction == "minimize" else -1
    ranked = sorted(rows, key=lambda row: (order.index(row.status), sign * (row.objective or 0.0), row.number))
    complete = [row for row in ranked if row.status == "complete"]
    if not complete:
        raise DataError(
            "no point of the scan was trained to its end",
            got="; ".join(dict.fromkeys(row.reason for row in rows if row.reason)) or "all were pruned",
        )
    values = [row.objective for row in complete if row.objective is not None]
    known = len(complete) >= fewest_points(space)
    found = shares(space, [row.point for row in complete], values) if known else []
    scan = Scan(space, objective, direction, method, tuple(ranked), tuple(found))
    _write(scan, folder)
    draw_scan(scan, folder)
    return scan


def markdown(scan: Scan, *, most: int | None = None) -> str:
    """Returns the table as Markdown, and the importance of each setting.

    Args:
        scan: The results.
        most: Show no more than this many points; None for all.
    """
    several = any(row.spread is not None for row in scan.rows)
    head = ["point", *scan.space, f"{scan.objective} (validation)", "best epoch", "epochs", "seconds", "status"]
    lines = [head, ["---"] * len(head)]
    for row in scan.rows[:most]:
        cells = row.cells()
        value = "" if row.objective is None else f"{row.objective:.5g}"
        if several and row.spread is not None:
            value += f" ± {row.spread:.2g}"
        numbers = ["" if cells[name] is None else f"{cells[name]:.4g}" for name in ("best_epoch", "epochs", "seconds")]
        values = [_short(of, row.point[key]) for key, of in scan.space.items()]
        lines.append([str(row.number), *values, value, *numbers, row.status])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    notes = [f"± is the spread over the {scan.best.cells()['trainings']} trainings of a point"] if several else []
    if most is not None and len(scan.rows) > most:
        notes.append(f"{len(scan.rows) - most} more points in scan.csv")
    notes.append(_importance(scan))
    return text + "\n\n" + "\n".join(notes) + "\n"


def _short(values: Choices | Range, text: str) -> str:
    return text if isinstance(values, Choices) or values.whole else f"{float(text):.4g}"


def _importance(scan: Scan) -> str:
    if not scan.shares:
        return f"importance: needs {fewest_points(scan.space)} complete points, there are {len(scan.complete)}"
    names = {TOGETHER: "combinations and noise"}
    parts = (f"{names.get(s.key, s.key)} {s.value:.0%} ± {s.error:.0%}" for s in scan.shares)
    return f"share of the variance: {', '.join(parts)}"


def _write(scan: Scan, folder: Path) -> None:
    content = {
        "schema": 1,
        "method": scan.method,
        "objective": scan.objective,
        "direction": scan.direction,
        "space": {key: str(values) for key, values in scan.space.items()},
        "points": [
            {**row.cells(), "values": row.point, "outcomes": [asdict(item) for item in row.outcomes],
             "by_epoch": list(row.reached)}
            for row in scan.rows
        ],
        "importance": [asdict(share) for share in scan.shares],
    }  # fmt: skip
    (folder / "scan.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    (folder / "scan.md").write_text(markdown(scan))
    with (folder / "scan.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [_HEAD[0], *scan.space, *_HEAD[1:]])
        writer.writeheader()
        writer.writerows(row.cells() | row.point for row in scan.rows)


def _mean(values: Any) -> float | None:
    known = list(values)
    return float(np.mean(known)) if known else None

"""The numbers of an evaluation as a short table for the terminal."""

from __future__ import annotations

from honeyguide.evaluation.result import Evaluation, RocResult
from honeyguide.evaluation.working_points import WorkingPoint


def summary(evaluation: Evaluation) -> str:
    """Returns a line per curve: training, seed, score, signal, AUC with its error, efficiency at the tightest point."""
    head = (
        "training",
        "seed",
        "score",
        "signal",
        "AUC",
        "signal efficiency at the lowest defined background efficiency",
    )
    rows = [head]
    for entry in evaluation.entries:
        result = entry.result
        auc = f"{result.auc.value:.3f} ± {result.auc.error:.3f}"
        rows.append((entry.training, str(entry.seed), entry.score, entry.signal, auc, _efficiency(result)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def _efficiency(result: RocResult) -> str:
    point = min((p for p in result.working_points if p.reason is None), key=lambda p: p.target, default=None)
    return "none is defined" if point is None else _text(point)


def _text(point: WorkingPoint) -> str:
    return f"{point.signal_efficiency:.3f} [{point.low:.3f}, {point.high:.3f}] at {point.target:g}"

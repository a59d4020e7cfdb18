"""All figures of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from honeyguide.plotting.roc import RocLine, roc_figure, significance_figure
from honeyguide.plotting.scores import score_figure
from honeyguide.plotting.style import save, signal_label, slug

if TYPE_CHECKING:
    from honeyguide.evaluation.result import Entry, Evaluation, RocResult

MERGED = "all signals"


def draw_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Writes all figures of an evaluation to ``folder``.

    Per training and score: ``roc_``, ``sic_`` and ``scores_<training>_<score>`` (all signal points); where there are
    several trainings, per score and signal: ``overlay_roc_`` and ``overlay_sic_<score>_<signal>``.
    """
    trainings = evaluation.names("training")
    for (training, score), shown in evaluation.distributions.items():
        by_signal = [evaluation.select(training=training, score=score, signal=s) for s in evaluation.names("signal")]
        lines = [roc_line(seeds, signal_label(seeds[0].signal)) for seeds in by_signal if seeds]
        _draw(evaluation, lines, folder, slug(training, score), f"{training}, score: {score}", "")
        figure = score_figure(shown.edges, shown.fractions, shown.errors, score=score, log=shown.log, title=training)
        save(figure, folder, f"scores_{slug(training, score)}")
    if len(trainings) < 2:
        return
    for score in evaluation.names("score"):
        for signal in evaluation.names("signal"):
            seeds = [evaluation.select(training=t, score=score, signal=signal) for t in trainings]
            lines = [roc_line(entries, entries[0].training, highlight=False) for entries in seeds if entries]
            title = f"{signal_label(signal)}, score: {score}"
            _draw(evaluation, lines, folder, slug(score, signal), title, "overlay_")


def roc_line(seeds: Sequence[Entry], label: str, *, highlight: bool | None = None) -> RocLine:
    """Returns the line of a figure: the curve of one seed with its statistical band, or mean and spread of several."""
    signal = seeds[0].signal
    lowest = max(_defined_from(entry.result) for entry in seeds)
    black = signal == MERGED if highlight is None else highlight
    if len(seeds) == 1:
        result = seeds[0].result
        # of points of equal background efficiency the last is the topmost
        top = np.append(np.diff(result.curve.background_efficiency) > 0, True) & (
            result.curve.background_efficiency > 0
        )
        text = f"{label}: AUC {result.auc.value:.3f}"
        if np.isfinite(result.auc.error):
            text += f" ± {result.auc.error:.3f}"
        b, s = result.curve.background_efficiency[top], result.curve.signal_efficiency[top]
        return RocLine(text, b, s, result.low[top], result.high[top], lowest, black)
    first = min(e.result.curve.background_efficiency[e.result.curve.background_efficiency > 0][0] for e in seeds)
    grid = np.geomspace(first, 1, 400)
    efficiency = np.stack([e.result.curve.signal_efficiency[e.result.curve.point_at(grid)] for e in seeds])
    mean, deviation = efficiency.mean(0), efficiency.std(0, ddof=1)
    areas = np.array([e.result.auc.value for e in seeds])
    text = f"{label}: AUC {areas.mean():.3f} ± {areas.std(ddof=1):.3f} ({len(seeds)} seeds)"
    low, high = np.clip(mean - deviation, 0, 1), np.clip(mean + deviation, 0, 1)
    return RocLine(text, grid, mean, low, high, lowest, black)


def _draw(evaluation: Evaluation, lines: Sequence[RocLine], folder: Path, name: str, title: str, prefix: str) -> None:
    settings = evaluation.settings
    needed = settings.min_background_events
    save(roc_figure(lines, axes=settings.axes, title=title, needed=needed), folder, f"{prefix}roc_{name}")
    save(significance_figure(lines, title=title, needed=needed), folder, f"{prefix}sic_{name}")


def _defined_from(result: RocResult) -> float:
    """Returns the lowest background efficiency at which a curve is defined, 1 where it is nowhere."""
    return result.significance.defined_from if result.significance else 1.0

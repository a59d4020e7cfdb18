"""What a classifier takes events for: confusion matrix, and the probability of each class by truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.section import Cell, Plot, Section, Table, not_made
from honeyguide.evaluation.confusion import ConfusionMatrix, confusion_matrix
from honeyguide.evaluation.distributions import score_distributions
from honeyguide.evaluation.efficiencies import Jets, make_jets
from honeyguide.io.scores import Scores, read_scores
from honeyguide.plotting.scores import score_figure
from honeyguide.plotting.tagging import confusion_figure

NAME, TITLE = "classes", "Classes"
CONFIDENCE_LEVEL = 0.68
MIN_JETS = 10
NUM_BINS = 40

Floats = NDArray[np.float64]


def section(context: Context) -> Section:
    """Returns how the test events of each truth are spread over the classes."""
    classes = context.model.classes
    if not classes:
        return not_made(NAME, TITLE, "this model is no classifier.")
    if not context.sources.scores:
        return not_made(NAME, TITLE, "there are no scores of this training.")
    samples = [read_scores(path) for path in context.sources.scores.values()]
    jets = _jets(samples)
    probabilities = np.stack([_joined(samples, f"prob_{name}") for name in classes], axis=1)
    matrix = confusion_matrix(probabilities, jets, classes, confidence_level=CONFIDENCE_LEVEL, min_jets=MIN_JETS)
    caption = (
        "Share of the test events of each truth (row) that are taken for each class (column), the one with the largest "
        "probability, with half of the 68 % interval. Weighted; grey: too few events."
    )
    plots = [Plot("classes_confusion", "Confusion matrix", caption, confusion_figure(matrix))]
    plots += [_plot(context, name, probabilities[:, code], jets) for code, name in enumerate(classes)]
    text = (
        f"{len(jets):,} test events, {len(classes)} classes. ROCCurveTask and WorkingPointTask make curves, working "
        "points and efficiencies of them."
    )
    return Section(NAME, TITLE, text, {"confusion": matrix.to_json()}, tuple(plots), (_table(matrix),))


def _jets(samples: Sequence[Scores]) -> Jets:
    def column(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(sample, name) for sample in samples])

    weight = np.clip(column("weight"), 0, None)
    return make_jets(column("truth"), samples[0].truths, column("pt"), column("eta"), weight)


def _joined(samples: Sequence[Scores], score: str) -> Floats:
    return np.concatenate([sample.scores[score] for sample in samples]).astype(np.float64)


def _plot(context: Context, name: str, values: Floats, jets: Jets) -> Plot:
    groups = {
        truth: (values[rows], jets.weight[rows])
        for code, truth in enumerate(jets.truths)
        if jets.weight[rows := jets.truth == code].sum() > 0
    }
    colours: Mapping[str, str] = context.colours
    drawn = score_distributions(groups, num_bins=NUM_BINS)
    figure = score_figure(
        drawn.edges, drawn.fractions, drawn.errors, score=f"probability of {name}", log=drawn.log, colours=colours
    )
    caption = (
        f"Probability of the class {name} that test events of each truth are given, each truth of unit sum; bars are "
        "statistical errors. What lies outside of the axis is counted in the first and last bin."
    )
    return Plot(f"classes_{name}", f"Probability of {name}", caption, figure)


def _table(matrix: ConfusionMatrix) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for row, truth in enumerate(matrix.truths):
        shares = [float(matrix.fractions.value[column, row]) for column in range(len(matrix.classes))]
        cells: list[Cell] = [float(f"{100 * share:.3g}") if np.isfinite(share) else None for share in shares]
        rows.append((truth, float(f"{matrix.sumw[row].sum():.6g}"), *cells))
    return Table("Share of each truth by class [%]", ("truth", "sum of weights", *matrix.classes), tuple(rows))

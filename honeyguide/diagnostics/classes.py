"""What a classifier takes events for: confusion matrix, and the probability of each class by truth."""

from __future__ import annotations

import numpy as np

from honeyguide.diagnostics.context import Context
from honeyguide.diagnostics.section import Cell, Plot, Section, Table, not_made
from honeyguide.evaluation.confusion import ConfusionMatrix, confusion_matrix
from honeyguide.evaluation.distributions import score_distributions
from honeyguide.evaluation.tagged_jets import PREFIX, TaggedJets, read_tagged_jets
from honeyguide.plotting.tagging import confusion_figure
from honeyguide.plotting.tagging_evaluation import distribution_figure

NAME, TITLE = "classes", "Classes"
CONFIDENCE_LEVEL = 0.68
MIN_EVENTS = 10
NUM_BINS = 40


def section(context: Context) -> Section:
    """Returns how the test events of each truth are spread over the classes of a classifier."""
    if not context.sources.scores:
        return not_made(NAME, TITLE, "there are no scores of this training.")
    tagged = read_tagged_jets(context.sources.scores, weighted=False)
    matrix = confusion_matrix(
        tagged.probabilities, tagged.jets, tagged.classes, confidence_level=CONFIDENCE_LEVEL, min_jets=MIN_EVENTS
    )
    caption = (
        "Share of the test events of each truth (row) that are taken for each class (column), the one with the largest "
        "probability, with half of the 68 % interval. Every event counts 1; grey: too few of them."
    )
    plots = [Plot("classes_confusion", "Confusion matrix", caption, confusion_figure(matrix))]
    plots += [_plot(tagged, code) for code in range(len(tagged.classes))]
    text = (
        f"{len(tagged):,} test events, {len(tagged.classes)} classes. ROCCurveTask and WorkingPointTask make curves "
        "and working points of them, with the events' weights."
    )
    return Section(NAME, TITLE, text, {"confusion": matrix.to_json()}, tuple(plots), (_table(matrix),))


def _plot(tagged: TaggedJets, code: int) -> Plot:
    name, values, truth = tagged.classes[code], tagged.probabilities[:, code], tagged.jets.truth
    groups = {
        label: (values[rows], np.ones(int(rows.sum())))
        for number, label in enumerate(tagged.jets.truths)
        if (rows := truth == number).any()
    }
    shown = score_distributions(groups, num_bins=NUM_BINS, ends=(0.0, 1.0))
    caption = (
        f"Probability of the class {name} that test events of each truth are given, each truth of unit sum; bars are "
        "statistical errors."
    )
    figure = distribution_figure(shown, name=f"{PREFIX}{name}")
    return Plot(f"classes_{name}", f"Probability of {name}", caption, figure)


def _table(matrix: ConfusionMatrix) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for row, truth in enumerate(matrix.truths):
        shares = [float(matrix.fractions.value[column, row]) for column in range(len(matrix.classes))]
        cells: list[Cell] = [float(f"{100 * share:.3g}") if np.isfinite(share) else None for share in shares]
        rows.append((truth, int(matrix.sumw[row].sum()), *cells))
    return Table("Share of each truth by class [%]", ("truth", "events", *matrix.classes), tuple(rows))

"""Whether two groups of events have the same distribution: feature by feature, and to a classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp, norm
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from honeyguide.diagnostics.census import ObjectTable, object_tables
from honeyguide.diagnostics.inspected import Events

NUM_FOLDS = 5
MIN_EVENTS = 50
"""A group with fewer events is not compared."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Comparison:
    """Two groups of events and how they differ.

    Attributes:
        first: Name of one group.
        second: Name of the other.
        features: Names of what is compared, one value per event each, so that events are independent.
        distance: Kolmogorov-Smirnov distance of each feature; NaN where too few events have it.
        p_value: Its p-value, before any correction.
        auc: Cross-validated area under the ROC curve of a classifier that tells the groups apart.
        auc_error: Its standard deviation if the groups were the same.
    """

    first: str
    second: str
    features: tuple[str, ...]
    distance: Floats
    p_value: Floats
    auc: float
    auc_error: float

    @property
    def auc_p_value(self) -> float:
        """Probability of such an area or a larger one if the groups were the same."""
        return float(norm.sf((self.auc - 0.5) / self.auc_error))


def event_features(events: Events) -> dict[str, Floats]:
    """Returns numbers per event, (num_events,) each; NaN where an event has no object.

    The objects of one event are not independent of each other, and a test that takes them so finds differences where
    there are none: so for each column this is the value of the leading object, and the mean over the event's objects
    (of a category the mean alone, its share of the objects).
    """
    features: dict[str, Floats] = {}
    for table in object_tables(events.inputs, events.spec):
        features |= _table_features(table)
    for index, column in enumerate(events.spec.event_columns):
        features[f"event {column.name}"] = events.inputs.event[:, index].astype(np.float64)
    for table in object_tables(events.inputs, events.spec):
        if table.mask.shape[1] > 1:
            features[f"{table.prefix}number of objects"] = table.mask.sum(1).astype(np.float64)
    return features


def _table_features(table: ObjectTable) -> dict[str, Floats]:
    mask, values = table.mask, table.features
    features: dict[str, Floats] = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(mask[:, :, None], values, 0).sum(1, dtype=np.float64) / mask.sum(1)[:, None]
    leading = np.where(mask[:, :1], values[:, 0], np.nan)
    for index, column in enumerate(table.columns):
        name = f"{table.prefix}{column.name}"
        if mask.shape[1] == 1:
            features[name] = leading[:, index].astype(np.float64)
            continue
        if column.kind != "category":
            features[f"{name}, leading"] = leading[:, index].astype(np.float64)
        features[f"{name}, mean"] = means[:, index]
    return features


def compare(
    features: Mapping[str, Floats], first: tuple[str, Bools], second: tuple[str, Bools], *, seed: int
) -> Comparison | None:
    """Returns how two groups of events differ; None where one has too few events.

    Args:
        features: What :func:`event_features` returns.
        first: Name of a group and its events, True in (num_events,).
        second: The other group.
        seed: Seed of the folds and of the classifier.
    """
    if min(first[1].sum(), second[1].sum()) < MIN_EVENTS:
        return None
    tests = [ks_test(values[first[1]], values[second[1]]) for values in features.values()]
    table = np.stack(list(features.values()), axis=1)
    table[~np.isfinite(table)] = np.nan
    auc, error = classifier_auc(table[first[1]], table[second[1]], seed=seed)
    distance, p_value = np.array(tests).T
    return Comparison(first[0], second[0], tuple(features), distance, p_value, auc, error)


def ks_test(first: Floats, second: Floats) -> tuple[float, float]:
    """Returns Kolmogorov and Smirnov's distance of two groups and its p-value; NaN where a group has too few values."""
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    if min(len(first), len(second)) < MIN_EVENTS:
        return float("nan"), float("nan")
    test = ks_2samp(first, second, method="asymp")
    return float(test.statistic), float(test.pvalue)


def classifier_auc(first: Floats, second: Floats, *, seed: int) -> tuple[float, float]:
    """Returns the cross-validated AUC of a classifier between two groups, and its error if they were the same.

    Boosted decision trees are trained on all folds but one, and the area is that of the fold left out, averaged over
    folds (classifier two-sample test, arXiv:1610.06545). If the groups are the same, the area of each fold has the
    variance v of the Mann-Whitney statistic. Folds share training events and so are not independent: the variance of
    their mean is taken as (1 / K + n_test / n_train) v (Nadeau and Bengio, Machine Learning 52 (2003) 239).

    Args:
        first: Features of one group, (num_events, num_features); NaN are allowed.
        second: Of the other.
        seed: Seed of the folds and of the classifier.
    """
    values = np.concatenate([first, second])
    labels = np.repeat([0, 1], [len(first), len(second)])
    areas, variances = [], []
    for train, test in StratifiedKFold(NUM_FOLDS, shuffle=True, random_state=seed).split(values, labels):
        trees = HistGradientBoostingClassifier(
            max_iter=30, max_leaf_nodes=8, learning_rate=0.2, early_stopping=False, random_state=seed
        )
        trees.fit(values[train], labels[train])
        areas.append(roc_auc_score(labels[test], trees.predict_proba(values[test])[:, 1]))
        num_second = int(labels[test].sum())
        num_first = len(test) - num_second
        variances.append((len(test) + 1) / (12 * num_first * num_second))
    return float(np.mean(areas)), float(np.sqrt(np.mean(variances) * (1 / NUM_FOLDS + 1 / (NUM_FOLDS - 1))))


def holm(p_values: Floats) -> Floats:
    """Returns p-values corrected for their number (Holm, 1979), of the same shape; NaN stay and do not count.

    Comparing them with a level keeps the probability of any false alarm below it, however they depend on each other.
    """
    flat = np.asarray(p_values, dtype=np.float64).ravel()
    corrected = np.full(len(flat), np.nan)
    order = np.argsort(flat)[: int(np.isfinite(flat).sum())]  # NaN are sorted to the end
    factors = len(order) - np.arange(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(flat[order] * factors), 1.0) if len(order) else []
    return corrected.reshape(np.shape(p_values))


def drifted(comparisons: Sequence[Comparison], *, significance: float) -> list[tuple[Comparison, Bools, bool]]:
    """Returns for each comparison which features differ, and whether the classifier tells the groups apart.

    Features of all comparisons are corrected together, and so are the classifiers.
    """
    if not comparisons:
        return []
    by_feature = holm(np.stack([comparison.p_value for comparison in comparisons])) < significance
    by_classifier = holm(np.array([comparison.auc_p_value for comparison in comparisons])) < significance
    return [
        (comparison, rows, bool(told))
        for comparison, rows, told in zip(comparisons, by_feature, by_classifier, strict=True)
    ]

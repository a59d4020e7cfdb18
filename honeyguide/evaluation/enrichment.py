"""What enrichment does to a latent space: how well it tells generators apart, and which signals are found."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.errors import ConfigError, DataError
from honeyguide.evaluation.auc import delong
from honeyguide.evaluation.enrichment_settings import EnrichmentSettings
from honeyguide.evaluation.result import Evaluation
from honeyguide.evaluation.roc import two_classes
from honeyguide.evaluation.run import compute
from honeyguide.evaluation.settings import RocSettings
from honeyguide.io.scores import read_scores

GENERATOR_AUC = "generator AUC"
RECONSTRUCTION = "reconstruction"

Trainings = Mapping[str, Mapping[int, Mapping[str, Path]]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """One number of one training.

    Attributes:
        value: The number.
        error: Its standard deviation for other test events.
    """

    value: float
    error: float


@dataclass(frozen=True)
class Row:
    """One number of a variant over its seeds.

    Attributes:
        variant: Label of the variant.
        quantity: ``generator AUC``, ``reconstruction`` or ``AUC``.
        score: Score of an ``AUC``, else empty.
        signal: Signal point of an ``AUC``, else empty.
        num_seeds: Number of trainings.
        mean: Over the seeds.
        error: Standard error of that mean, from the spread over the seeds; None for one seed.
        test_error: Mean standard deviation for other test events; all seeds and variants share the test events.
        difference: Mean over the seeds of the difference to the first variant with the same seed.
        difference_error: Standard error of that.
    """

    variant: str
    quantity: str
    score: str
    signal: str
    num_seeds: int
    mean: float
    error: float | None
    test_error: float
    difference: float | None
    difference_error: float | None


def compare_variants(
    trainings: Trainings, folder: Path, *, settings: EnrichmentSettings, roc: RocSettings
) -> tuple[Row, ...]:
    """Returns the table of the study; writes it as ``enrichment.json``, ``enrichment.csv``, and draws it.

    Args:
        trainings: Label of each variant to its seeds, each to the scores of every sample. All have the same seeds.
        folder: Where to write; it exists.
        settings: The classifier.
        roc: Scores, and weights of the events.

    Raises:
        ConfigError: There are fewer than two variants, or they differ in their seeds.
        DataError: There are fewer than two generators, or a score is missing.
    """
    from honeyguide.plotting.enrichment import draw_enrichment

    _check(trainings)
    evaluation = compute(trainings, settings=roc)
    rows = tuple(_rows(_measure(trainings, evaluation, settings)))
    content = {
        "schema": 1,
        "settings": {"enrichment": settings.model_dump(mode="json"), "roc": roc.model_dump(mode="json")},
        "rows": [asdict(row) for row in rows],
    }
    (folder / "enrichment.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    with (folder / "enrichment.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(asdict(rows[0])))
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    draw_enrichment(rows, folder)
    return rows


def generator_auc(latent: Floats, generator: NDArray[np.integer[Any]], *, parts: int, seed: int) -> Measured:
    """Returns how well a classifier tells generators apart by latent vectors: 0.5 not at all, 1 always.

    Two kinds of classifiers, gradient-boosted trees and a logistic regression on polynomials of the third degree, see
    all but one part of the events and classify that part, in turn; the better one counts. The value is the mean over
    pairs of generators of the AUC of p_a / (p_a + p_b) (Hand & Till, Machine Learning 45 (2001) 171). Its error is the
    mean of DeLong's errors of the pairs, as if these were fully correlated.

    Args:
        latent: (num_events, latent_dim).
        generator: Code of each event, (num_events,).
        parts: Number of parts.
        seed: Of the parts and of the classifiers.

    Raises:
        DataError: There are not two generators with at least one event for each part.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    codes, counts = np.unique(generator, return_counts=True)
    if len(codes) < 2 or counts.min() < parts:
        raise DataError(
            "a classifier of generators needs two of them or more, each with an event for each part",
            got=f"events by generator: {dict(zip(codes.tolist(), counts.tolist(), strict=True))}, {parts} parts",
        )
    order = StratifiedKFold(parts, shuffle=True, random_state=seed)
    measured = []
    for classifier in _classifiers(seed):
        probability = cross_val_predict(classifier, latent, generator, cv=order, method="predict_proba")
        measured.append(_mean_over_pairs(probability, generator, codes))
    return max(measured, key=lambda item: item.value)


def _classifiers(seed: int) -> list[Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler

    trees = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=8, class_weight="balanced", early_stopping=False, random_state=seed
    )
    # latents are clipped at 4 standard deviations: the cube of an outlier would decide alone
    polynomials = PolynomialFeatures(3)
    clip = FunctionTransformer(np.clip, kw_args={"a_min": -4.0, "a_max": 4.0})
    regression = LogisticRegression(class_weight="balanced", max_iter=500)
    return [trees, make_pipeline(StandardScaler(), clip, polynomials, StandardScaler(), regression)]


def _mean_over_pairs(
    probability: Floats, generator: NDArray[np.integer[Any]], codes: NDArray[np.integer[Any]]
) -> Measured:
    values = []
    for a, b in combinations(range(len(codes)), 2):
        share = probability[:, a] / np.maximum(probability[:, a] + probability[:, b], np.finfo(float).tiny)
        first, second = share[generator == codes[a]], share[generator == codes[b]]
        estimate = delong(two_classes(first, second, np.ones(len(first)), np.ones(len(second))), 0.68)
        values.append((estimate.value, estimate.error))
    return Measured(*np.mean(values, axis=0).tolist())


def summary(rows: Sequence[Row], *, score: str) -> str:
    """Returns the table as Markdown: a line per variant, a column per number, each with the error of its mean."""
    shown = [row for row in rows if row.score in ("", score)]
    columns = list(dict.fromkeys((row.quantity, row.signal) for row in shown))
    head = ["variant", *(f"AUC {signal}" if signal else quantity for quantity, signal in columns)]
    lines = [head, ["---"] * len(head)]
    for variant in dict.fromkeys(row.variant for row in shown):
        cells = {(row.quantity, row.signal): row for row in shown if row.variant == variant}
        lines.append([variant, *(_text(cells[column]) for column in columns)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(row: Row) -> str:
    return f"{row.mean:.3f}" if row.error is None else f"{row.mean:.3f} ± {row.error:.3f}"


def _check(trainings: Trainings) -> None:
    if len(trainings) < 2:
        raise ConfigError(
            "the study compares variants, and there are fewer than two",
            where="enrichment.variants",
            got=", ".join(trainings) or "none",
        )
    if len({tuple(seeds) for seeds in trainings.values()}) > 1:
        raise ConfigError(
            "the variants differ in their seeds, and are compared seed by seed",
            where="enrichment.variants",
            got="; ".join(f"{label}: {list(seeds)}" for label, seeds in trainings.items()),
        )


def _measure(
    trainings: Trainings, evaluation: Evaluation, settings: EnrichmentSettings
) -> dict[str, dict[tuple[str, str, str], list[Measured]]]:
    """Returns, by variant and (quantity, score, signal), a number for each seed, in the order of the seeds."""
    found: dict[str, dict[tuple[str, str, str], list[Measured]]] = {}
    for variant, seeds in trainings.items():
        of_variant = found.setdefault(variant, {})
        for samples in seeds.values():
            latent, generator, reconstruction = _background(samples)
            told = generator_auc(latent, generator, parts=settings.classifier_parts, seed=settings.classifier_seed)
            of_variant.setdefault((GENERATOR_AUC, "", ""), []).append(told)
            of_variant.setdefault((RECONSTRUCTION, "", ""), []).append(_balanced_mean(reconstruction, generator))
    for entry in evaluation.entries:
        key = ("AUC", entry.score, entry.signal)
        area = entry.result.auc
        found[entry.training].setdefault(key, []).append(Measured(area.value, area.error))
    return found


def _background(samples: Mapping[str, Path]) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Returns latents, generators and reconstruction losses of all background events."""
    parts = []
    for path in samples.values():
        scores = read_scores(path)
        if RECONSTRUCTION not in scores.scores:
            raise DataError("the study compares reconstructions, and there is none", where=path)
        chosen = scores.label == 0
        parts.append((scores.latent[chosen], scores.generator[chosen], scores.scores[RECONSTRUCTION][chosen]))
    latent, generator, loss = (np.concatenate(column) for column in zip(*parts, strict=True))
    return latent.astype(np.float64), generator.astype(np.int64), loss.astype(np.float64)


def _balanced_mean(values: Floats, group: NDArray[np.int64]) -> Measured:
    """Returns the mean over groups of their means, every event counting once."""
    by_group = [values[group == code] for code in np.unique(group)]
    mean = float(np.mean([part.mean() for part in by_group]))
    variance = sum(part.var(ddof=1) / len(part) for part in by_group) / len(by_group) ** 2
    return Measured(mean, float(np.sqrt(variance)))


def _rows(found: Mapping[str, Mapping[tuple[str, str, str], Sequence[Measured]]]) -> Iterator[Row]:
    first = next(iter(found))
    for variant, numbers in found.items():
        for (quantity, score, signal), measured in numbers.items():
            values = np.array([item.value for item in measured])
            change = values - np.array([item.value for item in found[first][quantity, score, signal]])
            compared = variant != first
            yield Row(
                variant,
                quantity,
                score,
                signal,
                num_seeds=len(values),
                mean=float(values.mean()),
                error=_standard_error(values),
                test_error=float(np.mean([item.error for item in measured])),
                difference=float(change.mean()) if compared else None,
                difference_error=_standard_error(change) if compared else None,
            )


def _standard_error(values: Floats) -> float | None:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None

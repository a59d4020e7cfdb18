"""Taggers evaluated, from score files to numbers, curves and figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from honeyguide.errors import ConfigError
from honeyguide.evaluation.confusion import ConfusionMatrix, confusion_matrix
from honeyguide.evaluation.curve_file import write_curve, write_distributions
from honeyguide.evaluation.discriminators import discriminators
from honeyguide.evaluation.distributions import Distributions, score_distributions
from honeyguide.evaluation.efficiencies import Floats
from honeyguide.evaluation.result import RocResult, spread
from honeyguide.evaluation.tagged_jets import PREFIX, TaggedJets, read_tagged_jets
from honeyguide.evaluation.tagging_curves import ALL_PROCESSES, TaggingCurve, baseline_curves, curves
from honeyguide.evaluation.tagging_result import TaggerEvaluation
from honeyguide.evaluation.tagging_settings import INCLUSIVE, TaggingSettings

SCHEMA = 1
Members = Mapping[str, Sequence[str]]
Trainings = Mapping[str, Mapping[int, Mapping[str, Path]]]


def evaluate_taggers(
    trainings: Trainings,
    folder: Path,
    *,
    settings: TaggingSettings,
    members: Mapping[str, Members] | None = None,
) -> TaggerEvaluation:
    """Returns all ROC curves, confusion matrices and distributions of some taggers, and writes them to ``folder``.

    Curves of plain variables (``tagging.baselines``) stand beside them, of the jets of the first training.

    Files: ``roc.json`` (numbers), ``roc.h5`` (curves and distributions), ``confusion.json``, figures (PNG, PDF).

    Args:
        trainings: Label of each training to its seeds, each a mapping of sample name to the scores of the sample.
        folder: Where to write; it exists.
        settings: Discriminators, windows, uncertainties.
        members: Label of each training to the truths of its classes, where they have other names than the class.

    Raises:
        ConfigError: No training is given; a class, group or observer of the settings does not exist.
        DataError: Scores are not those of a tagger; probabilities or weights are unusable; a jet occurs twice.
    """
    from honeyguide.plotting.tagging_evaluation import draw_taggers  # matplotlib is slow to import

    evaluation = compute_taggers(trainings, settings=settings, members=members)
    _write_json(evaluation, folder / "roc.json")
    _write_curves(evaluation, folder / "roc.h5")
    _write_confusion(evaluation, folder / "confusion.json")
    draw_taggers(evaluation, folder)
    return evaluation


def compute_taggers(
    trainings: Trainings,
    *,
    settings: TaggingSettings,
    members: Mapping[str, Members] | None = None,
) -> TaggerEvaluation:
    """Returns what :func:`evaluate_taggers` does and writes nothing; arguments and errors are the same."""
    if not any(trainings.values()):
        raise ConfigError("there is no training to evaluate", got=dict(trainings))
    found: list[TaggingCurve] = []
    distributions: dict[tuple[str, str], Distributions] = {}
    confusion: dict[tuple[str, int], ConfusionMatrix] = {}
    counts: dict[str, list[Any]] = {}
    beside: list[TaggingCurve] = []
    for label, seeds in trainings.items():
        truths = (members or {}).get(label)
        for index, (seed, samples) in enumerate(seeds.items()):
            tagged = read_tagged_jets(samples, weighted=settings.weighted)
            if not counts:  # plain variables have one value, whoever tags the jets
                beside = list(baseline_curves(tagged, seed=seed, settings=settings, members=truths))
            found += curves(tagged, name=(label, seed), settings=settings, members=truths)
            confusion[label, seed] = _confusion(tagged, settings)
            counts.setdefault(label, []).append({"seed": seed, "jets": tagged.counts()})
            if index == 0:
                shown = _distributions(tagged, settings, truths)
                distributions |= {(label, name): histogram for name, histogram in shown}
    _check_labels(trainings, beside)
    return TaggerEvaluation((*found, *beside), distributions, confusion, counts, settings)


def _check_labels(trainings: Mapping[str, object], baselines: Sequence[TaggingCurve]) -> None:
    for curve in baselines:
        if curve.training in trainings:
            raise ConfigError("a baseline has the label of a training", where="tagging.baselines", got=curve.training)


def tagging_summary(evaluation: TaggerEvaluation) -> str:
    """Returns a line per curve of all jets, with the AUC and its error, and per curve that there could not be."""
    rows = [("training", "seed", "discriminator", "process", "window", "AUC")]
    for curve in evaluation.curves:
        if curve.result is None:
            rows.append((curve.training, str(curve.seed), *curve.place, f"none: {curve.reason}"))
        elif (curve.process, curve.window) == (ALL_PROCESSES, INCLUSIVE):
            text = f"{curve.result.auc.value:.3f} ± {curve.result.auc.error:.3f}"
            rows.append((curve.training, str(curve.seed), *curve.place, text))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


def _confusion(tagged: TaggedJets, settings: TaggingSettings) -> ConfusionMatrix:
    level, need = settings.confidence_level, settings.min_jets
    return confusion_matrix(tagged.probabilities, tagged.jets, tagged.classes, confidence_level=level, min_jets=need)


def _distributions(
    tagged: TaggedJets, settings: TaggingSettings, members: Members | None
) -> Iterator[tuple[str, Distributions]]:
    """Yields the distributions of every class probability and discriminator, on one binning for all truths."""
    columns = {PREFIX + name: tagged.probabilities[:, column] for column, name in enumerate(tagged.classes)}
    for found in discriminators(settings, tagged.classes, tagged.jets.truths, members).values():
        columns[found.name] = found.values(tagged.probabilities)
    for name, values in columns.items():
        unit = float(np.max(values, initial=0.0)) <= 1 + 1e-6
        groups = dict(_by_truth(values, tagged, settings.min_jets))
        if groups:
            ends = (0.0, 1.0) if unit else None
            yield name, score_distributions(groups, num_bins=settings.score_bins, ends=ends)


def _by_truth(values: Floats, tagged: TaggedJets, min_jets: float) -> Iterator[tuple[str, tuple[Floats, Floats]]]:
    """Yields values and weights of every truth that has enough jets."""
    for code, truth in enumerate(tagged.jets.truths):
        mask = (tagged.jets.truth == code) & (tagged.jets.weight > 0)
        if mask.sum() >= min_jets:
            yield truth, (values[mask], tagged.jets.weight[mask])


def _write_json(evaluation: TaggerEvaluation, path: Path) -> None:
    content = {
        "schema": SCHEMA,
        "settings": evaluation.settings.model_dump(mode="json"),
        "jets": evaluation.counts,
        "curves": [
            {**curve.to_json(), "curve": _curve_name(index) if curve.result else None}
            for index, curve in enumerate(evaluation.curves)
        ],
        "seeds": list(_over_seeds(evaluation)),
    }
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def _over_seeds(evaluation: TaggerEvaluation) -> Iterator[dict[str, Any]]:
    """Yields mean and spread over the seeds of the curves of each training and place."""
    by_key: dict[tuple[str, ...], list[TaggingCurve]] = {}
    for curve in evaluation.curves:
        by_key.setdefault(curve.key, []).append(curve)
    for key, seeds in by_key.items():
        results = [curve.result for curve in seeds]
        yield {
            **dict(zip(("training", "discriminator", "process", "window"), key, strict=True)),
            "num_seeds": len(seeds),
            "auc": asdict(spread([r.auc.value if r else None for r in results])),
            "signal_efficiencies": [
                {
                    "target_background_efficiency": target,
                    **asdict(spread([_efficiency(result, index) for result in results])),
                }
                for index, target in enumerate(evaluation.settings.mistag_efficiencies)
            ],
        }


def _efficiency(result: RocResult | None, index: int) -> float | None:
    """Returns the signal efficiency at a mis-identification efficiency of the settings, None where not defined."""
    if result is None or result.working_points[index].reason is not None:
        return None
    return result.working_points[index].signal_efficiency


def _write_curves(evaluation: TaggerEvaluation, path: Path) -> None:
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs["schema"] = SCHEMA
        for index, curve in enumerate(evaluation.curves):
            if curve.result is None:
                continue
            keys = ("training", "seed", "discriminator", "process", "window")
            write_curve(file, _curve_name(index), curve.result, {key: getattr(curve, key) for key in keys})
        write_distributions(file, evaluation.distributions, groups="truths")


def _write_confusion(evaluation: TaggerEvaluation, path: Path) -> None:
    matrices = [
        {"training": training, "seed": seed, **matrix.to_json()}
        for (training, seed), matrix in evaluation.confusion.items()
    ]
    path.write_text(json.dumps({"schema": SCHEMA, "matrices": matrices}, indent=1, allow_nan=False) + "\n")


def _curve_name(index: int) -> str:
    return f"curves/{index:04d}"

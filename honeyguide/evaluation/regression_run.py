"""Evaluation of predicted targets, from score files to numbers and figures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from honeyguide.errors import ConfigError, DataError, nearest_name
from honeyguide.evaluation.efficiencies import make_jets
from honeyguide.evaluation.events import check_distinct
from honeyguide.evaluation.regression import RegressionResult, evaluate_regression
from honeyguide.evaluation.regression_settings import RegressionEvaluationSettings
from honeyguide.evaluation.tagged_jets import joined_codes
from honeyguide.io.scores import Scores, read_scores

SCHEMA = 1
PREFIX = "pred_"


def evaluate_predictions(
    seeds: Mapping[int, Mapping[str, Path]], folder: Path, *, settings: RegressionEvaluationSettings, name: str
) -> dict[int, list[RegressionResult]]:
    """Returns how well each seed of a training predicts its targets; writes it to ``folder``.

    Files: ``regression.json`` (bias, resolution, coverage of the quantiles, with intervals), ``regression.h5`` (the
    same and the distributions of the residual), figures (PNG, PDF) of each against pt and of the distributions.

    Args:
        seeds: Seed to its samples, each with its file of scores.
        folder: Where to write; it exists.
        settings: Bins, kind of residual, intervals.
        name: Of the training, for figures.

    Raises:
        ConfigError: There is no training, or a target of the settings is not predicted.
        DataError: Scores have no predicted targets, or no pt; an event is scored twice.
    """
    from honeyguide.plotting.regression import draw_regression  # matplotlib is slow to import

    if not seeds:
        raise ConfigError("there is no training to evaluate")
    results = {seed: compute_regression(samples, settings) for seed, samples in seeds.items()}
    entries = [{"seed": seed, "results": [r.to_json() for r in found]} for seed, found in results.items()]
    content = {"schema": SCHEMA, "name": name, "settings": settings.model_dump(mode="json"), "seeds": entries}
    (folder / "regression.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    with h5py.File(folder / "regression.h5", "w") as file:
        for seed, found in results.items():
            for result in found:
                _write(file.create_group(f"seed{seed}/{result.target}"), result)
    for seed, found in results.items():
        for result in found:
            draw_regression(
                result, folder, ratio=settings.residual == "ratio", suffix=f"seed{seed}", title=f"{name}, seed {seed}"
            )
    return results


def compute_regression(samples: Mapping[str, Path], settings: RegressionEvaluationSettings) -> list[RegressionResult]:
    """Returns the results of each target of one training; arguments and errors as of :func:`evaluate_predictions`."""
    parts = {name: read_scores(path) for name, path in samples.items()}
    check_distinct(parts, samples)
    first = next(iter(parts.values()))
    truth, truths = joined_codes([(np.asarray(part.truth), part.truths) for part in parts.values()])
    columns = {key: np.concatenate([getattr(part, key) for part in parts.values()]) for key in ("pt", "eta", "weight")}
    jets = make_jets(truth, truths, columns["pt"], columns["eta"], columns["weight"] if settings.weighted else None)

    def joined(score: str) -> np.ndarray:
        return np.concatenate([part.scores[score] for part in parts.values()]).astype(np.float64)

    return [
        evaluate_regression(
            np.concatenate([part.targets[target] for part in parts.values()]),
            joined(PREFIX + target),
            jets,
            quantiles={level: joined(score) for level, score in _quantiles(first, target).items()},
            name=(target, settings.units.get(target, first.units.get(target, ""))),
            settings=settings,
        )
        for target in _targets(parts, settings)
    ]


def _targets(parts: Mapping[str, Scores], settings: RegressionEvaluationSettings) -> list[str]:
    for name, part in parts.items():
        if part.pt is None or not any(PREFIX + target in part.scores for target in part.targets):
            raise DataError("these scores have no predicted targets of rows", where=f"sample '{name}'")
    found = [target for target in part.targets if PREFIX + target in part.scores]
    for target in settings.targets:
        if target not in found:
            raise ConfigError(
                f"'{target}' is not predicted",
                where="regression.targets",
                allowed=", ".join(found),
                nearest=nearest_name(target, found),
            )
    return list(settings.targets) or found


def _quantiles(scores: Scores, target: str) -> dict[float, str]:
    """Returns the score of each predicted quantile of a target by its level, in rising order."""
    matches = (re.fullmatch(rf"{PREFIX}{re.escape(target)}_q(\d+(?:p\d+)?)", name) for name in scores.scores)
    found = {float(match[1].replace("p", ".")) / 100: match[0] for match in matches if match}
    return dict(sorted(found.items()))


def _write(group: h5py.Group, result: RegressionResult) -> None:
    group.attrs.update({"unit": result.unit, "truths": json.dumps(result.truths)})
    for key in ("pt", "effective", "edges", "density"):
        group[key] = getattr(result, key)
    bands = {"bias": result.bias, "resolution": result.resolution}
    for key, band in (bands | {f"coverage_{level:g}": band for level, band in result.coverage.items()}).items():
        group[key], group[f"{key}_low"], group[f"{key}_high"] = band.value, band.low, band.high


def regression_summary(results: Mapping[int, list[RegressionResult]]) -> str:
    """Returns a line per seed, target and truth: bias and resolution over all pt, with intervals."""
    lines = []
    for seed, found in results.items():
        for result in found:
            for number, truth in enumerate(result.truths):
                bands = {"bias": result.bias, "resolution": result.resolution}
                numbers = (
                    f"{key} {band.value[number, 0]:.4g} [{band.low[number, 0]:.4g}, {band.high[number, 0]:.4g}]"
                    for key, band in bands.items()
                )
                lines.append(f"seed {seed}  {result.target} [{result.unit or '1'}]  {truth}: {', '.join(numbers)}")
    return "\n".join(lines)

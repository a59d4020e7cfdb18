"""ROC curves of trainings, from score files to numbers, curves and figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py

from honeyguide.errors import ConfigError, nearest_name
from honeyguide.evaluation.curve_file import write_curve, write_distributions
from honeyguide.evaluation.distributions import score_distributions
from honeyguide.evaluation.events import ScoredEvents, read_events
from honeyguide.evaluation.result import Entry, Evaluation, roc_result, spread
from honeyguide.evaluation.roc import two_classes
from honeyguide.evaluation.settings import RocSettings

Seeds = Mapping[int, Mapping[str, Path]] | Sequence[Mapping[str, Path]]
ALL_SIGNALS = "all signals"
SCHEMA = 1


def evaluate(trainings: Mapping[str, Seeds], folder: Path, *, settings: RocSettings) -> Evaluation:
    """Returns all ROC curves of the trainings; writes ``roc.json``, ``roc.h5`` and figures (PNG, PDF) to ``folder``.

    Background are all events of label 0 of all samples of a seed; every signal point has its own curve against it, and
    all together the curve ``all signals`` (where there is more than one point).

    Args:
        trainings: Label of each training to its seeds (by seed, or just in a row), each a mapping of sample name to the
            scores of the sample.
        folder: Where to write; it exists.
        settings: Scores, working points, uncertainties.

    Raises:
        DataError: A score is NaN, a class is empty, an event occurs twice, weights are unusable.
        ConfigError: A score of the settings is in no file, or no training is given.
    """
    from honeyguide.plotting.evaluation import draw_evaluation  # matplotlib is slow to import, arrays need none of it

    groups: dict[str, Any] = {}
    evaluation = compute(trainings, settings=settings, groups=groups)
    _write_json(evaluation, groups, folder / "roc.json")
    _write_curves(evaluation, folder / "roc.h5")
    draw_evaluation(evaluation, folder)
    return evaluation


def compute(
    trainings: Mapping[str, Seeds],
    *,
    settings: RocSettings,
    groups: dict[str, Any] | None = None,
) -> Evaluation:
    """Returns all ROC curves of the trainings and writes nothing.

    Args:
        trainings: As of :func:`evaluate`.
        settings: As of :func:`evaluate`.
        groups: Filled with what the samples hold: training to one entry per seed, with the events, effective events
            and weights of each group.

    Raises:
        DataError: As of :func:`evaluate`.
        ConfigError: As of :func:`evaluate`.
    """
    if not any(len(seeds) for seeds in trainings.values()):
        raise ConfigError("there is no training to evaluate", got=dict(trainings))
    entries: list[Entry] = []
    distributions = {}
    for training, seeds in trainings.items():
        by_seed = seeds if isinstance(seeds, Mapping) else dict(enumerate(seeds))
        for seed, samples in by_seed.items():
            events = read_events(samples, settings)
            if groups is not None:
                groups.setdefault(training, []).append(events.groups())
            for score in _scores(events, settings, training):
                entries += _curves(training, seed, score, events, settings)
                if (training, score) not in distributions:
                    shown = events.by_group(score)
                    distributions[training, score] = score_distributions(shown, num_bins=settings.score_bins)
    return Evaluation(tuple(entries), distributions, settings)


def _scores(events: ScoredEvents, settings: RocSettings, training: str) -> list[str]:
    for name in settings.scores:
        if name not in events.scores:
            raise ConfigError(
                f"training '{training}' has no score '{name}'",
                where="roc.scores",
                allowed=", ".join(events.scores),
                nearest=nearest_name(name, events.scores),
            )
    return list(settings.scores or events.scores)


def _curves(training: str, seed: int, score: str, events: ScoredEvents, settings: RocSettings) -> Iterator[Entry]:
    background = events.label == 0
    values = events.scores[score]
    names = [*events.signal_names, ALL_SIGNALS] if len(events.signal_names) != 1 else events.signal_names
    for index, signal in enumerate(names):
        merged = signal == ALL_SIGNALS
        chosen = (events.label == 1) & (True if merged else events.signal_index == index)
        weight = events.merged_weight if merged else events.weight
        classes = two_classes(values[chosen], values[background], weight[chosen], weight[background])
        yield Entry(training, seed, score, signal, roc_result(classes, settings))


def _write_json(evaluation: Evaluation, groups: Mapping[str, Any], path: Path) -> None:
    curves = [
        {
            "training": entry.training,
            "seed": entry.seed,
            "score": entry.score,
            "signal": entry.signal,
            "curve": _curve_name(index),
            **entry.result.to_json(),
        }
        for index, entry in enumerate(evaluation.entries)
    ]
    content = {
        "schema": SCHEMA,
        "settings": evaluation.settings.model_dump(mode="json"),
        "events": groups,
        "curves": curves,
        "seeds": list(_over_seeds(evaluation)),
    }
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def _over_seeds(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    """Yields mean and spread over the seeds of each training, score and signal."""
    for training in evaluation.names("training"):
        for score in evaluation.names("score"):
            for signal in evaluation.names("signal"):
                results = [e.result for e in evaluation.select(training=training, score=score, signal=signal)]
                if not results:
                    continue
                points = [
                    [p.signal_efficiency if p.reason is None else None for p in column]
                    for column in zip(*(r.working_points for r in results), strict=True)
                ]
                best = [r.significance.value if r.significance else None for r in results]
                yield {
                    "training": training,
                    "score": score,
                    "signal": signal,
                    "num_seeds": len(results),
                    "auc": asdict(spread([r.auc.value for r in results])),
                    "signal_efficiencies": [
                        {"target_background_efficiency": target, **asdict(spread(values))}
                        for target, values in zip(evaluation.settings.background_efficiencies, points, strict=True)
                    ],
                    "max_significance_improvement": asdict(spread(best)),
                }


def _write_curves(evaluation: Evaluation, path: Path) -> None:
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs["schema"] = SCHEMA
        for index, entry in enumerate(evaluation.entries):
            keys = ("training", "seed", "score", "signal")
            write_curve(file, _curve_name(index), entry.result, {key: getattr(entry, key) for key in keys})
        write_distributions(file, evaluation.distributions, groups="groups")


def _curve_name(index: int) -> str:
    return f"curves/{index:04d}"

"""Scored events of all samples of one training, and the weights that the evaluation gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.errors import DataError
from honeyguide.evaluation.roc import Floats
from honeyguide.evaluation.settings import RocSettings
from honeyguide.io.scores import Scores, read_scores

NO_POINT = "signal"


@dataclass(frozen=True)
class ScoredEvents:
    """Events of all samples.

    Attributes:
        label: 0 background, 1 signal.
        weight: Weights after balancing the generators; signals as they are.
        merged_weight: Weights after balancing the generators and the signal points.
        raw_weight: Weights as the files hold them, or 1.
        generator_index: Index into ``generator_names``.
        signal_index: Index into ``signal_names``; -1 for background.
        generator_names: Generators of the background, sorted.
        signal_names: Signal points, sorted by their parameters.
        scores: Per score (num_events,).
    """

    label: NDArray[np.int8]
    weight: Floats
    merged_weight: Floats
    raw_weight: Floats
    generator_index: NDArray[np.int64]
    signal_index: NDArray[np.int64]
    generator_names: list[str]
    signal_names: list[str]
    scores: dict[str, Floats]

    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """Returns which events belong to the background of each generator and to each signal point."""
        groups = {
            f"background: {name}": (self.label == 0) & (self.generator_index == i)
            for i, name in enumerate(self.generator_names)
        }
        return groups | {name: self.signal_index == i for i, name in enumerate(self.signal_names)}

    def by_group(self, score: str) -> dict[str, tuple[Floats, Floats]]:
        """Returns (scores, weights) of the background of each generator and of each signal point."""
        return {
            name: (self.scores[score][mask], self.raw_weight[mask])
            for name, mask in self.masks().items()
            if self.raw_weight[mask].any()
        }

    def groups(self) -> dict[str, Any]:
        """Returns events, effective events and sum of weights of each group, as JSON types."""
        return {
            name: {
                "events": int(mask.sum()),
                "effective_events": _effective(self.raw_weight[mask]),
                "sum_of_weights": float(self.raw_weight[mask].sum()),
            }
            for name, mask in self.masks().items()
        }


def read_events(samples: Mapping[str, Path], settings: RocSettings) -> ScoredEvents:
    """Returns the scored events of all samples, with the weights that the settings ask for.

    Raises:
        DataError: An event occurs twice, or the samples have different scores.
    """
    parts = {name: read_scores(path) for name, path in samples.items()}
    check_distinct(parts, samples)
    _check_scores(parts)
    label = np.concatenate([part.label for part in parts.values()])
    raw = np.concatenate([part.weight for part in parts.values()]).astype(np.float64)
    raw = raw if settings.weighted else np.ones(len(raw))
    generator, generators = _codes(parts, "generator", "generators", label == 0)
    point, points = _codes(parts, "signal_point", "signal_points", label == 1)
    weight = merged = raw
    if settings.balance == "generators":
        weight = _balanced(raw, generator)
        merged = _balanced(weight, point)
    names = next(iter(parts.values())).scores
    scores = {name: np.concatenate([part.scores[name] for part in parts.values()]).astype(np.float64) for name in names}
    return ScoredEvents(label, weight, merged, raw, generator, point, generators, points, scores)


def check_distinct(parts: Mapping[str, Scores], samples: Mapping[str, Path]) -> None:
    """Raises an error where an event occurs twice.

    Args:
        parts: Scores by sample.
        samples: Where they come from.

    Raises:
        DataError: An event occurs twice; or there are no samples.
    """
    if not parts:
        raise DataError("there are no score files to evaluate")
    ids = np.concatenate([part.event_id for part in parts.values()])
    source = np.repeat(np.arange(len(parts)), [len(part.event_id) for part in parts.values()])
    order = np.argsort(ids, kind="stable")
    twice = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    if len(twice):
        names = list(parts)
        first, second = (names[source[order[twice[0] + i]]] for i in (0, 1))
        raise DataError(
            f"{len(twice)} events are scored twice: they would be counted as independent",
            where=f"{samples[first]} and {samples[second]}",
            got=f"event id {ids[order[twice[0]]]} in sample '{first}' and in sample '{second}'",
        )


def _check_scores(parts: Mapping[str, Scores]) -> None:
    first, *others = parts
    for name in others:
        if set(parts[name].scores) != set(parts[first].scores):
            raise DataError(
                f"samples '{first}' and '{name}' have different scores",
                got=f"{', '.join(parts[first].scores)} and {', '.join(parts[name].scores)}",
            )


def _codes(
    parts: Mapping[str, Scores], code: str, names: str, wanted: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], list[str]]:
    """Returns indices into a sorted list of names, over all files, -1 where not wanted; and that list.

    Codes count within a file: two files may use one code for different names.
    """
    texts = []
    for part in parts.values():
        table = np.array([*getattr(part, names), NO_POINT], dtype=object)
        texts.append(table[getattr(part, code)])  # -1, no signal point, is the last
    text = np.concatenate(texts)
    found = sorted(set(text[wanted]), key=_sort_key)
    index = np.full(len(text), -1)
    for i, name in enumerate(found):
        index[wanted & (text == name)] = i
    return index, found


def _sort_key(name: str) -> list[tuple[str, float]]:
    """Orders ``mass=500`` before ``mass=1000``."""
    pairs = []
    for item in name.split(","):
        key, _, value = item.partition("=")
        try:
            pairs.append((key, float(value)))
        except ValueError:
            pairs.append((item, 0.0))
    return pairs


def _balanced(weight: Floats, group: NDArray[np.int64]) -> Floats:
    """Returns weights with a sum of 1 in each group; group -1 as it is."""
    result = weight.copy()
    for index in range(int(group.max(initial=-1)) + 1):
        mask = group == index
        total = weight[mask].sum()
        if total > 0:
            result[mask] = weight[mask] / total
    return result


def _effective(weight: Floats) -> float:
    total = weight.sum()
    scaled = weight / total if total else weight
    return float(1 / np.sum(scaled**2)) if total else 0.0

"""Jets with the class probabilities that a tagger gives them, from score files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from honeyguide.errors import DataError
from honeyguide.evaluation.efficiencies import Floats, Ints, Jets, make_jets
from honeyguide.evaluation.events import check_distinct
from honeyguide.io.scores import Scores, read_scores

PREFIX = "prob_"


@dataclass(frozen=True)
class TaggedJets:
    """The jets of all samples that a tagger was applied to.

    Attributes:
        jets: Truth, pt, eta and weight.
        probabilities: Of each class, shape (num_jets, num_classes).
        classes: Names of the columns of the probabilities.
        process: Index into ``processes``, shape (num_jets,).
        processes: Names of the processes that occur.
        observers: What else is known of the jets in all files, by name, each of shape (num_jets,).
        event_id: Unique ids, shape (num_jets,).
    """

    jets: Jets
    probabilities: Floats
    classes: tuple[str, ...]
    process: Ints
    processes: tuple[str, ...]
    observers: Mapping[str, Floats] = field(default_factory=dict)
    event_id: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.jets)

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns the number of jets of each truth, by process."""
        truths = self.jets.truths
        sizes = {
            name: np.bincount(self.jets.truth[(self.process == i) & (self.jets.truth >= 0)], minlength=len(truths))
            for i, name in enumerate(self.processes)
        }
        return {name: dict(zip(truths, map(int, size), strict=True)) for name, size in sizes.items()}


def read_tagged_jets(samples: Mapping[str, Path], *, weighted: bool) -> TaggedJets:
    """Returns the jets of all samples of one training.

    Args:
        samples: Sample to its file of scores.
        weighted: Whether jets have the weights of the files; if not, 1.

    Raises:
        DataError: A file has no jets with truths and class probabilities; samples have different classes; a jet occurs
            twice; weights are negative or not finite.
    """
    parts = {name: read_scores(path) for name, path in samples.items()}
    check_distinct(parts, samples)
    return tagged_jets(parts, weighted=weighted)


def tagged_jets(parts: Mapping[str, Scores], *, weighted: bool) -> TaggedJets:
    """Returns the jets of all samples together; codes count within a sample, so they are compared by their names.

    Args:
        parts: Sample to its scores.
        weighted: As of :func:`read_tagged_jets`.

    Raises:
        DataError: As of :func:`read_tagged_jets`.
    """
    classes = _classes(parts)
    truth, truths = joined_codes([(np.asarray(part.truth), part.truths) for part in parts.values()])
    process, processes = joined_codes([(part.process, part.processes) for part in parts.values()])
    occurring = np.unique(process)
    columns = [np.stack([part.scores[PREFIX + name] for name in classes], axis=1) for part in parts.values()]
    pt, eta = (np.concatenate([getattr(part, name) for part in parts.values()]) for name in ("pt", "eta"))
    weight = np.concatenate([part.weight for part in parts.values()]) if weighted else None
    return TaggedJets(
        jets=make_jets(truth, truths, pt, eta, weight),
        probabilities=np.concatenate(columns).astype(np.float64),
        classes=classes,
        process=np.searchsorted(occurring, process),
        processes=tuple(processes[index] for index in occurring),
        observers=_observers(parts),
        event_id=np.concatenate([part.event_id for part in parts.values()]),
    )


def _observers(parts: Mapping[str, Scores]) -> dict[str, Floats]:
    first, *others = parts.values()
    names = [name for name in first.observers if all(name in part.observers for part in others)]
    return {name: np.concatenate([part.observers[name] for part in parts.values()]).astype(float) for name in names}


def _classes(parts: Mapping[str, Scores]) -> tuple[str, ...]:
    first, *_ = parts
    for name, part in parts.items():
        if not part.classes or part.truth is None or part.pt is None or part.eta is None:
            raise DataError("these scores are not those of a tagger: no truths or classes", where=f"sample '{name}'")
        if part.classes != parts[first].classes:
            raise DataError(
                f"samples '{first}' and '{name}' were scored for different classes",
                got=f"{', '.join(parts[first].classes)} and {', '.join(part.classes)}",
            )
    return tuple(parts[first].classes)


def joined_codes(tables: Sequence[tuple[NDArray[Any], Sequence[str]]]) -> tuple[Ints, tuple[str, ...]]:
    """Returns codes into the names of all tables, in the order in which they come; -1 stays."""
    names = tuple(dict.fromkeys(name for _, table in tables for name in table))
    codes = []
    for code, table in tables:
        places = np.array([*(names.index(name) for name in table), -1])  # -1, no truth, is the last
        codes.append(places[code])
    return np.concatenate(codes), names

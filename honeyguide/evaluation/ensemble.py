"""Several trainings as one: the mean of their scores of every event, and how far they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from honeyguide.data.input_spec import InputSpec
from honeyguide.errors import DataError
from honeyguide.evaluation.run import evaluate
from honeyguide.evaluation.settings import RocSettings
from honeyguide.evaluation.summary import summary
from honeyguide.evaluation.tagging_run import Members, evaluate_taggers, tagging_summary
from honeyguide.evaluation.tagging_settings import TaggingSettings
from honeyguide.io.scores import OBSERVERS, TARGETS, Scores, ScoresWriter, read_scores

SPREAD, ERROR = _MADE = ("spread_", "error_")
ONE = "one training"
_BLOCK = 16384  # events that are averaged together

Trainings = Mapping[int, Mapping[str, Path]]


def average_trainings(trainings: Trainings, folder: Path, *, spec: InputSpec, root: bool = True) -> dict[str, Path]:
    """Returns the file of mean scores of each sample; writes ``<sample>/scores.h5`` and ``<sample>/scores.root``.

    For every score of the trainings there are its mean, under the same name, the standard deviation over the trainings
    (n - 1) as ``spread_<name>``, and the standard error of the mean as ``error_<name>``. ``latent`` has the latent
    vectors of all trainings, side by side: those of different trainings have no common axes to be averaged along.

    Args:
        trainings: The scores of every sample by the number of the training, at least two.
        folder: Where to write; it exists.
        spec: Of the model inputs that were scored.
        root: Whether to write ``scores.root``.

    Raises:
        DataError: There are fewer than two trainings, or they have other events or scores.
    """
    if len(trainings) < 2:
        raise DataError("an ensemble has two trainings or more", got=len(trainings))
    found = {}
    for sample in next(iter(trainings.values())):
        (folder / sample).mkdir()
        _average([files[sample] for files in trainings.values()], folder / sample, spec=spec, root=root)
        found[sample] = folder / sample / "scores.h5"
    return found


def _average(files: Sequence[Path], folder: Path, *, spec: InputSpec, root: bool) -> None:
    head = [read_scores(path, slice(0)) for path in files]
    with h5py.File(files[0], "r") as first:
        num_events = len(first["event_id"])
    names = list(head[0].scores)
    with ScoresWriter(
        folder,
        num_events=num_events,
        score_names=[prefix + name for name in names for prefix in ("", SPREAD, ERROR)],
        latent_dim=sum(part.latent.shape[1] for part in head),
        spec=spec,
        classes=head[0].classes,
        root=root,
    ) as writer:
        for start in range(0, max(num_events, 1), _BLOCK):
            parts = [read_scores(path, slice(start, start + _BLOCK)) for path in files]
            _check(parts, files)
            known = _truth(parts[0])
            scores = {key: values for name in names for key, values in _moments(parts, name).items()}
            latent = np.concatenate([part.latent for part in parts], axis=1)
            writer.append({column: known[column] for column in writer.columns}, scores, latent)


def _moments(parts: Sequence[Scores], name: str) -> dict[str, np.ndarray]:
    values = np.stack([part.scores[name] for part in parts]).astype(np.float64)
    spread = values.std(0, ddof=1)
    return {name: values.mean(0), SPREAD + name: spread, ERROR + name: spread / np.sqrt(len(parts))}


def _truth(part: Scores) -> dict[str, np.ndarray]:
    known = {TARGETS + name: values for name, values in part.targets.items()}
    known |= {OBSERVERS + name: values for name, values in part.observers.items()}
    return {**vars(part), **known}


def _check(parts: Sequence[Scores], files: Sequence[Path]) -> None:
    for part, path in zip(parts[1:], files[1:], strict=True):
        if not np.array_equal(part.event_id, parts[0].event_id):
            raise DataError(
                "two trainings have scored different events", where=f"{files[0]} and {path}", hint="the same test split"
            )
        if list(part.scores) != list(parts[0].scores):
            raise DataError(
                "two trainings have different scores", where=f"{files[0]} and {path}", got=", ".join(part.scores),
                allowed=", ".join(parts[0].scores),
            )  # fmt: skip


def evaluate_ensemble(
    trainings: Trainings,
    folder: Path,
    *,
    spec: InputSpec,
    settings: RocSettings | TaggingSettings | None,
    members: Members | None = None,
    root: bool = True,
) -> str:
    """Returns a table of AUCs: of the mean scores, and of each training alone; writes scores, curves and figures.

    Args:
        trainings: As of :func:`average_trainings`.
        folder: Where to write; it exists.
        spec: Of the model inputs that were scored.
        settings: Of ROC curves, of taggers where it is one; None for no curves.
        members: The truths of each class of a tagger.
        root: Whether to write ``scores.root``.

    Raises:
        DataError: As of :func:`average_trainings` and :func:`honeyguide.evaluation.run.evaluate`.
    """
    (folder / "scores").mkdir()
    mean = average_trainings(trainings, folder / "scores", spec=spec, root=root)
    label = f"mean of {len(trainings)}"
    compared: dict[str, Trainings] = {label: {0: mean}, ONE: trainings}
    if isinstance(settings, TaggingSettings):
        truths = None if members is None else dict.fromkeys(compared, members)
        return tagging_summary(evaluate_taggers(compared, folder, settings=settings, members=truths))
    if settings is None:
        return f"{label}: no curves without classes"
    names = [name for name in read_scores(next(iter(mean.values())), slice(0)).scores if not name.startswith(_MADE)]
    wanted = settings.model_copy(update={"scores": settings.scores or tuple(names)})
    return summary(evaluate(compared, folder, settings=wanted))

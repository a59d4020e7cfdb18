"""Permutation importance: how much the areas under a tagger's ROC curves shrink without what a feature says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from honeyguide.data.batch import Batch
from honeyguide.data.model_inputs import ModelInputs, list_inputs
from honeyguide.data.some_rows import as_batch, read_some_rows
from honeyguide.errors import ModelError
from honeyguide.evaluation.discriminators import Discriminator, discriminators
from honeyguide.evaluation.efficiencies import Floats, Jets, make_jets
from honeyguide.evaluation.importance_settings import ImportanceSettings
from honeyguide.evaluation.paired import Area, all_areas, difference, mean
from honeyguide.evaluation.permuted import Group, groups, permuted
from honeyguide.evaluation.tagging_settings import TaggingSettings
from honeyguide.nn.model import Model
from honeyguide.training.device import resolve_device, torch_state
from honeyguide.training.weights import BuildModel, load_model

SCHEMA = 1


@dataclass(frozen=True)
class Drop:
    """How much smaller an area is when a group of features is permuted.

    Attributes:
        group: What is permuted.
        kind: Its kind, see :class:`~honeyguide.evaluation.permuted.Group`.
        measure: The area: a discriminator's, or ``macro``, the mean over the classes of each against all others.
        value: Mean of the drops over the repeats.
        error: Of everything: the root of the sum of the squares of the two below.
        error_repeats: Standard deviation of the drops over the repeats, by the root of their number.
        error_sample: DeLong's error of the difference of the two areas on the same jets, for the mean over the repeats.
        drops: Of each repeat.
    """

    group: str
    kind: str
    measure: str
    value: float
    error: float
    error_repeats: float
    error_sample: float
    drops: tuple[float, ...]


@dataclass(frozen=True)
class Importance:
    """The importance of all features.

    Attributes:
        areas: (value, error) of each measure with nothing permuted.
        drops: Of every group and measure.
        num_rows: Rows that they are of.
    """

    areas: Mapping[str, tuple[float, float]]
    drops: tuple[Drop, ...]
    num_rows: int

    def of(self, measure: str) -> list[Drop]:
        """Returns the drops of one measure, the largest first."""
        return sorted((drop for drop in self.drops if drop.measure == measure), key=lambda drop: -drop.value)


def feature_importance(
    training: Path,
    inputs: Path,
    folder: Path,
    *,
    build_model: BuildModel,
    settings: tuple[ImportanceSettings, TaggingSettings],
    members: Mapping[str, Sequence[str]],
    progress: Callable[[int, int], None] | None = None,
) -> Importance:
    """Returns the importance of every feature of a trained tagger, after writing and drawing it.

    Files: ``importance.json``, ``importance.h5`` (the drop of every repeat), and a figure per measure (PNG, PDF).

    Args:
        training: Folder that :func:`honeyguide.training.run.train` has written.
        inputs: Folder of model inputs; rows of its test split are used.
        folder: Existing folder to write to.
        build_model: Makes an untrained model of the trained family and config from an input specification.
        settings: Of the importance, and of the discriminators.
        members: Truths of the classes, see :func:`~honeyguide.evaluation.discriminators.discriminators`.
        progress: Called with the number of groups that are done and the number of all.

    Raises:
        ModelError: The model is no tagger.
        ConfigError: A class or group of the settings does not exist.
        DataError: There are no test rows.
        StoreError: A file is missing or damaged.
    """
    from honeyguide.plotting.importance import draw_importance  # matplotlib is slow to import

    own, tagging = settings
    device = resolve_device(own.device)
    with torch_state(device=device, num_threads=own.num_threads):
        model = load_model(training, build_model, which=own.weights).to(device)
        if not model.classes:
            raise ModelError("permutation importance is that of taggers, and this model has no classes", where=training)
        rows = read_some_rows(list_inputs(inputs, "test"), own.rows, seed=own.seed)
        measure = _Measure(model, rows, own, tagging, members)
        found = _importance(measure, as_batch(rows), progress)
    write_importance(found, folder)
    draw_importance(found, folder, shown=own.shown)
    return found


def write_importance(found: Importance, folder: Path) -> None:
    """Writes ``importance.json`` and ``importance.h5``."""
    areas = {name: {"value": value, "error": error} for name, (value, error) in found.areas.items()}
    drops = [{key: value for key, value in asdict(drop).items() if key != "drops"} for drop in found.drops]
    content = {"schema": SCHEMA, "num_rows": found.num_rows, "areas": areas, "drops": drops}
    (folder / "importance.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    with h5py.File(folder / "importance.h5", "w", track_order=True) as file:
        file.attrs["schema"] = SCHEMA
        for name in found.areas:
            shown = [drop for drop in found.drops if drop.measure == name]
            group = file.create_group(name, track_order=True)
            group.attrs["groups"] = json.dumps([drop.group for drop in shown])
            group["drops"] = np.array([drop.drops for drop in shown])
            group["error"] = np.array([drop.error for drop in shown])


def summary(found: Importance, *, number: int = 5) -> str:
    """Returns a line per measure: its area, and the groups without which it shrinks most."""
    lines = []
    for name, (value, error) in found.areas.items():
        best = ", ".join(f"{drop.group} {drop.value:.3f} ± {drop.error:.3f}" for drop in found.of(name)[:number])
        lines.append(f"{name}: AUC {value:.3f} ± {error:.3f}; largest drops: {best}")
    return "\n".join(lines)


class _Measure:
    """Areas under the ROC curves of a batch."""

    def __init__(
        self,
        model: Model,
        rows: ModelInputs,
        own: ImportanceSettings,
        tagging: TaggingSettings,
        members: Mapping[str, Sequence[str]],
    ) -> None:
        self.settings = own
        self.model = model
        self._jets = _jets(rows, model.spec.truths, weighted=tagging.weighted)
        self._discriminators: Mapping[str, Discriminator] = discriminators(
            tagging, model.classes, model.spec.truths, members
        )
        self._members = members

    def __call__(self, batch: Batch) -> dict[str, Area]:
        return all_areas(
            self._probabilities(batch),
            self._jets,
            self.model.classes,
            discriminators=self._discriminators,
            members=self._members,
        )

    def _probabilities(self, batch: Batch) -> Floats:
        device = next(self.model.parameters()).device
        parts: list[NDArray[np.float32]] = []
        with torch.inference_mode():
            for low in range(0, len(batch), self.settings.batch_size):
                scores = self.model.score(batch.rows(low, low + self.settings.batch_size).to(device))
                columns = torch.stack([scores[f"prob_{name}"] for name in self.model.classes], dim=1)
                parts.append(columns.cpu().numpy())
        return np.concatenate(parts).astype(np.float64)


def _importance(measure: _Measure, batch: Batch, progress: Callable[[int, int], None] | None) -> Importance:
    whole, every = measure(batch), groups(measure.model.spec)
    drops: list[Drop] = []
    for number, group in enumerate(every):
        repeats = []
        for repeat in range(measure.settings.repeats):
            generator = torch.Generator().manual_seed(_seed(measure.settings.seed, number, repeat))
            repeats.append(measure(permuted(batch, group, generator)))
        drops += [_drop(group, name, area, [each[name] for each in repeats]) for name, area in whole.items()]
        if progress is not None:
            progress(number + 1, len(every))
    return Importance({name: (area.value, area.error) for name, area in whole.items()}, tuple(drops), len(batch))


def _drop(group: Group, measure: str, whole: Area, repeats: Sequence[Area]) -> Drop:
    values = [whole.value - area.value for area in repeats]
    between = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    sample = difference(whole, mean(repeats)).error
    return Drop(
        group=group.name,
        kind=group.kind,
        measure=measure,
        value=float(np.mean(values)),
        error=float(np.hypot(between, sample)),
        error_repeats=between,
        error_sample=sample,
        drops=tuple(values),
    )


def _seed(*numbers: int) -> int:
    """Returns a seed that differs for different numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _jets(rows: ModelInputs, truths: Sequence[str], *, weighted: bool) -> Jets:
    known: dict[str, Any] = {name: getattr(rows, name) for name in ("truth", "pt", "eta")}
    return make_jets(known["truth"], truths, known["pt"], known["eta"], rows.weight if weighted else None)

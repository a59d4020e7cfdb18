"""From event-store shards to model inputs: divide, fit on the training events alone, scale and write.

:func:`preprocess` does all of it. In parts, with the same bytes in the end: :func:`fit_inputs` once, :func:`write_part`
for some shards of a sample each, wherever and in whatever order, and :func:`merge_parts`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from honeyguide.data.input_spec import InputSpec
from honeyguide.data.model_inputs import SPEC, ModelInputs, ModelInputsWriter, read_spec, write_spec
from honeyguide.data.row_reweighting import blocks_of
from honeyguide.data.sample import SampleInfo
from honeyguide.data.splits import SPLITS
from honeyguide.preprocess.blocks import (
    Counter,
    Counts,
    Level,
    Progress,
    Source,
    fit_events,
    split_files,
    training_samples,
)
from honeyguide.preprocess.census import check_training, count_events, count_splits
from honeyguide.preprocess.chain import SCALERS_FILE, Scalers
from honeyguide.preprocess.objects import ObjectLevel
from honeyguide.preprocess.row_store import Truths, check_columns, check_reference, read_truths
from honeyguide.preprocess.rows import RowLevel
from honeyguide.preprocess.settings import PreprocessSettings
from honeyguide.preprocess.spec import build_scalers, build_spec, reuse_fit
from honeyguide.preprocess.spectra import write_reweighting

Shards = Mapping[str, Sequence[Path]]


def preprocess(
    shards: Shards,
    folder: Path,
    *,
    samples: Sequence[SampleInfo],
    settings: PreprocessSettings,
    progress: Progress | None = None,
    fitted: Path | None = None,
) -> None:
    """Writes model inputs, their specification and the scalers into ``folder``; memory does not grow with the data.

    Scalers are fitted, unweighted, on the objects that a model sees of the training events, and on nothing else. At
    level ``row``, samples that are scaled as others were (``fitted``) are for the test alone.

    Args:
        shards: Event-store shards by sample name.
        folder: Existing folder; it gets ``spec.json``, ``scalers.json`` and ``<sample>/<split>.h5``.
        samples: What is known of each sample; all samples of ``shards``.
        settings: Objects, features, scaling and splits.
        progress: Called with the number of events done and to do, over all passes.
        fitted: Folder of other model inputs whose scalers and codes are taken over, so that a model that was trained on
            those can be applied to these; nothing is fitted then, and no event has to be for training.

    Raises:
        ConfigError: ``fitted`` was made by other settings, rows lack a column, or the reweighting's reference is no
            truth.
        DataError: A sample is empty, no event trains, ids repeat, a row has no truth, or values are not finite.
        StoreError: A shard is missing or damaged.
    """
    plan = _Plan.of(shards, samples, settings, fitted)
    total = plan.events_to_fit + sum(sum(of_sample.values()) for of_sample in plan.counts.values())
    source = Source(shards, settings, Counter(progress, total))
    plan.fit(source, folder)
    for sample in plan.samples:
        plan.level.write(source, sample, split_files(folder / sample.name, plan.counts[sample.name]))
    if settings.reweighting is not None and fitted is None:
        write_reweighting(folder, plan.spec.truths, settings.reweighting)


def fit_inputs(
    shards: Shards,
    folder: Path,
    *,
    samples: Sequence[SampleInfo],
    settings: PreprocessSettings,
    progress: Progress | None = None,
    fitted: Path | None = None,
) -> None:
    """Writes ``spec.json`` and ``scalers.json`` alone, after all checks that need the whole dataset.

    Arguments and errors are those of :func:`preprocess`.
    """
    plan = _Plan.of(shards, samples, settings, fitted)
    plan.fit(Source(shards, settings, Counter(progress, plan.events_to_fit)), folder)


def write_part(
    shards: Sequence[Path],
    folder: Path,
    *,
    fit: Path,
    sample: SampleInfo,
    settings: PreprocessSettings,
    progress: Progress | None = None,
) -> None:
    """Writes ``<split>.h5`` of some shards of a sample into ``folder``; none of a split that has no event in them.

    Args:
        shards: Event-store shards, all of ``sample``.
        folder: Existing folder.
        fit: What :func:`fit_inputs` has written.
        sample: As in the fit; with ``fitted`` it was for the test.
        settings: Those of the fit.
        progress: Called with the number of events done and to do.

    Raises:
        DataError: A row has no truth, or values are not finite.
        StoreError: A shard or the fit is missing or damaged.
    """
    counts = count_splits(shards, sample, settings)
    truths = read_truths({sample.name: shards}) if settings.level == "row" else _NO_TRUTHS
    level = _level(settings, Scalers.read(fit), read_spec(fit), truths)
    source = Source({sample.name: shards}, settings, Counter(progress, sum(counts.values())))
    level.write(source, sample, split_files(folder, counts))


def merge_parts(
    parts: Mapping[str, Sequence[Path]], folder: Path, *, fit: Path, settings: PreprocessSettings, has_training: bool
) -> None:
    """Writes what :func:`preprocess` writes, from parts; it only copies, a part at a time.

    Args:
        parts: Folders that :func:`write_part` has written, by sample, in the order of their shards.
        folder: Existing folder.
        fit: What :func:`fit_inputs` has written.
        settings: Those of the fit.
        has_training: Whether there is something to be trained on, that is: the fit had no ``fitted``.

    Raises:
        DataError: The reweighting's reference has no rows.
        StoreError: A part or the fit is missing or damaged.
    """
    spec = read_spec(fit)
    for name in (SCALERS_FILE, SPEC):
        shutil.copyfile(fit / name, folder / name)
    for sample, folders in parts.items():
        for split in SPLITS:
            files = [part / f"{split}.h5" for part in folders]
            _concatenate([file for file in files if file.exists()], folder / sample / f"{split}.h5", spec)
    if settings.reweighting is not None and has_training:
        write_reweighting(folder, spec.truths, settings.reweighting)


_NO_TRUTHS = Truths((), {})


@dataclass(frozen=True)
class _Plan:
    """What is to be done, after a look at all shards.

    Attributes:
        samples: What is known of each sample.
        counts: Events by sample and split.
        scalers: All chains.
        spec: The specification.
        level: What uses both.
        passes: Passes over the training events that the fit takes.
    """

    samples: Sequence[SampleInfo]
    counts: Counts
    scalers: Scalers
    spec: InputSpec
    level: Level
    passes: int

    @classmethod
    def of(
        cls, shards: Shards, samples: Sequence[SampleInfo], settings: PreprocessSettings, fitted: Path | None
    ) -> _Plan:
        truths = _NO_TRUTHS
        if settings.level == "row":
            truths = read_truths(shards)
            check_columns(shards, settings)
            check_reference(settings.reweighting, truths.names)
            if fitted is not None:
                samples = [sample.model_copy(update={"split": "test"}) for sample in samples]
        counts = count_events(shards, samples, settings)
        if fitted is None:
            check_training(counts, samples)
            scalers, spec = build_scalers(settings), build_spec(settings, samples, truths=truths.names)
        else:
            scalers, spec = reuse_fit(fitted, settings, samples, truths=truths.names)
        level = _level(settings, scalers, spec, truths)
        passes = 0 if fitted else max((chain.num_passes for chain in level.chains), default=0)
        return cls(samples, counts, scalers, spec, level, passes)

    @property
    def events_to_fit(self) -> int:
        """How many events the fit reads."""
        return self.passes * fit_events(self.samples, self.counts)

    def fit(self, source: Source, folder: Path) -> None:
        for _ in range(self.passes):
            self.level.fit_pass(source, training_samples(self.samples, self.counts))
        self.scalers.write(folder)
        write_spec(folder, self.spec)


def _level(settings: PreprocessSettings, scalers: Scalers, spec: InputSpec, truths: Truths) -> Level:
    if settings.level == "row":
        return RowLevel.of(settings, scalers, spec, truths)
    return ObjectLevel.of(settings, scalers, spec)


def _concatenate(files: Sequence[Path], path: Path, spec: InputSpec) -> None:
    """Writes the events of all files to one, unless there are none."""
    num_events = sum(len(ModelInputs.open(file)) for file in files)
    if not num_events:
        return
    with ModelInputsWriter(path, num_events=num_events, spec=spec) as writer:
        for file in files:
            inputs = ModelInputs.open(file)
            for rows in blocks_of(inputs):
                writer.append({name: array[rows] for name, array in inputs.arrays().items()})

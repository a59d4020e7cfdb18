"""From event-store shards to model inputs: divide, fit on the training events alone, scale and write."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import EventBlock
from honeyguide.data.input_spec import InputSpec
from honeyguide.data.model_inputs import ModelInputsWriter, write_spec
from honeyguide.data.sample import SampleInfo
from honeyguide.data.splits import SPLITS, TRAIN, hash_ids
from honeyguide.io.event_store import EventStore
from honeyguide.preprocess.census import count_events, event_splits
from honeyguide.preprocess.chain import Chain, Scalers, check_finite, scale_columns
from honeyguide.preprocess.derived import feature_values
from honeyguide.preprocess.select import Selection, required_columns, select_objects
from honeyguide.preprocess.settings import FeatureSetting, PreprocessSettings, locate_feature
from honeyguide.preprocess.spec import build_scalers, build_spec, signal_code

Progress = Callable[[int, int], None]
_FIT_SALT = 0x5CA1E  # unrelated to the hash that divides the events


def preprocess(
    shards: Mapping[str, Sequence[Path]],
    folder: Path,
    *,
    samples: Sequence[SampleInfo],
    settings: PreprocessSettings,
    progress: Progress | None = None,
) -> None:
    """Writes model inputs, their specification and the scalers into ``folder``; memory does not grow with the data.

    Args:
        shards: Event-store shards by sample name.
        folder: Existing folder; it gets ``spec.json``, ``scalers.json`` and ``<sample>/<split>.h5``.
        samples: What is known of each sample; all samples of ``shards``.
        settings: Objects, features, scaling and splits.
        progress: Called with the number of events done and to do, over all passes.

    Raises:
        DataError: A sample is empty, no event trains, ids repeat, or values are not finite.
        StoreError: A shard is missing or damaged.
    """
    counts = count_events(shards, samples, settings)
    scalers, spec = build_scalers(settings), build_spec(settings, samples)
    chains = (*scalers.objects, *scalers.event)
    passes = max(chain.num_passes for chain in chains)
    training = [sample for sample in samples if counts[sample.name, TRAIN]]
    totals = {name: sum(counts[name, split] for split in range(len(SPLITS))) for name in shards}
    to_do = passes * sum(totals[sample.name] for sample in training) + sum(totals.values())
    source = _Source(shards, settings, _Counter(progress, to_do))
    for _ in range(passes):
        _fit_pass(source, training, scalers)
    scalers.write(folder)
    write_spec(folder, spec)
    for sample in samples:
        _write_sample(source, sample, folder, scalers=scalers, spec=spec, counts=counts)


class _Counter:
    """Adds up blocks and reports."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def add(self, number: int) -> None:
        self._done += number
        if self._progress is not None:
            self._progress(self._done, self._total)


@dataclass(frozen=True)
class _Source:
    """Yields the blocks of samples with the columns that the settings need."""

    shards: Mapping[str, Sequence[Path]]
    settings: PreprocessSettings
    counter: _Counter

    def blocks(self, sample: SampleInfo) -> Iterator[tuple[Path, EventBlock]]:
        columns = required_columns(self.settings)
        for shard in self.shards[sample.name]:
            with EventStore(shard) as store:
                for block in store.iter_blocks(self.settings.block_events, columns=columns):
                    yield shard, block
                    self.counter.add(len(block))


def object_columns(block: EventBlock, selection: Selection, settings: PreprocessSettings) -> list[NDArray[np.generic]]:
    """Returns the unscaled features of the selected objects, one array (num_objects,) per feature."""
    return [_object_column(block, selection, setting, settings.level) for setting in settings.object_features]


def event_columns(
    block: EventBlock, settings: PreprocessSettings, *, keep: NDArray[np.bool_] | None = None
) -> list[NDArray[np.generic]]:
    """Returns the unscaled event features, one array (num_events,) per feature, of the events to keep."""
    index = np.arange(len(block)) if keep is None else np.flatnonzero(keep)
    return [feature_values(block, "events", setting.name, index=index) for setting in settings.event_features]


def _object_column(block: EventBlock, selection: Selection, setting: FeatureSetting, level: str) -> NDArray[np.generic]:
    collection, feature = locate_feature(setting.name, level)
    index = selection.jet if collection == "jets" and selection.jet is not None else selection.index
    return feature_values(block, collection, feature.name, index=index, jet=selection.jet)


def _fit_pass(source: _Source, samples: Sequence[SampleInfo], scalers: Scalers) -> None:
    """Fits the next stage of every chain on the training events."""
    for sample in samples:
        for shard, block in source.blocks(sample):
            event_id = block.events["id"].astype(np.int64, copy=False)
            keep = event_splits(event_id, sample, source.settings) == TRAIN
            event_keys = hash_ids(event_id, salt=_FIT_SALT)
            if any(not chain.is_fitted for chain in scalers.objects):
                selection = select_objects(block, source.settings, keep=keep)
                columns = object_columns(block, selection, source.settings)
                _check(scalers.objects, columns, shard)
                keys = _object_keys(event_keys, selection, scalers.objects)
                _partial_fit(scalers.objects, columns, keys)
            _partial_fit(scalers.event, event_columns(block, source.settings, keep=keep), event_keys[keep])
    for chain in (*scalers.objects, *scalers.event):
        chain.finish_pass()


def _object_keys(event_keys: NDArray[np.uint64], selection: Selection, chains: Sequence[Chain]) -> NDArray[np.uint64]:
    """Returns a hash of event and slot per object, or zeros where no chain asks for it."""
    if not any(chain.needs_keys for chain in chains):
        return np.zeros(len(selection.event), dtype=np.uint64)
    return hash_ids((event_keys[selection.event] + selection.slot.astype(np.uint64)).view(np.int64), salt=_FIT_SALT)


def _partial_fit(chains: Sequence[Chain], columns: Sequence[NDArray[np.generic]], keys: NDArray[np.uint64]) -> None:
    for chain, column in zip(chains, columns, strict=True):
        chain.partial_fit(column, keys)


def _write_sample(
    source: _Source,
    sample: SampleInfo,
    folder: Path,
    *,
    scalers: Scalers,
    spec: InputSpec,
    counts: Mapping[tuple[str, int], int],
) -> None:
    constants: dict[str, np.generic] = {
        "label": np.int8(sample.label_code),
        "process": np.int16(spec.processes.index(sample.process)),
        "generator": np.int16(spec.generators.index(sample.generator)),
        "signal_point": np.int16(signal_code(sample, spec)),
    }
    with contextlib.ExitStack() as stack:
        writers = {
            split: stack.enter_context(
                ModelInputsWriter(folder / sample.name / f"{name}.h5", num_events=counts[sample.name, split], spec=spec)
            )
            for split, name in enumerate(SPLITS)
            if counts[sample.name, split]
        }
        for shard, block in source.blocks(sample):
            codes = event_splits(block.events["id"].astype(np.int64, copy=False), sample, source.settings)
            rows = _scaled_rows(shard, block, codes, source.settings, scalers=scalers, spec=spec)
            rows |= {name: np.full(len(block), value) for name, value in constants.items()}
            edges = np.cumsum([0, *np.bincount(codes, minlength=len(SPLITS))])
            for split, writer in writers.items():
                writer.append({name: values[edges[split] : edges[split + 1]] for name, values in rows.items()})


def _scaled_rows(
    shard: Path,
    block: EventBlock,
    codes: NDArray[np.int8],
    settings: PreprocessSettings,
    *,
    scalers: Scalers,
    spec: InputSpec,
) -> dict[str, NDArray[np.generic]]:
    """Returns the model inputs of a block with its events sorted by split, in stable order."""
    order = np.argsort(codes, kind="stable")
    row = np.empty_like(order)
    row[order] = np.arange(len(order))
    selection = select_objects(block, settings)
    columns = object_columns(block, selection, settings)
    _check(scalers.objects, columns, shard)
    objects = np.zeros((len(block) * spec.num_objects, spec.num_features), dtype=np.float32)
    mask = np.zeros(len(block) * spec.num_objects, dtype=np.bool_)
    place = row[selection.event] * spec.num_objects + selection.slot
    objects[place] = scale_columns(scalers.objects, columns)
    mask[place] = True
    event = np.empty((len(block), 0), dtype=np.float32)
    if scalers.event:
        of_event = event_columns(block, settings)
        _check(scalers.event, of_event, shard)
        event = scale_columns(scalers.event, of_event)
    return {
        "objects": objects.reshape(len(block), spec.num_objects, spec.num_features),
        "mask": mask.reshape(len(block), spec.num_objects),
        "event": event[order],
        "event_id": block.events["id"][order],
        "weight": block.events["weight"][order],
    }


def _check(chains: Sequence[Chain], columns: Sequence[NDArray[np.generic]], shard: Path) -> None:
    for chain, column in zip(chains, columns, strict=True):
        check_finite(column, chain.feature, where=shard)

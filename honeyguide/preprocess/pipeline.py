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
from honeyguide.preprocess.census import check_training, count_events, event_splits
from honeyguide.preprocess.chain import Chain, check_finite, scale_columns
from honeyguide.preprocess.derived import feature_values
from honeyguide.preprocess.select import Selection, required_columns, select_objects
from honeyguide.preprocess.settings import FeatureSetting, PreprocessSettings, locate_feature
from honeyguide.preprocess.spec import build_scalers, build_spec, reuse_fit, signal_code

Progress = Callable[[int, int], None]
_FIT_SALT = 0x5CA1E  # unrelated to the hash that divides the events


def preprocess(
    shards: Mapping[str, Sequence[Path]],
    folder: Path,
    *,
    samples: Sequence[SampleInfo],
    settings: PreprocessSettings,
    progress: Progress | None = None,
    fitted: Path | None = None,
) -> None:
    """Writes model inputs, their specification and the scalers into ``folder``; memory does not grow with the data.

    Scalers are fitted, unweighted, on the objects that a model sees of the training events, and on nothing else.

    Args:
        shards: Event-store shards by sample name.
        folder: Existing folder; it gets ``spec.json``, ``scalers.json`` and ``<sample>/<split>.h5``.
        samples: What is known of each sample; all samples of ``shards``.
        settings: Objects, features, scaling and splits.
        progress: Called with the number of events done and to do, over all passes.
        fitted: Folder of other model inputs whose scalers and codes are taken over, so that a model that was trained on
            those can be applied to these; nothing is fitted then, and no event has to be for training.

    Raises:
        ConfigError: ``fitted`` was made by other settings.
        DataError: A sample is empty, no event trains, ids repeat, or values are not finite.
        StoreError: A shard is missing or damaged.
    """
    counts = count_events(shards, samples, settings)
    if fitted is None:
        check_training(counts, samples)
        scalers, spec = build_scalers(settings), build_spec(settings, samples)
    else:
        scalers, spec = reuse_fit(fitted, settings, samples)
    parts = _Part(settings.object_features, scalers.objects), _Part(settings.event_features, scalers.event)
    passes = 0 if fitted else max(chain.num_passes for part in parts for chain in part.chains)
    training = [sample for sample in samples if TRAIN in counts[sample.name]]
    to_do = passes * sum(sum(counts[sample.name].values()) for sample in training)
    to_do += sum(sum(of_sample.values()) for of_sample in counts.values())
    source = _Source(shards, settings, _Counter(progress, to_do))
    for _ in range(passes):
        _fit_pass(source, training, *parts)
    scalers.write(folder)
    write_spec(folder, spec)
    for sample in samples:
        files = {
            split: (folder / sample.name / f"{SPLITS[split]}.h5", num_events)
            for split, num_events in counts[sample.name].items()
        }
        _write_sample(source, sample, files, parts=parts, spec=spec)


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
    """Yields the blocks of samples."""

    shards: Mapping[str, Sequence[Path]]
    settings: PreprocessSettings
    counter: _Counter

    def blocks(self, sample: SampleInfo, columns: Mapping[str, Sequence[str]]) -> Iterator[tuple[Path, EventBlock]]:
        for shard in self.shards[sample.name]:
            with EventStore(shard) as store:
                for block in store.iter_blocks(self.settings.block_events, columns=columns):
                    yield shard, block
                    self.counter.add(len(block))


@dataclass(frozen=True)
class _Part:
    """Features of the objects or of the event, with their chains."""

    features: tuple[FeatureSetting, ...]
    chains: tuple[Chain, ...]

    def unfitted(self) -> _Part:
        pairs = [pair for pair in zip(self.features, self.chains, strict=True) if not pair[1].is_fitted]
        return _Part(features=tuple(pair[0] for pair in pairs), chains=tuple(pair[1] for pair in pairs))

    def check(self, columns: Sequence[NDArray[np.generic]], shard: Path) -> None:
        for chain, column in zip(self.chains, columns, strict=True):
            check_finite(column, chain.feature, where=shard)

    def partial_fit(self, columns: Sequence[NDArray[np.generic]], keys: NDArray[np.uint64]) -> None:
        for chain, column in zip(self.chains, columns, strict=True):
            chain.partial_fit(column, keys)


def _object_columns(block: EventBlock, selection: Selection, part: _Part, level: str) -> list[NDArray[np.generic]]:
    """Returns the unscaled features of the selected objects, one array (num_objects,) per feature."""
    columns = []
    for setting in part.features:
        collection, feature = locate_feature(setting.name, level)
        index = selection.jet if collection == "jets" and selection.jet is not None else selection.index
        columns.append(feature_values(block, collection, feature.name, index=index, jet=selection.jet))
    return columns


def _event_columns(block: EventBlock, part: _Part, events: NDArray[np.int64]) -> list[NDArray[np.generic]]:
    """Returns the unscaled features of the given events, one array (num_events,) per feature."""
    return [feature_values(block, "events", setting.name, index=events) for setting in part.features]


def _fit_pass(source: _Source, samples: Sequence[SampleInfo], objects: _Part, event: _Part) -> None:
    """Fits the next stage of every chain on the training events."""
    settings = source.settings
    objects, event = objects.unfitted(), event.unfitted()
    wanted = required_columns(settings, objects.features, event.features)
    for sample in samples:
        for shard, block in source.blocks(sample, wanted):
            event_id = block.events["id"].astype(np.int64, copy=False)
            keep = event_splits(event_id, sample, settings) == TRAIN
            event_keys = hash_ids(event_id, salt=_FIT_SALT)
            if objects.features:
                selection = select_objects(block, settings, keep=keep)
                columns = _object_columns(block, selection, objects, settings.level)
                objects.check(columns, shard)
                objects.partial_fit(columns, _object_keys(event_keys, selection, objects.chains))
            columns = _event_columns(block, event, np.flatnonzero(keep))
            event.check(columns, shard)
            event.partial_fit(columns, event_keys[keep])
    for chain in (*objects.chains, *event.chains):
        chain.finish_pass()


def _object_keys(event_keys: NDArray[np.uint64], selection: Selection, chains: Sequence[Chain]) -> NDArray[np.uint64]:
    """Returns a hash of event and slot per object, or zeros where no chain asks for it."""
    if not any(chain.needs_keys for chain in chains):
        return np.zeros(len(selection.event), dtype=np.uint64)
    return hash_ids((event_keys[selection.event] + selection.slot.astype(np.uint64)).view(np.int64), salt=_FIT_SALT)


def _write_sample(
    source: _Source,
    sample: SampleInfo,
    files: Mapping[int, tuple[Path, int]],
    *,
    parts: tuple[_Part, _Part],
    spec: InputSpec,
) -> None:
    """Scales and writes the events of a sample; ``files`` has path and number of events of each split."""
    constants: dict[str, np.generic] = {
        "label": np.int8(sample.label_code),
        "process": np.int16(spec.processes.index(sample.process)),
        "generator": np.int16(spec.generators.index(sample.generator)),
        "signal_point": np.int16(signal_code(sample, spec)),
    }
    wanted = required_columns(source.settings, *(part.features for part in parts))
    with contextlib.ExitStack() as stack:
        writers = {
            split: stack.enter_context(ModelInputsWriter(path, num_events=num_events, spec=spec))
            for split, (path, num_events) in files.items()
        }
        for shard, block in source.blocks(sample, wanted):
            codes = event_splits(block.events["id"].astype(np.int64, copy=False), sample, source.settings)
            order = np.argsort(codes, kind="stable")
            selection = select_objects(block, source.settings)
            columns = _object_columns(block, selection, parts[0], source.settings.level)
            parts[0].check(columns, shard)
            of_event = _event_columns(block, parts[1], order)
            parts[1].check(of_event, shard)
            rows = _place_objects(selection, scale_columns(parts[0].chains, columns), order, spec=spec)
            rows["event"] = scale_columns(parts[1].chains, of_event, num_values=len(block))
            rows |= {"event_id": block.events["id"][order], "weight": block.events["weight"][order]}
            rows |= {name: np.full(len(block), value) for name, value in constants.items()}
            edges = np.cumsum([0, *np.bincount(codes, minlength=len(SPLITS))])
            for split, writer in writers.items():
                writer.append({name: values[edges[split] : edges[split + 1]] for name, values in rows.items()})


def _place_objects(
    selection: Selection, scaled: NDArray[np.float32], order: NDArray[np.int64], *, spec: InputSpec
) -> dict[str, NDArray[np.generic]]:
    """Returns objects and mask of a block with its events in the given order; 0 where there is no object."""
    row = np.empty_like(order)
    row[order] = np.arange(len(order))
    place = row[selection.event] * spec.num_objects + selection.slot
    objects = np.zeros((len(order) * spec.num_objects, spec.num_features), dtype=np.float32)
    objects[place] = scaled
    mask = np.zeros(len(order) * spec.num_objects, dtype=np.bool_)
    mask[place] = True
    return {
        "objects": objects.reshape(len(order), spec.num_objects, spec.num_features),
        "mask": mask.reshape(len(order), spec.num_objects),
    }

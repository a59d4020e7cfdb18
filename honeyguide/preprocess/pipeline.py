"""From event-store shards to model inputs: divide, fit on the training events alone, scale and write."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import EventBlock
from honeyguide.data.input_spec import InputSpec
from honeyguide.data.model_inputs import ModelInputsWriter, write_spec
from honeyguide.data.sample import SampleInfo
from honeyguide.data.splits import SPLITS, TRAIN, hash_ids
from honeyguide.preprocess.blocks import (
    FIT_SALT,
    Counter,
    Part,
    Progress,
    Source,
    events_to_do,
    sample_columns,
    split_files,
    training_samples,
)
from honeyguide.preprocess.census import check_training, count_events, event_splits, split_ids
from honeyguide.preprocess.chain import Chain, scale_columns
from honeyguide.preprocess.derived import feature_values
from honeyguide.preprocess.rows import preprocess_rows
from honeyguide.preprocess.select import Selection, required_columns, select_objects
from honeyguide.preprocess.settings import PreprocessSettings, locate_feature
from honeyguide.preprocess.spec import build_scalers, build_spec, reuse_fit


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
    if settings.level == "row":
        preprocess_rows(shards, folder, samples=samples, settings=settings, progress=progress, fitted=fitted)
        return
    counts = count_events(shards, samples, settings)
    if fitted is None:
        check_training(counts, samples)
        scalers, spec = build_scalers(settings), build_spec(settings, samples)
    else:
        scalers, spec = reuse_fit(fitted, settings, samples)
    parts = Part(settings.object_features, scalers.objects), Part(settings.event_features, scalers.event)
    passes = 0 if fitted else max(chain.num_passes for part in parts for chain in part.chains)
    source = Source(shards, settings, Counter(progress, events_to_do(samples, counts, passes=passes)))
    for _ in range(passes):
        _fit_pass(source, training_samples(samples, counts), *parts)
    scalers.write(folder)
    write_spec(folder, spec)
    for sample in samples:
        _write_sample(source, sample, split_files(folder, sample, counts), parts=parts, spec=spec)


def _object_columns(block: EventBlock, selection: Selection, part: Part, level: str) -> list[NDArray[np.generic]]:
    """Returns the unscaled features of the selected objects, one array (num_objects,) per feature."""
    columns = []
    for setting in part.features:
        collection, feature = locate_feature(setting.name, level)
        index = selection.jet if collection == "jets" and selection.jet is not None else selection.index
        columns.append(feature_values(block, collection, feature.name, index=index, jet=selection.jet))
    return columns


def _event_columns(block: EventBlock, part: Part, events: NDArray[np.int64]) -> list[NDArray[np.generic]]:
    """Returns the unscaled features of the given events, one array (num_events,) per feature."""
    return [feature_values(block, "events", setting.name, index=events) for setting in part.features]


def _fit_pass(source: Source, samples: Sequence[SampleInfo], objects: Part, event: Part) -> None:
    """Fits the next stage of every chain on the training events."""
    settings = source.settings
    objects, event = objects.unfitted(), event.unfitted()
    wanted = required_columns(settings, objects.features, event.features)
    for sample in samples:
        for shard, block in source.blocks(sample, wanted):
            event_id = block.events["id"].astype(np.int64, copy=False)
            keep = event_splits(split_ids(block), sample, settings) == TRAIN
            event_keys = hash_ids(event_id, salt=FIT_SALT)
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
    return hash_ids((event_keys[selection.event] + selection.slot.astype(np.uint64)).view(np.int64), salt=FIT_SALT)


def _write_sample(
    source: Source,
    sample: SampleInfo,
    files: Mapping[int, tuple[Path, int]],
    *,
    parts: tuple[Part, Part],
    spec: InputSpec,
) -> None:
    """Scales and writes the events of a sample; ``files`` has path and number of events of each split."""
    wanted = required_columns(source.settings, *(part.features for part in parts))
    with contextlib.ExitStack() as stack:
        writers = {
            split: stack.enter_context(ModelInputsWriter(path, num_events=num_events, spec=spec))
            for split, (path, num_events) in files.items()
        }
        for shard, block in source.blocks(sample, wanted):
            codes = event_splits(split_ids(block), sample, source.settings)
            order = np.argsort(codes, kind="stable")
            selection = select_objects(block, source.settings)
            columns = _object_columns(block, selection, parts[0], source.settings.level)
            parts[0].check(columns, shard)
            of_event = _event_columns(block, parts[1], order)
            parts[1].check(of_event, shard)
            rows = _place_objects(selection, scale_columns(parts[0].chains, columns), order, spec=spec)
            rows["event"] = scale_columns(parts[1].chains, of_event, num_values=len(block))
            rows |= {"event_id": block.events["id"][order], "weight": block.events["weight"][order]}
            rows |= sample_columns(sample, spec, len(block))
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

"""Objects of events to model inputs: select, fit on the training events alone, scale and write."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import EventBlock
from honeyguide.data.input_spec import InputSpec
from honeyguide.data.model_inputs import ModelInputsWriter
from honeyguide.data.sample import SampleInfo
from honeyguide.data.splits import SPLITS, TRAIN, hash_ids
from honeyguide.preprocess.blocks import FIT_SALT, Part, Source, sample_columns
from honeyguide.preprocess.census import event_splits, split_ids
from honeyguide.preprocess.chain import Chain, Scalers, scale_columns
from honeyguide.preprocess.derived import feature_values
from honeyguide.preprocess.select import Selection, required_columns, select_objects
from honeyguide.preprocess.settings import PreprocessSettings, locate_feature


@dataclass(frozen=True)
class ObjectLevel:
    """Levels ``event``, ``jet`` and ``constituent``: features of objects and of their event; see :class:`Level`."""

    objects: Part
    event: Part
    spec: InputSpec

    @classmethod
    def of(cls, settings: PreprocessSettings, scalers: Scalers, spec: InputSpec) -> ObjectLevel:
        """Returns the level with the chains of ``scalers``."""
        objects = Part(settings.object_features, scalers.objects)
        return cls(objects, Part(settings.event_features, scalers.event), spec)

    @property
    def chains(self) -> list[Chain]:
        """The chains of everything."""
        return [*self.objects.chains, *self.event.chains]

    def fit_pass(self, source: Source, samples: Sequence[SampleInfo]) -> None:
        """Fits the next stage of every chain on the training events."""
        _fit_pass(source, samples, self.objects, self.event)

    def write(self, source: Source, sample: SampleInfo, files: Mapping[int, tuple[Path, int]]) -> None:
        """Scales and writes the events of a sample; ``files`` has path and number of events of each split."""
        _write_sample(source, sample, files, parts=(self.objects, self.event), spec=self.spec)


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

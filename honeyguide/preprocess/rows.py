"""Rows of event-store shards to model inputs: own features, padded sets of objects, truth, targets, observers."""

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
from honeyguide.errors import DataError
from honeyguide.preprocess.blocks import FIT_SALT, Part, Source, sample_columns
from honeyguide.preprocess.census import event_splits, split_ids
from honeyguide.preprocess.chain import Chain, Scalers, check_finite, scale_columns
from honeyguide.preprocess.row_sets import set_columns, set_objects
from honeyguide.preprocess.row_store import Truths
from honeyguide.preprocess.settings import PreprocessSettings

Columns = dict[str, NDArray[np.generic]]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class RowLevel:
    """Level ``row``: own features, sets of objects, truth, targets, observers; see :class:`Level`.

    Scalers are fitted on objects that are there and are kept. Rows of one group are in one split.
    """

    parts: _Parts
    target: _Target

    @classmethod
    def of(cls, settings: PreprocessSettings, scalers: Scalers, spec: InputSpec, truths: Truths) -> RowLevel:
        """Returns the level with the chains of ``scalers``."""
        return cls(_Parts.of(settings, scalers), _Target(spec, truths.codes(spec.truths)))

    @property
    def chains(self) -> list[Chain]:
        """The chains of everything."""
        return self.parts.chains

    def fit_pass(self, source: Source, samples: Sequence[SampleInfo]) -> None:
        """Fits the next stage of every chain on the training rows.

        Raises:
            DataError: A value is not finite.
        """
        _fit_pass(source, samples, self.parts)

    def write(self, source: Source, sample: SampleInfo, files: Mapping[int, tuple[Path, int]]) -> None:
        """Scales and writes the rows of a sample; ``files`` has path and number of rows of each split.

        Raises:
            DataError: A row has no truth, or a value is not finite.
        """
        _write_sample(source, sample, files, parts=self.parts, target=self.target)


@dataclass(frozen=True)
class _Parts:
    """Features of the rows themselves, what is to be predicted of them, and features of the objects of each set."""

    rows: Mapping[str, Part]
    sets: Mapping[str, Part]

    @classmethod
    def of(cls, settings: PreprocessSettings, scalers: Scalers) -> _Parts:
        rows = {"event": Part(settings.event_features, scalers.event)}
        if settings.targets:
            rows["targets"] = Part(settings.targets, scalers.targets)
        sets = {name: Part(item.all_features, scalers.sets[name]) for name, item in settings.sets.items()}
        return cls(rows, sets)

    @property
    def chains(self) -> list[Chain]:
        """The chains of everything."""
        return [chain for part in (*self.rows.values(), *self.sets.values()) for chain in part.chains]

    def unfitted(self) -> _Parts:
        sets = {name: part.unfitted() for name, part in self.sets.items()}
        rows = {name: part.unfitted() for name, part in self.rows.items()}
        return _Parts(rows, {name: part for name, part in sets.items() if part.features})

    def required_columns(
        self, settings: PreprocessSettings, *further: str, vectors: bool = False
    ) -> dict[str, list[str]]:
        """Returns the stored columns that the features need, by collection; ``further`` ones are of the rows."""
        wanted = {"events": [*(feature.name for part in self.rows.values() for feature in part.features), *further]}
        for name, part in self.sets.items():
            columns, of_rows = set_columns(settings, name, part.features, vectors=vectors)
            wanted["events"] += of_rows
            wanted.setdefault(settings.sets[name].collection or name, []).extend(columns)
        return wanted


@dataclass(frozen=True)
class _Target:
    """What is written: the specification, and per shard the codes of truths in it."""

    spec: InputSpec
    codes: Mapping[Path, NDArray[np.int16]]


def _fit_pass(source: Source, samples: Sequence[SampleInfo], parts: _Parts) -> None:
    """Fits the next stage of every chain on the training rows."""
    settings, parts = source.settings, parts.unfitted()
    for sample in samples:
        for shard, block in source.blocks(sample, parts.required_columns(settings)):
            rows = np.flatnonzero(event_splits(split_ids(block), sample, settings) == TRAIN)
            keys = hash_ids(block.events["id"].astype(np.int64, copy=False), salt=FIT_SALT)
            for part in parts.rows.values():
                own = [block.events[feature.name][rows] for feature in part.features]
                part.check(own, shard)
                part.partial_fit(own, keys[rows])
            for name, part in parts.sets.items():
                objects = set_objects(block, settings, name, part.features, rows, vectors=False, where=shard)
                part.check(objects.columns, shard)
                object_ids = (keys[rows][objects.place] + objects.slot.view(np.uint64)).view(np.int64)
                part.partial_fit(objects.columns, hash_ids(object_ids, salt=FIT_SALT))
    for chain in parts.chains:
        chain.finish_pass()


def _write_sample(
    source: Source,
    sample: SampleInfo,
    files: Mapping[int, tuple[Path, int]],
    *,
    parts: _Parts,
    target: _Target,
) -> None:
    """Scales and writes the rows of a sample; ``files`` has path and number of rows of each split."""
    settings, spec = source.settings, target.spec
    truth = ("truth",) if spec.truths else ()
    further = (settings.pt_column, settings.eta_column, *settings.observers, *truth)
    wanted = parts.required_columns(settings, *further, vectors=True)
    with contextlib.ExitStack() as stack:
        writers = {
            split: stack.enter_context(ModelInputsWriter(path, num_events=num_rows, spec=spec))
            for split, (path, num_rows) in files.items()
        }
        for shard, block in source.blocks(sample, wanted):
            splits = event_splits(split_ids(block), sample, settings)
            order = np.argsort(splits, kind="stable")
            arrays = _scaled(block, order, parts, settings, shard)
            arrays |= _unscaled(block, order, settings, shard) | sample_columns(sample, spec, len(block))
            arrays |= {"event_id": block.events["id"][order], "weight": block.events["weight"][order]}
            arrays |= {"group": split_ids(block)[order], "truth": _truth(block, target.codes[shard], shard)[order]}
            edges = np.cumsum([0, *np.bincount(splits, minlength=len(SPLITS))])
            for split, writer in writers.items():
                writer.append({name: values[edges[split] : edges[split + 1]] for name, values in arrays.items()})


def _scaled(block: EventBlock, order: Indices, parts: _Parts, settings: PreprocessSettings, shard: Path) -> Columns:
    """Returns what models see of a block with its rows in this order: of the rows and of the objects of each set."""
    arrays: Columns = {
        "objects": np.zeros((len(order), 0, 0), np.float32),
        "mask": np.zeros((len(order), 0), np.bool_),
    }
    for name, part in parts.rows.items():
        own = [block.events[feature.name][order] for feature in part.features]
        arrays[name] = _scale(part, own, shard, num_values=len(order))
    for name, part in parts.sets.items():
        size = settings.sets[name].size
        objects = set_objects(block, settings, name, part.features, order, vectors=True, where=shard)
        there = np.ones(len(objects.place), np.bool_)
        arrays[f"{name}/features"] = objects.padded(_scale(part, objects.columns, shard), len(order), size)
        arrays[f"{name}/mask"] = objects.padded(there, len(order), size)
        if objects.vectors is not None:
            arrays[f"{name}/vectors"] = objects.padded(objects.vectors, len(order), size)
    return arrays


def _scale(
    part: Part, columns: Sequence[NDArray[np.generic]], shard: Path, *, num_values: int | None = None
) -> NDArray[np.float32]:
    part.check(columns, shard)
    with np.errstate(over="ignore"):
        scaled = scale_columns(part.chains, columns, num_values=num_values)
    if not np.isfinite(scaled).all():
        names = [chain.feature for chain in part.chains for _ in range(chain.num_outputs)]
        raise DataError(
            "scaled values are too large for single precision",
            where=shard,
            got=", ".join(dict.fromkeys(np.array(names)[~np.isfinite(scaled).all(axis=0)].tolist())),
            hint="give the feature a scaler that bounds it, such as log+standard or quantile",
        )
    return scaled


def _unscaled(block: EventBlock, order: Indices, settings: PreprocessSettings, shard: Path) -> Columns:
    """Returns pt and eta of the rows, and their observers side by side."""
    axes = (("pt", settings.pt_column), ("eta", settings.eta_column))
    arrays: Columns = {name: _float32(block, column, order, shard) for name, column in axes}
    if settings.observers:
        arrays["observers"] = np.stack([_float32(block, name, order, shard) for name in settings.observers], axis=1)
    return arrays


def _float32(block: EventBlock, column: str, order: Indices, shard: Path) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        values: NDArray[np.float32] = block.events[column][order].astype(np.float32)
    check_finite(values, column, where=shard)
    return values


def _truth(block: EventBlock, codes: NDArray[np.int16], shard: Path) -> NDArray[np.int16]:
    """Returns the codes in ``InputSpec.truths`` of a block's rows, -1 where there are no truths."""
    if not len(codes):
        return np.full(len(block), -1, np.int16)
    stored = block.events["truth"]
    if stored.min() < 0 or stored.max() >= len(codes):
        raise DataError(
            "there are rows without truth",
            where=shard,
            got=f"codes from {stored.min()} to {stored.max()}",
            allowed=f"0 to {len(codes) - 1}",
            hint="let the reader drop them: a row without truth is of no class",
        )
    spread: NDArray[np.int16] = codes[stored]
    return spread

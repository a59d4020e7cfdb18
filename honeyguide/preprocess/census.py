"""Counts events per sample and split before anything is fitted or written, and makes sure that ids are unique."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import ROW_BITS
from honeyguide.data.sample import SampleInfo
from honeyguide.data.splits import SPLITS, TRAIN, split_codes
from honeyguide.errors import DataError, nearest_name
from honeyguide.io.event_store import EventStore
from honeyguide.preprocess.settings import PreprocessSettings

_BLOCK = 1 << 18


def count_events(
    shards: Mapping[str, Sequence[Path]], samples: Sequence[SampleInfo], settings: PreprocessSettings
) -> dict[str, dict[int, int]]:
    """Returns the number of events by sample name and split (index into ``SPLITS``), without splits that have none.

    Raises:
        DataError: Shards and samples don't match, a sample is empty, or an event id occurs twice.
    """
    check_samples(shards, samples)
    owners: dict[int, Path] = {}
    counts: dict[str, dict[int, int]] = {}
    for sample in samples:
        found = np.zeros(len(SPLITS), dtype=np.int64)
        for shard in shards[sample.name]:
            for event_id in _ids(shard, sample, owners):
                found += np.bincount(event_splits(event_id, sample, settings), minlength=len(SPLITS))
        if not found.sum():
            raise DataError(
                f"sample '{sample.name}' has no events",
                where=", ".join(map(str, shards[sample.name])) or "no shard",
                hint="were all of them rejected or cut away when the dataset was built?",
            )
        counts[sample.name] = {split: number for split, number in enumerate(found.tolist()) if number}
    return counts


def check_training(counts: Mapping[str, Mapping[int, int]], samples: Sequence[SampleInfo]) -> None:
    """Checks that there are events for training.

    Raises:
        DataError: There are none.
    """
    if not any(TRAIN in of_sample for of_sample in counts.values()):
        raise DataError(
            "no event is for training",
            got=", ".join(f"{sample.name} ({sample.label}, split: {sample.split})" for sample in samples),
            hint="at least one sample needs split: hash or train",
        )


def event_splits(event_id: NDArray[np.int64], sample: SampleInfo, settings: PreprocessSettings) -> NDArray[np.int8]:
    """Returns the split of each event of a sample, as an index into ``SPLITS``."""
    return split_codes(
        event_id,
        validation=settings.validation_fraction,
        test=settings.test_fraction,
        rule=sample.split,
        salt=settings.split_salt,
    )


def check_samples(shards: Mapping[str, Sequence[Path]], samples: Sequence[SampleInfo]) -> None:
    """Checks that the shards belong to the samples, one to one.

    Raises:
        DataError: A sample has no shards, is given twice, or shards belong to no sample.
    """
    names = [sample.name for sample in samples]
    for name in names:
        if name not in shards or names.count(name) > 1:
            what = "is given twice" if names.count(name) > 1 else "has no shards"
            raise DataError(f"sample '{name}' {what}", allowed=", ".join(shards), nearest=nearest_name(name, shards))
    for name in shards:
        if name not in names:
            raise DataError(
                f"the shards of '{name}' belong to no sample",
                allowed=", ".join(names),
                nearest=nearest_name(name, names),
            )


def _ids(shard: Path, sample: SampleInfo, owners: dict[int, Path]) -> Iterator[NDArray[np.int64]]:
    """Yields the ids of a shard in blocks, after checking that they are of the sample and that none occurred before."""
    with EventStore(shard) as store:
        _check_truth(store, sample)
        yield from _unique_ids(store, owners)


def _check_truth(store: EventStore, sample: SampleInfo) -> None:
    for name in ("process", "generator", "label", "signal_name"):
        stored, given = getattr(store.sample, name), getattr(sample, name)
        if stored != given:
            raise DataError(
                f"a shard of sample '{sample.name}' was written for another {name.removesuffix('_name')}",
                where=store.path,
                got=stored,
                allowed=given,
                hint="build the dataset again with the present description of the sample",
            )


def _unique_ids(store: EventStore, owners: dict[int, Path]) -> Iterator[NDArray[np.int64]]:
    shard, last = store.path, -1
    for block in store.iter_blocks(_BLOCK, columns={"events": ["id"]}):
        event_id = block.events["id"].astype(np.int64, copy=False)
        keys = event_id >> ROW_BITS
        new_file = np.diff(keys, prepend=last >> ROW_BITS) != 0
        for key in keys[new_file].tolist():
            if key in owners:
                raise _repeated(key, shard, owners[key])
            owners[key] = shard
        # within a file the rows ascend, so that one comparison with the event before finds every repetition
        repeated = ~new_file & (np.diff(event_id, prepend=last) <= 0)
        if repeated.any():
            raise _repeated(int(keys[repeated][0]), shard, shard)
        last = int(event_id[-1])
        yield event_id


def _repeated(key: int, shard: Path, other: Path) -> DataError:
    return DataError(
        "two events have the same id",
        where=shard,
        got=f"events of the source file with key {key} are also in {other}" if other != shard else f"key {key}",
        hint="is a source file listed twice, or are two of them byte-identical?",
    )

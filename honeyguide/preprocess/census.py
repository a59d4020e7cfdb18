"""Counts events per sample and split before anything is fitted or written, and makes sure that ids are unique."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import ROW_BITS, EventBlock
from honeyguide.data.sample import SampleInfo
from honeyguide.data.splits import SPLITS, TRAIN, split_codes
from honeyguide.errors import DataError, nearest_name
from honeyguide.io.event_store import EventStore
from honeyguide.preprocess.settings import PreprocessSettings

_BLOCK = 1 << 18
_Owners = dict[int, list[tuple[int, int, Path]]]  # by key of the source file: first and last ids, and their shard


def count_events(
    shards: Mapping[str, Sequence[Path]], samples: Sequence[SampleInfo], settings: PreprocessSettings
) -> dict[str, dict[int, int]]:
    """Returns the number of events by sample name and split (index into ``SPLITS``), without splits that have none.

    Samples of rows may be empty, as long as not all are.

    Raises:
        DataError: Shards and samples don't match, a sample is empty, or an event id occurs twice.
    """
    check_samples(shards, samples)
    owners: _Owners = {}
    counts: dict[str, dict[int, int]] = {}
    for sample in samples:
        counts[sample.name] = _count(shards[sample.name], sample, settings, owners)
        if not counts[sample.name] and settings.level != "row":
            raise _empty(f"sample '{sample.name}' has no events", shards[sample.name])
    if not any(counts.values()):
        raise _empty("no sample has any row", [shard for sample in samples for shard in shards[sample.name]])
    return counts


def count_splits(shards: Sequence[Path], sample: SampleInfo, settings: PreprocessSettings) -> dict[int, int]:
    """Returns the number of events in some shards of a sample by split, without splits that have none.

    Raises:
        DataError: An event id occurs twice.
    """
    return _count(shards, sample, settings, {})


def _count(shards: Sequence[Path], sample: SampleInfo, settings: PreprocessSettings, owners: _Owners) -> dict[int, int]:
    found = np.zeros(len(SPLITS), dtype=np.int64)
    for shard in shards:
        for split_id in _ids(shard, sample, owners):
            found += np.bincount(event_splits(split_id, sample, settings), minlength=len(SPLITS))
    return {split: number for split, number in enumerate(found.tolist()) if number}


def _empty(what: str, shards: Sequence[Path]) -> DataError:
    return DataError(
        what,
        where=", ".join(map(str, shards)) or "no shard",
        hint="were all of them rejected or cut away when the dataset was built?",
    )


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


def split_ids(block: EventBlock) -> NDArray[np.int64]:
    """Returns what the splits are decided by: the group of each event where the store has groups, else its id."""
    return block.events.get("group", block.events["id"]).astype(np.int64, copy=False)


def split_columns(store: EventStore) -> list[str]:
    """Returns the columns of the events that :func:`split_ids` needs beside their id."""
    return ["group"] if "group" in store.columns.get("events", ()) else []


def event_splits(split_id: NDArray[np.int64], sample: SampleInfo, settings: PreprocessSettings) -> NDArray[np.int8]:
    """Returns the split of each event of a sample, as an index into ``SPLITS``; see :func:`split_ids`."""
    return split_codes(
        split_id,
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


def _ids(shard: Path, sample: SampleInfo, owners: _Owners) -> Iterator[NDArray[np.int64]]:
    """Yields what decides the splits of a shard's events, in blocks.

    Before, it checks that they are of the sample and that none of their ids occurred before.
    """
    with EventStore(shard) as store:
        _check_truth(store, sample)
        columns = {"events": ["id", *split_columns(store)]}
        for block in store.iter_blocks(_BLOCK, columns=columns) if store.num_events else ():
            _add_ids(block.events["id"].astype(np.int64, copy=False), shard, owners)
            yield split_ids(block)


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


def _add_ids(event_id: NDArray[np.int64], shard: Path, owners: _Owners) -> None:
    """Adds the ids of a block to those before, after checking that none of them is among those.

    Rows of a source file stand together in a shard and ascend, so that their first and last ids are enough; several
    shards may have parts of a file.
    """
    keys = event_id >> ROW_BITS
    new_file = np.diff(keys) != 0
    repeated = ~new_file & (np.diff(event_id) <= 0)
    if repeated.any():
        raise _repeated(int(keys[1:][repeated][0]), shard, shard)
    starts = np.append(0, np.flatnonzero(new_file) + 1)
    stops = np.append(starts[1:], len(event_id))
    for first, last in zip(event_id[starts].tolist(), event_id[stops - 1].tolist(), strict=True):
        ranges = owners.setdefault(first >> ROW_BITS, [])
        for low, high, owner in ranges:
            if first <= high and low <= last:
                raise _repeated(first >> ROW_BITS, shard, owner)
        ranges.append((first, last, shard))


def _repeated(key: int, shard: Path, other: Path) -> DataError:
    return DataError(
        "two events have the same id",
        where=shard,
        got=f"events of the source file with key {key} are also in {other}" if other != shard else f"key {key}",
        hint="is a source file listed twice, or are two of them byte-identical?",
    )

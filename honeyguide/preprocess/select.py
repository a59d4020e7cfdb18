"""Which objects of each event a model sees: ordered, truncated, and where they go; no Python per event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import Collection, EventBlock
from honeyguide.errors import DataError
from honeyguide.preprocess.derived import SOURCES, feature_values
from honeyguide.preprocess.settings import FeatureSetting, PreprocessSettings, locate_feature

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """The objects of a block that a model sees, ordered by event and slot.

    Attributes:
        event: Event of each object in the block, (num_objects,).
        slot: Place of each object among those of its event, 0 ... spec.num_objects - 1; where jets have fewer
            constituents than are kept, slots stay free.
        index: Place of each object in its collection.
        jet: Jet that the object is or belongs to; None at level event.
    """

    event: Indices
    slot: Indices
    index: Indices
    jet: Indices | None


def select_objects(
    block: EventBlock, settings: PreprocessSettings, *, keep: NDArray[np.bool_] | None = None
) -> Selection:
    """Returns the objects that a model sees of the events of a block.

    Args:
        block: Events with the columns that :func:`required_columns` names.
        settings: Level, numbers and ordering.
        keep: True for events whose objects are wanted, (num_events,); all where it is None.

    Raises:
        DataError: The block lacks a collection.
    """
    if settings.level == "event":
        event = np.arange(len(block)) if keep is None else np.flatnonzero(keep)
        return Selection(event=event, slot=np.zeros_like(event), index=event, jet=None)
    jets = find_collection(block, "jets")
    order = _ordering_values(block, "jets", settings.jet_ordering)
    parents = np.arange(len(block)) if keep is None else np.flatnonzero(keep)
    parent, rank, jet = leading(order, jets, parents=parents, limit=settings.num_jets)
    event = parents[parent]
    if settings.level == "jet":
        return Selection(event=event, slot=rank, index=jet, jet=jet)
    constituents = find_collection(block, "constituents")
    order = _ordering_values(block, "constituents", settings.constituent_ordering)
    parent, inner, index = leading(order, constituents, parents=jet, limit=settings.num_constituents)
    slot = rank[parent] * settings.num_constituents + inner
    return Selection(event=event[parent], slot=slot, index=index, jet=jet[parent])


def required_columns(
    settings: PreprocessSettings, features: Sequence[FeatureSetting], event_features: Sequence[FeatureSetting]
) -> dict[str, list[str]]:
    """Returns the columns of the event store, by collection, that the given features need and the selection with them.

    ``id`` and ``weight`` of the events are among them.
    """
    located = [locate_feature(setting.name, settings.level) for setting in features]
    located += [locate_feature(setting.name, "event") for setting in event_features]
    names = [(collection, feature.name) for collection, feature in located]
    if features and settings.level != "event":
        names.append(("jets", settings.jet_ordering))
    if features and settings.level == "constituent":
        names.append(("constituents", settings.constituent_ordering))
    needed: dict[str, set[str]] = {"events": {"id", "weight"}}
    for collection, name in names:
        for source, columns in SOURCES.get((collection, name), {collection: (name,)}).items():
            needed.setdefault(source, set()).update(columns)
    if "constituents" in needed:
        needed.setdefault("jets", set())
    return {collection: sorted(columns) for collection, columns in needed.items()}


def leading(
    order: NDArray[np.generic] | None, collection: Collection, *, parents: Indices, limit: int
) -> tuple[Indices, Indices, Indices]:
    """Returns the first ``limit`` objects of each of the given parents, largest ``order`` first, stable.

    Args:
        order: Values by which the objects are ordered, (num_objects,); None keeps their order.
        collection: Says which objects belong to which parent.
        parents: Parents whose objects are wanted, (num_parents,).
        limit: Objects per parent at most.

    Returns:
        Place of the parent in ``parents``, rank among its objects, and place in the collection, for each object,
        ordered by parent and rank.
    """
    counts = collection.counts[parents]
    first = collection.offsets[:-1][parents] - collection.offsets[0]
    kept = np.minimum(counts, limit)
    parent, rank = _ranges(kept)
    if order is None:
        return parent, rank, first[parent] + rank
    index = np.empty(len(parent), dtype=np.int64)
    start = np.cumsum(kept) - kept
    keys = _descending(order)
    for rows, width in _by_width(counts):
        column = np.arange(min(width, limit))
        position = _ranked(keys, first[rows], counts[rows], width)[:, : len(column)]
        there = column < kept[rows, None]
        index[(start[rows, None] + column)[there]] = (first[rows, None] + position)[there]
    return parent, rank, index


def _by_width(counts: Indices) -> Iterator[tuple[Indices, int]]:
    """Yields the places of the counts in (0, 8], (8, 16], (16, 32], ... and the upper end of each."""
    low, width = 0, 8
    while low < counts.max(initial=0):
        rows = np.flatnonzero((counts > low) & (counts <= width))
        if len(rows):
            yield rows, width
        low, width = width, 2 * width


def _ranked(keys: NDArray[np.uint64], first: Indices, counts: Indices, width: int) -> Indices:
    """Returns the positions 0 ... count - 1 of each parent's objects in ascending order of key, padded to a table.

    Sorting short rows of (key, position) is several times as fast as sorting all objects of a block at once: the rows
    fit into registers.
    """
    column = np.arange(width)
    there = column < counts[:, None]
    table = np.full(there.shape, np.iinfo(np.uint64).max)
    table[there] = keys[(first[:, None] + column)[there]]
    table |= column.astype(np.uint64)
    table.sort(axis=1)
    return (table & np.uint64(0xFFFFFFFF)).view(np.int64)


def find_collection(block: EventBlock, name: str) -> Collection:
    """Returns a collection of the block.

    Raises:
        DataError: The events have no such collection.
    """
    if name not in block.collections:
        raise DataError(
            f"the events have no {name}", allowed=", ".join(block.collections) or "nothing", hint="choose another level"
        )
    return block.collections[name]


def _ordering_values(block: EventBlock, collection: str, name: str) -> NDArray[np.generic]:
    objects = find_collection(block, collection)
    if name in objects.columns:
        return objects.columns[name]
    jet, _ = _ranges(objects.counts)
    return feature_values(block, collection, name, index=np.arange(len(objects)), jet=jet)


def _ranges(counts: Indices) -> tuple[Indices, Indices]:
    """Returns 0 0 0 1 2 2 ... and 0 1 2 0 0 1 ... for the counts 3 1 2 ...."""
    group = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(group))
    within -= np.repeat(np.cumsum(counts) - counts, counts)
    return group, within


def _descending(values: NDArray[np.generic]) -> NDArray[np.uint64]:
    """Returns integers whose ascending order is the descending order of the values as float32; the low half is free."""
    bits = (values.astype(np.float32) + np.float32(0.0)).view(np.uint32)  # + 0 makes -0 equal to 0
    negative = bits >> np.uint32(31) != 0
    ascending = np.where(negative, bits, ~bits & np.uint32(0x7FFFFFFF))
    return ascending.astype(np.uint64) << np.uint64(32)

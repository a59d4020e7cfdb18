"""The objects of one set of the rows: which are kept, their features, stored and computed, and their four-momenta."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import Collection, EventBlock
from honeyguide.data.particles import momentum_features
from honeyguide.preprocess.chain import check_finite
from honeyguide.preprocess.select import leading
from honeyguide.preprocess.settings import FeatureSetting, PreprocessSettings, SetSettings

Indices = NDArray[np.int64]
Column = NDArray[np.generic]


@dataclass(frozen=True)
class SetObjects:
    """Objects that are kept, ordered by row and slot.

    Attributes:
        place: Row of each object, as its place among the rows that were asked for, (num_objects,).
        slot: Rank of each object in its row.
        columns: One array (num_objects,) per feature, not scaled.
        vectors: Four-momenta (num_objects, 4), float32; None where they are not wanted.
    """

    place: Indices
    slot: Indices
    columns: list[Column]
    vectors: NDArray[np.float32] | None

    def padded(self, values: Column, num_rows: int, size: int) -> Column:
        """Returns values (num_objects, ...) in their slots, (num_rows, size, ...), 0 where there is no object."""
        slots = np.zeros((num_rows * size, *values.shape[1:]), values.dtype)
        slots[self.place * size + self.slot] = values
        return slots.reshape(num_rows, size, *values.shape[1:])


def set_columns(
    settings: PreprocessSettings, name: str, features: Sequence[FeatureSetting], *, vectors: bool
) -> tuple[list[str], list[str]]:
    """Returns the stored columns of the collection, and of the rows, that features of a set need."""
    item = settings.sets[name]
    computed = {feature.name: feature.column for feature in item.computed}
    names = [computed.get(feature.name, feature.name) for feature in features]
    momenta = vectors or None in names
    columns = [column for column in names if column is not None]
    columns += [*(item.vectors or ())] if momenta else []
    columns += [] if item.order is None else [item.order]
    return columns, list(_jet_columns(settings).values()) if None in names else []


def set_objects(
    block: EventBlock,
    settings: PreprocessSettings,
    name: str,
    features: Sequence[FeatureSetting],
    rows: Indices,
    *,
    vectors: bool,
    where: Path,
) -> SetObjects:
    """Returns the objects of the given rows.

    Args:
        block: Rows with the columns of :func:`set_columns`.
        settings: The sets, and the rows' columns.
        name: The set.
        features: Those of its features that are wanted.
        rows: Rows whose objects are wanted.
        vectors: Whether four-momenta are wanted, if the set has any.
        where: The shard, for errors.

    Raises:
        DataError: A four-momentum is not finite.
    """
    item = settings.sets[name]
    collection = block.collections[item.collection or name]
    order = None if item.order is None else collection.columns[item.order]
    place, slot, index = leading(order, collection, parents=rows, limit=item.size)
    made_of = {feature.name: feature.column for feature in item.computed}
    of_momenta = {feature.name for feature in features if made_of.get(feature.name, "") is None}
    four = _vectors(collection, item, index, where) if (vectors or of_momenta) and item.vectors else None
    computed: dict[str, Column] = {}
    if of_momenta and four is not None:
        jet = {axis: block.events[column][rows][place] for axis, column in _jet_columns(settings).items()}
        computed |= momentum_features(four, jet)
    for feature in item.computed:
        if feature.column is not None and feature.column in collection.columns:
            values = collection.columns[feature.column][index]
            computed[feature.name] = np.tanh(values) if feature.bounded else values
    columns = [
        computed[feature.name] if feature.name in made_of else collection.columns[feature.name][index]
        for feature in features
    ]
    return SetObjects(place, slot, columns, four)


def _jet_columns(settings: PreprocessSettings) -> dict[str, str]:
    axes = ("pt", "eta", "phi", "energy")
    return {axis: getattr(settings, f"{axis}_column") for axis in axes}


def _vectors(collection: Collection, item: SetSettings, index: Indices, where: Path) -> NDArray[np.float32]:
    """Returns the four-momenta of the given objects."""
    found = np.empty((len(index), 4), np.float32)
    for axis, column in enumerate(item.vectors or ()):
        with np.errstate(over="ignore"):
            found[:, axis] = collection.columns[column][index]
        check_finite(found[:, axis], column, where=where)
    return found

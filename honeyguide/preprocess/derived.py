"""Features that are computed from stored columns when model inputs are made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import EventBlock
from honeyguide.data.features import PDG_CLASSES
from honeyguide.data.particles import wrap_angle
from honeyguide.errors import DataError, nearest_name

SOURCES: Mapping[tuple[str, str], Mapping[str, tuple[str, ...]]] = {
    ("events", "num_jets"): {"jets": ()},
    ("jets", "num_constituents"): {"constituents": ()},
    ("constituents", "delta_eta"): {"constituents": ("eta",), "jets": ("eta",)},
    ("constituents", "delta_phi"): {"constituents": ("phi",), "jets": ("phi",)},
    ("constituents", "pt_fraction"): {"constituents": ("pt",), "jets": ("pt",)},
    ("constituents", "pdg_class"): {"constituents": ("pdg_id",)},
}
"""Stored columns behind each derived feature, by collection and name of the feature."""

_TABLE_SIZE = 10_000
_UP_CHARGE, _DOWN_CHARGE = 2, -1  # thirds of the elementary charge


def feature_values(
    block: EventBlock, collection: str, name: str, *, index: NDArray[np.int64], jet: NDArray[np.int64] | None = None
) -> NDArray[np.generic]:
    """Returns a stored or derived feature of chosen objects, shape (num_objects,).

    Args:
        block: The events.
        collection: ``events``, ``jets`` or ``constituents``.
        name: Feature of that collection.
        index: Places of the objects in the collection.
        jet: Jet of each object, for features of constituents that refer to it.

    Raises:
        DataError: The events lack the column.
    """
    if (collection, name) not in SOURCES:
        return _stored(block, collection, name)[index]
    if name == "num_jets":
        return _counts(block, "jets")[index]
    if name == "num_constituents":
        return _counts(block, "constituents")[index]
    if name == "pdg_class":
        return pdg_classes(_stored(block, "constituents", "pdg_id")[index])
    column = {"delta_eta": "eta", "delta_phi": "phi", "pt_fraction": "pt"}[name]
    own = _stored(block, "constituents", column)[index].astype(np.float64)
    of_jet = _stored(block, "jets", column)[jet].astype(np.float64)
    if name == "pt_fraction":
        return np.divide(own, of_jet, out=np.zeros_like(own), where=of_jet > 0)
    return own - of_jet if name == "delta_eta" else wrap_angle(own - of_jet)


def pdg_classes(pdg_id: NDArray[np.generic]) -> NDArray[np.int8]:
    """Returns the code of each particle's class in ``PDG_CLASSES``, shape of ``pdg_id``, by the PDG numbering scheme.

    Hadrons are charged or neutral by their quark content; neutrinos, taus, partons, nuclei, new particles and 0 are
    ``other``.
    """
    size = np.abs(pdg_id.astype(np.int64))
    classes = _class_table()[np.minimum(size, _TABLE_SIZE)]
    large = size >= _TABLE_SIZE
    if large.any():
        classes[large] = _classify(size[large])
    return classes


@cache
def _class_table() -> NDArray[np.int8]:
    return _classify(np.arange(_TABLE_SIZE + 1))


def _classify(size: NDArray[np.int64]) -> NDArray[np.int8]:
    first, second, third = (size // 10**digit % 10 for digit in (3, 2, 1))
    meson = (first == 0) & (second > 0) & (third > 0)
    baryon = (first > 0) & (second > 0) & (third > 0)
    thirds = [np.where(quark % 2 == 0, _UP_CHARGE, _DOWN_CHARGE) for quark in (first, second, third)]
    charge = np.where(meson, thirds[1] - thirds[2], thirds[0] + thirds[1] + thirds[2])
    hadron = (meson | baryon) & (size < 1_000_000) & (np.maximum(np.maximum(first, second), third) <= 6)
    code = {name: np.int8(number) for number, name in enumerate(PDG_CLASSES)}
    classes = np.full(size.shape, code["other"])
    classes[hadron] = np.where(charge == 0, code["neutral_hadron"], code["charged_hadron"])[hadron]
    for lepton_or_photon, pdg in (("photon", 22), ("electron", 11), ("muon", 13)):
        classes[size == pdg] = code[lepton_or_photon]
    return classes


def _stored(block: EventBlock, collection: str, name: str) -> NDArray[np.generic]:
    columns = block.events if collection == "events" else _collection_columns(block, collection)
    if name not in columns:
        raise DataError(
            f"the {collection} have no column '{name}'",
            allowed=", ".join(columns),
            nearest=nearest_name(name, columns),
        )
    return columns[name]


def _collection_columns(block: EventBlock, collection: str) -> Mapping[str, NDArray[np.generic]]:
    found = block.collections.get(collection)
    return found.columns if found is not None else {}


def _counts(block: EventBlock, collection: str) -> NDArray[np.int64]:
    if collection not in block.collections:
        raise DataError(f"the events have no {collection}", allowed=", ".join(block.collections) or "nothing")
    return block.collections[collection].counts

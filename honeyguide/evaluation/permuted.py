"""Which features are permuted together, and batches in which they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from honeyguide.data.batch import Batch, Objects
from honeyguide.data.input_spec import Column, InputSpec

Kind = Literal["feature", "four-momentum", "all features", "objects"]
ROW = "row"
KINEMATIC = ("pt_log", "e_log", "logptrel", "logerel", "deltaR", "deta", "dphi", "energy_log", "pt", "eta", "phi", "e")
"""Features that are computed from the four-momentum of an object, and of the row."""


@dataclass(frozen=True)
class Group:
    """What is permuted together.

    Attributes:
        name: For people: ``<set>/<feature>``, ``<set>/four-momentum``, ``<set>``, or ``<set>/objects``.
        kind: ``objects``: all objects of a row become those of another row, their number with them. Else objects
            change their values with those of any row, and every row keeps its number of objects.
        of: Name of the set; ``row`` for the row's own features.
        columns: Places of the columns.
        vectors: Whether the four-momenta go along.
    """

    name: str
    kind: Kind
    of: str
    columns: tuple[int, ...]
    vectors: bool = False


def groups(spec: InputSpec) -> list[Group]:
    """Returns everything that is permuted: each feature, those that say the same, all of a set, and whole sets."""
    found = _of_columns(ROW, spec.event_columns, vectors=False)
    for item in spec.sets:
        found += _of_columns(item.name, item.columns, vectors=item.vectors)
        found.append(Group(f"{item.name}/objects", "objects", item.name, ()))
    return found


def _of_columns(of: str, columns: Sequence[Column], *, vectors: bool) -> list[Group]:
    """Returns the groups of one set; columns that encode one feature are never torn apart."""
    features: dict[str, list[int]] = {}
    for place, column in enumerate(columns):
        features.setdefault(column.feature, []).append(place)
    found = [Group(f"{of}/{name}", "feature", of, tuple(places)) for name, places in features.items()]
    kinematic = tuple(place for name, places in features.items() if name in KINEMATIC for place in places)
    if vectors or (len(kinematic) > 1 and of != ROW):
        found.append(Group(f"{of}/four-momentum", "four-momentum", of, kinematic, vectors))
    if len(features) > 1:
        found.append(Group(of, "all features", of, tuple(range(len(columns))), vectors))
    return found


def permuted(batch: Batch, group: Group, generator: torch.Generator) -> Batch:
    """Returns the batch with a group of features permuted: their distribution stays, what they say is lost.

    Args:
        batch: All rows together, on the CPU.
        group: What is permuted.
        generator: The source of the permutation.
    """
    if group.of == ROW:
        return replace(batch, event=_exchanged(batch.event, _order(len(batch), generator), group.columns))
    item = batch.sets[group.of]
    if group.kind == "objects":
        order = _order(len(batch), generator)
        changed = Objects(**{name: values[order] for name, values in item.tensors().items()})
    else:
        changed = _other_values(item, group, generator)
    return replace(batch, sets={**batch.sets, group.of: changed})


def _other_values(item: Objects, group: Group, generator: torch.Generator) -> Objects:
    order = _order(int(item.mask.sum()), generator)
    features = item.features.clone()
    features[item.mask] = _exchanged(features[item.mask], order, group.columns)
    vectors = item.vectors
    if vectors is not None and group.vectors:
        vectors = vectors.clone()
        vectors[item.mask] = vectors[item.mask][order]
    return Objects(features, item.mask, vectors)


def _exchanged(rows: Tensor, order: Tensor, columns: tuple[int, ...]) -> Tensor:
    changed = rows.clone()
    places = list(columns)
    changed[:, places] = rows[order][:, places]
    return changed


def _order(number: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(number, generator=generator)

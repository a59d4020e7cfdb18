"""What a dataset of rows has to have for its model inputs: columns, truths, files that no other dataset has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.reweighting_settings import ReweightingSettings
from honeyguide.errors import ConfigError, DataError, nearest_name
from honeyguide.io.event_store import EventStore
from honeyguide.preprocess.settings import PreprocessSettings

_HASH = "xxh3_128"  # of the content of a source file
Shards = Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class Truths:
    """Names of the truths of a dataset.

    Attributes:
        names: All of them.
        of_shard: Those behind the codes of each shard.
    """

    names: tuple[str, ...]
    of_shard: Mapping[Path, tuple[str, ...]]

    def codes(self, names: Sequence[str]) -> dict[Path, NDArray[np.int16]]:
        """Returns, for each shard, the place in ``names`` of each of its codes."""
        return {shard: np.array([names.index(name) for name in own], np.int16) for shard, own in self.of_shard.items()}


def read_truths(shards: Shards) -> Truths:
    """Returns the truths of all shards; they are the same where they have the same name, whatever their codes.

    Raises:
        DataError: Some shards have truths and others, though they have rows, do not.
    """
    of_shard = {}
    without = []
    for shard in _all(shards):
        with EventStore(shard) as store:
            of_shard[shard] = tuple(store.attrs["truths"])
            if store.num_events and not of_shard[shard]:
                without.append(shard)
    names = tuple(dict.fromkeys(name for own in of_shard.values() for name in own))
    if names and without:
        raise DataError(
            "some rows have truths and others do not",
            where=without[0],
            got=f"{len(without)} of {len(of_shard)} shards without",
            allowed=f"{', '.join(names)} in all of them",
            hint="build the whole dataset with the same reader settings",
        )
    return Truths(names, of_shard)


def check_columns(shards: Shards, settings: PreprocessSettings) -> None:
    """Checks that every shard with rows has the columns and collections that the settings name.

    Raises:
        ConfigError: One is missing.
    """
    for shard in _all(shards):
        with EventStore(shard) as store:
            if store.num_events:
                _check_store(store, settings)


def check_reference(settings: ReweightingSettings | None, truths: Sequence[str]) -> None:
    """Checks that the reference of a reweighting is one of the truths, before anything takes time.

    Raises:
        ConfigError: It is not.
    """
    if settings is not None and settings.reference not in truths:
        raise ConfigError(
            f"the reweighting's reference '{settings.reference}' is no truth of the dataset",
            where="preprocess.reweighting.reference",
            allowed=", ".join(truths) or "none: rows have no truth",
            nearest=nearest_name(settings.reference, truths),
        )


def check_no_shared_files(shards: Shards, others: Shards) -> None:
    """Checks that no source file, by its content, is in both datasets: what is trained on can't be tested on.

    Raises:
        DataError: One is.
    """
    known = {source[_HASH]: source["name"] for source in _sources(others)}
    both = [(source["name"], known[source[_HASH]]) for source in _sources(shards) if source[_HASH] in known]
    if both:
        raise DataError(
            "a source file is in the dataset that was trained with and in the one for the test",
            where=both[0][0],
            got=", ".join(f"{name} (there {other})" for name, other in dict.fromkeys(both)),
            hint="take it out of one of the two file lists; files count as the same if their content is",
        )


def _check_store(store: EventStore, settings: PreprocessSettings) -> None:
    named = [("preprocess.event_features", feature.name) for feature in settings.event_features]
    axes = ["pt", "eta"]
    if any(item.particle_features for item in settings.sets.values()):
        axes += ["phi", "energy"]
    named += [(f"preprocess.{axis}_column", getattr(settings, f"{axis}_column")) for axis in axes]
    named += [("preprocess.targets", target.name) for target in settings.targets]
    named += [("preprocess.observers", name) for name in settings.observers]
    for key, name in named:
        _check_name(name, store.columns["events"], "rows have no column", key, store.path)
    collections = [name for name, parent in store.parents.items() if parent == "events"]
    for key, item in settings.sets.items():
        where, name = f"preprocess.sets.{key}", item.collection or key
        _check_name(name, collections, "rows have no collection", f"{where}.collection", store.path)
        columns = store.columns[name]
        wanted = [("features", feature.name) for feature in item.features]
        wanted += [("vectors", column) for column in item.vectors or ()]
        wanted += [("particle_features", feature.column) for feature in item.computed if feature.column is not None]
        for field, column in wanted:
            _check_name(column, columns, f"'{name}' has no column", f"{where}.{field}", store.path)
        if item.order is not None:
            _check_name(item.order, columns, f"'{name}' has no column", f"{where}.order", store.path)


def _check_name(name: str, allowed: Iterable[str], what: str, key: str, path: Path) -> None:
    if name not in allowed:
        raise ConfigError(
            f"{what} '{name}'",
            where=f"{key}, in {path}",
            allowed=", ".join(allowed) or "nothing",
            nearest=nearest_name(name, allowed),
        )


def _sources(shards: Shards) -> Iterator[Mapping[str, str]]:
    for shard in _all(shards):
        with EventStore(shard) as store:
            yield from store.attrs["sources"]


def _all(shards: Shards) -> Iterator[Path]:
    for paths in shards.values():
        yield from paths

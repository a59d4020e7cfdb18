"""What preprocessing at every level shares: blocks of samples, features with their chains, progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from honeyguide.data.events import EventBlock
from honeyguide.data.input_spec import InputSpec
from honeyguide.data.sample import SampleInfo
from honeyguide.data.splits import SPLITS, TRAIN
from honeyguide.io.event_store import EventStore
from honeyguide.preprocess.census import split_columns
from honeyguide.preprocess.chain import Chain, check_finite
from honeyguide.preprocess.settings import FeatureSetting, PreprocessSettings

Progress = Callable[[int, int], None]
Counts = Mapping[str, Mapping[int, int]]
"""Number of events by sample and split (index into ``SPLITS``)."""
FIT_SALT = 0x5CA1E  # unrelated to the hash that divides the events


class Counter:
    """Adds up blocks and reports."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def add(self, number: int) -> None:
        """Reports that so many more events are done."""
        self._done += number
        if self._progress is not None:
            self._progress(self._done, self._total)


@dataclass(frozen=True)
class Source:
    """Yields the blocks of samples."""

    shards: Mapping[str, Sequence[Path]]
    settings: PreprocessSettings
    counter: Counter

    def blocks(self, sample: SampleInfo, columns: Mapping[str, Sequence[str]]) -> Iterator[tuple[Path, EventBlock]]:
        """Yields shard and events; ``columns`` names what is needed, that of the splits is added."""
        for shard in self.shards[sample.name]:
            with EventStore(shard) as store:
                if not store.num_events:
                    continue  # it may lack the columns, too
                wanted = {**columns, "events": [*columns["events"], *split_columns(store)]}
                for block in store.iter_blocks(self.settings.block_events, columns=wanted):
                    yield shard, block
                    self.counter.add(len(block))


@dataclass(frozen=True)
class Part:
    """Features of the objects, of the event, or of one set of a row, with their chains."""

    features: tuple[FeatureSetting, ...]
    chains: tuple[Chain, ...]

    def unfitted(self) -> Part:
        """Returns the features whose chains have stages to fit."""
        pairs = [pair for pair in zip(self.features, self.chains, strict=True) if not pair[1].is_fitted]
        return Part(features=tuple(pair[0] for pair in pairs), chains=tuple(pair[1] for pair in pairs))

    def check(self, columns: Sequence[NDArray[np.generic]], shard: Path) -> None:
        """Raises a DataError if a value is not finite; one array (num_values,) per feature."""
        for chain, column in zip(self.chains, columns, strict=True):
            check_finite(column, chain.feature, where=shard)

    def partial_fit(self, columns: Sequence[NDArray[np.generic]], keys: NDArray[np.uint64]) -> None:
        """Takes a block into the fit of the next stages; see :meth:`Chain.partial_fit`."""
        for chain, column in zip(self.chains, columns, strict=True):
            chain.partial_fit(column, keys)


class Level(Protocol):
    """What preprocessing does at one level, with chains for all features."""

    @property
    def chains(self) -> Sequence[Chain]:
        """The chains of everything."""

    def fit_pass(self, source: Source, samples: Sequence[SampleInfo]) -> None:
        """Fits the next stage of every chain on the training events of samples."""

    def write(self, source: Source, sample: SampleInfo, files: Mapping[int, tuple[Path, int]]) -> None:
        """Scales and writes the events of a sample; ``files`` has path and number of events of each split."""


def training_samples(samples: Sequence[SampleInfo], counts: Counts) -> list[SampleInfo]:
    """Returns the samples that have training events."""
    return [sample for sample in samples if TRAIN in counts[sample.name]]


def fit_events(samples: Sequence[SampleInfo], counts: Counts) -> int:
    """Returns how many events one pass of a fit reads: all of the samples that train."""
    return sum(sum(counts[sample.name].values()) for sample in training_samples(samples, counts))


def sample_columns(sample: SampleInfo, spec: InputSpec, num_events: int) -> dict[str, NDArray[np.generic]]:
    """Returns the columns of model inputs that are the same for all events of a sample, (num_events,) each."""
    point = -1 if sample.signal_name is None else spec.signal_points.index(sample.signal_name)
    return {
        "label": np.full(num_events, sample.label_code, np.int8),
        "process": np.full(num_events, spec.processes.index(sample.process), np.int16),
        "generator": np.full(num_events, spec.generators.index(sample.generator), np.int16),
        "signal_point": np.full(num_events, point, np.int16),
    }


def split_files(folder: Path, counts: Mapping[int, int]) -> dict[int, tuple[Path, int]]:
    """Returns path and number of events of each file of a sample, by split; ``counts`` has the numbers."""
    return {split: (folder / f"{SPLITS[split]}.h5", number) for split, number in counts.items()}

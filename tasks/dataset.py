"""Source files into the event store."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import law

from honeyguide.io.sources import find_files, fingerprint
from tasks.base import HoneyguideTask
from tasks.generate import GenerateEventsTask


@dataclass(frozen=True)
class Source:
    """One source file; ``branch`` is the branch of GenerateEventsTask that makes it, None for a user's file."""

    path: Path
    fingerprint: dict[str, Any]
    branch: int | None = None


@dataclass(frozen=True)
class FileChunk:
    """Source files that one branch converts; all of one sample."""

    sample: str
    sources: tuple[Source, ...]


class DatasetConstructorTask(HoneyguideTask, law.LocalWorkflow):  # type: ignore[misc]
    """Read the source files of a dataset into the event store; a branch is a chunk of files of one sample.

        law run DatasetConstructorTask --config quickstart
        law run DatasetConstructorTask --config bead_sample --set dataset.reader.tolerance=0.01

    Output: ``events.h5`` (events, jets, constituents; ids, weights, truth; counts of what was read, selected and
    rejected, with reasons) of each branch. A malformed row is an error unless the tolerance allows for it.
    """

    result_version = 1

    def sources(self) -> dict[str, tuple[Source, ...]]:
        """Returns the source files of each sample; of all samples, whichever branch this is."""
        workflow = self if self.is_workflow() else self.as_workflow()
        return workflow._sources

    @functools.cached_property
    def _sources(self) -> dict[str, tuple[Source, ...]]:
        experiment = self.experiment
        sources: dict[str, tuple[Source, ...]] = dict.fromkeys(experiment.settings.dataset.samples, ())
        for name, sample in experiment.settings.dataset.samples.items():
            patterns = [str(Path(os.path.expandvars(item)).expanduser()) for item in sample.files]
            files = find_files(patterns, experiment.dataset_folder)
            sources[name] = tuple(Source(file, fingerprint(file)) for file in files)
        generate = GenerateEventsTask.req(self, branch=-1)
        for branch, task in generate.get_branch_tasks().items():
            source = Source(task.output().folder / "events.csv", {"generated": task.digest}, branch)
            sources[task.branch_data.sample] += (source,)
        return sources

    def create_branch_map(self) -> list[FileChunk]:
        """Returns the chunks of files, sample by sample."""
        return list(self._chunks())

    def _chunks(self) -> Iterator[FileChunk]:
        size = self.experiment.settings.dataset.files_per_branch
        for name, sources in self.sources().items():
            for start in range(0, len(sources), size):
                yield FileChunk(name, sources[start : start + size])

    def branch_name(self) -> str:
        """Returns the sample."""
        return str(self.branch_data.sample)

    def sample_identity(self, name: str) -> dict[str, Any]:
        """Returns what the stored events of one sample depend on, but for its files."""
        from honeyguide.settings import significant_values

        dataset = self.experiment.settings.dataset
        info = significant_values(dataset.samples[name].info(name))
        return {"reader": significant_values(dataset.reader), "sample": info, "result_version": self.result_version}

    def identity(self) -> dict[str, Any]:
        """Returns what the branch depends on: its files, its sample, the reader."""
        chunk = self.branch_data
        files = [source.fingerprint for source in chunk.sources]
        return {**super().identity(), **self.sample_identity(chunk.sample), "files": files}

    def dataset_identity(self) -> dict[str, Any]:
        """Returns what the whole dataset depends on; how its files are spread over branches does not enter."""
        return {
            name: {**self.sample_identity(name), "files": [source.fingerprint for source in sources]}
            for name, sources in self.sources().items()
        }

    def shards(self) -> dict[str, list[Path]]:
        """Returns the event-store shards of each sample."""
        shards: dict[str, list[Path]] = {name: [] for name in self.sources()}
        for task in self.get_branch_tasks().values():
            shards[task.branch_data.sample].append(task.output().folder / "events.h5")
        return shards

    def workflow_requires(self) -> dict[str, Any]:
        """Returns the simulation of all samples that have no files."""
        generated = any(source.branch is not None for found in self.sources().values() for source in found)
        return {"generate": GenerateEventsTask.req(self, branch=-1)} if generated else {}

    def requires(self) -> list[Any]:
        """Returns the simulated chunks that the branch reads."""
        branches = [source.branch for source in self.branch_data.sources if source.branch is not None]
        return [GenerateEventsTask.req(self, branch=branch) for branch in branches]

    def run(self) -> None:
        """Converts the branch's files."""
        from honeyguide.io.convert import convert_files

        chunk, dataset = self.branch_data, self.experiment.settings.dataset
        everything = [source.path for found in self.sources().values() for source in found]
        with self.write_output() as folder:
            counts = convert_files(
                [source.path for source in chunk.sources],
                folder,
                sample=dataset.samples[chunk.sample].info(chunk.sample),
                settings=dataset.reader,
                others=everything,
            )
        rejected = f", rejected {counts.rejected}: {counts.first_rejected}" if counts.rejected else ""
        self.publish_message(f"{chunk.sample}: {counts.read:,} rows read, {counts.selected:,} selected{rejected}")

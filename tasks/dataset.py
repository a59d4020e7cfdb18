"""Source files into the event store."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import law
import luigi

from honeyguide.io.atomic import file_hash
from honeyguide.io.processors import processor_file
from honeyguide.io.root_sources import RootSource, assign_samples, find_sources, is_url, read_filelist
from honeyguide.io.settings import ReaderSettings
from honeyguide.io.sources import fingerprint
from tasks.base import store
from tasks.dask_clusters import reached_scheduler
from tasks.filelists import record, recorded
from tasks.generate import GenerateEventsTask
from tasks.remote import RemoteWorkflow, jobs_folder


@dataclass(frozen=True)
class Source:
    """One source file or URL; ``branch`` is the branch of GenerateEventsTask that makes it, None for a user's file."""

    path: RootSource
    fingerprint: dict[str, Any]
    branch: int | None = None

    @classmethod
    def of(cls, path: RootSource) -> Source:
        """Returns the source of a user's file. Whether a remote one has changed is not looked up."""
        return cls(path, {"url": path} if isinstance(path, str) else fingerprint(path))

    @property
    def identity(self) -> str | None:
        """What stands for the content of a simulated file: the settings that it is made from."""
        return self.fingerprint.get("generated")


@dataclass(frozen=True)
class FileChunk:
    """Source files that one branch converts; all of one sample."""

    sample: str
    sources: tuple[Source, ...]


class DatasetConstructorTask(RemoteWorkflow):
    """Read the source files of a dataset into the event store; a branch is a chunk of files of one sample.

        law run DatasetConstructorTask --config quickstart
        law run DatasetConstructorTask --config bead_sample --set dataset.reader.tolerance=0.01
        law run DatasetConstructorTask --config nanoaod_v15 --filelist files.txt --coffea-worker 4

    Output: ``events*.h5`` of each branch: events, or jets, with their collections; ids, weights, truth; counts of what
    was read, selected and rejected, with reasons, which the manifest has by file, process and truth, too. A malformed
    row is an error unless the tolerance allows for it.
    """

    coffea_worker = luigi.IntParameter(
        default=law.NO_INT,
        significant=False,
        description="short for --set dataset.reader.workers=N, processes that read the ROOT files of a branch; no "
        "result depends on it; default: the config's",
    )
    executor = luigi.Parameter(
        default=law.NO_STR,
        significant=False,
        description="short for --set dataset.reader.executor=NAME, one of coffea's: iterative, futures, dask; no "
        "result depends on it; default: the config's",
    )
    dask_scheduler = luigi.Parameter(
        default=law.NO_STR,
        significant=False,
        description="short for --set dataset.reader.scheduler=ADDRESS, of the scheduler for --executor dask; slurm, "
        "htcondor: jobs are the workers; no result depends on it; default: the config's",
    )
    chunk_size = luigi.IntParameter(
        default=law.NO_INT,
        significant=False,
        description="short for --set dataset.reader.chunk_size=N, entries of a ROOT file that are read as one piece of "
        "work; no result depends on it; default: the config's",
    )

    flags: ClassVar[dict[str, tuple[str, Any]]] = {
        "coffea_worker": ("dataset.reader.workers", law.NO_INT),
        "executor": ("dataset.reader.executor", law.NO_STR),
        "dask_scheduler": ("dataset.reader.scheduler", law.NO_STR),
        "chunk_size": ("dataset.reader.chunk_size", law.NO_INT),
    }
    result_version = 1

    def sources(self) -> dict[str, tuple[Source, ...]]:
        """Returns the source files of each sample; of all samples, whichever branch this is."""
        workflow = self if self.is_workflow() else self.as_workflow()
        return workflow._sources

    @functools.cached_property
    def _sources(self) -> dict[str, tuple[Source, ...]]:
        experiment = self.experiment
        samples = experiment.settings.dataset.samples
        sources: dict[str, tuple[Source, ...]] = dict.fromkeys(samples, ())
        for name, sample in samples.items():
            patterns = [item if is_url(item) else _expanded(item) for item in sample.files]
            files = find_sources(patterns, experiment.dataset_folder)
            sources[name] = tuple(Source.of(file) for file in files)
        for file, name in self._listed().items():
            sources[name] += (Source.of(file),)
        for source, name in self._generated():
            sources[name] += (source,)
        reader = experiment.settings.dataset.reader
        return {name: found[:1] if reader.debug else found for name, found in sources.items()}

    @functools.cached_property
    def used_filelist(self) -> Path | None:
        """The filelist of the samples with ``match``, the config's or the recorded one; None where no sample has any.

        Raises:
            ConfigError: None is given or recorded, or several are recorded.
            DataError: The recorded one is gone.
        """
        dataset = self.experiment.settings.dataset
        if not any(sample.match for sample in dataset.samples.values()):
            return None
        if dataset.filelist is None:
            return recorded(self.version_folder)
        return self.experiment.dataset_folder / _expanded(dataset.filelist)

    @property
    def version_folder(self) -> Path:
        """The folder of this version of the dataset in the store."""
        return store().joinpath(self.task_family, *self.path_parts())

    def _listed(self) -> dict[RootSource, str]:
        """Returns the sample of each file of the filelist."""
        filelist = self.used_filelist
        if filelist is None:
            return {}
        samples = self.experiment.settings.dataset.samples
        patterns = {name: sample.match for name, sample in samples.items() if sample.match}
        return assign_samples(read_filelist(filelist), patterns)

    def _generated(self) -> Iterator[tuple[Source, str]]:
        """Yields the simulated files and their samples."""
        name = "events.csv" if self.experiment.settings.dataset.reader.root is None else "jets.root"
        generate = GenerateEventsTask.req(self, branch=-1)
        for branch, task in generate.get_branch_tasks().items():
            source = Source(task.output().folder / name, {"generated": task.digest}, branch)
            yield source, task.branch_data.sample

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
        reader = significant_values(dataset.reader)
        if dataset.reader.debug:
            reader["chunk_size"] = dataset.reader.chunk_size
        root = self.reader.root
        if root is not None and root.processor is not None:
            reader["processor_code"] = file_hash(processor_file(root.processor))
        return {"reader": reader, "sample": info, "result_version": self.result_version}

    @functools.cached_property
    def reader(self) -> ReaderSettings:
        """The reader's settings, where a processor's file is an absolute path."""
        reader = self.experiment.settings.dataset.reader
        root = reader.root
        if root is None or root.processor is None or ".py:" not in root.processor:
            return reader
        path = str(self.experiment.dataset_folder / _expanded(root.processor))
        return reader.model_copy(update={"root": root.model_copy(update={"processor": path})})

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
        """Returns the event-store shards of each sample that has files; those of the branches that are complete."""
        shards: dict[str, list[Path]] = {name: [] for name, found in self.sources().items() if found}
        for task in self.get_branch_tasks().values():
            shards[task.branch_data.sample] += task.own_shards()
        return shards

    def own_shards(self) -> list[Path]:
        """Returns the event-store shards of this branch."""
        return sorted(self.output().folder.glob("events*.h5"))

    def workflow_requires(self) -> dict[str, Any]:
        """Returns the simulation of the samples that have no files."""
        found = [source.branch for sources in self.sources().values() for source in sources]
        branches = tuple((branch,) for branch in found if branch is not None)
        some = {"branches": branches} if self.experiment.settings.dataset.reader.debug else {}
        return {"generate": GenerateEventsTask.req(self, branch=-1, **some)} if branches else {}

    def requires(self) -> list[Any]:
        """Returns the simulated chunks that the branch reads."""
        branches = [source.branch for source in self.branch_data.sources if source.branch is not None]
        return [GenerateEventsTask.req(self, branch=branch) for branch in branches]

    def run(self) -> None:
        """Converts the branch's files."""
        counts: dict[str, Any] = {}
        with self.write_output(counts=counts) as folder:
            counts.update(self._convert(folder))
        if self.used_filelist is not None:
            record(self.version_folder, self.used_filelist.resolve())
        rejected = f", rejected {counts['rejected']}: {counts['first_rejected']}" if counts["rejected"] else ""
        truths = f", {counts['truths']}" if counts["truths"] else ""
        sample, read, selected = self.branch_data.sample, counts["read"], counts["selected"]
        lost = [file["unreadable"] for file in counts.get("files", ()) if file["unreadable"]]
        skipped = f"; skipped, or cut short: {'; '.join(lost)}" if lost else ""
        self.publish_message(f"{sample}: {read:,} rows read, {selected:,} selected{truths}{rejected}{skipped}")

    def _convert(self, folder: Path) -> dict[str, Any]:
        """Returns the counts of the branch's files, after writing its shards."""
        from honeyguide.io.convert import convert_files

        chunk, dataset = self.branch_data, self.experiment.settings.dataset
        everything = [source for found in self.sources().values() for source in found]
        logs = jobs_folder().joinpath(self.task_family, *self.path_parts(), f"dask-{self.digest}")
        with reached_scheduler(self.reader, logs) as reader:
            counts = convert_files(
                [source.path for source in chunk.sources],
                folder,
                sample=dataset.samples[chunk.sample].info(chunk.sample),
                settings=reader,
                others=[source.path for source in everything],
                # the bytes of a simulated ROOT file have the time in them
                identities={item.path: item.identity for item in everything if item.identity and dataset.reader.root},
            )
        return counts.summary()


def _expanded(path: str) -> str:
    return str(Path(os.path.expandvars(path)).expanduser())

"""Simulate events with Pythia 8."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tasks.remote import RemoteWorkflow

if TYPE_CHECKING:
    from honeyguide.generate.settings import GeneratorSettings


JETS_VERSION = 2
"""Counts up when the tree of jets changes; result_version does for all files."""


@dataclass(frozen=True)
class Chunk:
    """One chunk of simulated events: a branch."""

    sample: str
    index: int
    num_events: int


class GenerateEventsTask(RemoteWorkflow):
    """Simulate the samples of a dataset that have no files; a branch is a chunk of events of one sample.

        law run GenerateEventsTask --config quickstart --workers 2
        law run GenerateEventsTask --config quickstart --branch 0 --set dataset.samples.qcd_no_mpi.generate.seed=7

    Outputs: ``events.csv`` (BEAD's format, GeV), ``events.h5`` (LHC Olympics format) and ``generation.json``
    (cross section, acceptance, settings) of each chunk; with ``dataset.detector.tracking`` also ``jets.root``, jets
    with tracks and vertices. Equal settings and seed give the same files to the last bit (in ROOT: the same values).
    """

    result_version = 1

    def create_branch_map(self) -> list[Chunk]:
        """Returns the chunks of all simulated samples, sample by sample."""
        return list(self._chunks())

    def _chunks(self) -> Iterator[Chunk]:
        dataset = self.experiment.settings.dataset
        for name, sample in dataset.samples.items():
            if sample.generate is not None:
                total, size = sample.generate.events, dataset.events_per_chunk
                for index, start in enumerate(range(0, total, size)):
                    yield Chunk(name, index, min(size, total - start))

    def branch_name(self) -> str:
        """Returns sample and number of the chunk."""
        return f"{self.branch_data.sample}-{self.branch_data.index}"

    def generator(self, sample: str) -> GeneratorSettings:
        """Returns the generator's settings of a simulated sample."""
        settings = self.experiment.settings.dataset.samples[sample].generate
        assert settings is not None, f"sample {sample} has files"
        return settings

    def identity(self) -> dict[str, Any]:
        """Returns what the chunk depends on: the sample's settings, the detector, and the chunk."""
        from honeyguide.settings import significant_values

        dataset, chunk = self.experiment.settings.dataset, self.branch_data
        generator = self.generator(chunk.sample)
        settings = {"generate": significant_values(generator), "detector": significant_values(dataset.detector)}
        own = {"settings": settings, "chunk": chunk.index, "num_events": chunk.num_events}
        if dataset.detector.tracking is not None:
            own["jets_version"] = JETS_VERSION
        return {**super().identity(), **own}

    def run(self) -> None:
        """Simulates the chunk."""
        from honeyguide.generate.chunk import generate_chunk

        dataset, chunk = self.experiment.settings.dataset, self.branch_data
        tagging = () if dataset.detector.tracking is None else ("tagging_root",)
        with self.write_output() as folder:
            generate_chunk(
                folder,
                generator=self.generator(chunk.sample),
                detector=dataset.detector,
                num_events=chunk.num_events,
                chunk=chunk.index,
                formats=("bead_csv", "lhco_hdf5", *tagging),
                progress=self.progress(f"{chunk.sample}, chunk {chunk.index}: events", chunk.num_events),
            )
